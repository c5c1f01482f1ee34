"""Who calls the HTTP API, and for whom they may ask: the one place of this rule. Pure.

API Gateway checks signatures and tokens before. A caller with a token (JWT) is the user whose id is in the token's
claim, and may ask only for themself. A caller without one has signed by IAM: a service, which may ask for anyone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.refusal import InvalidRequest


@dataclass(frozen=True)
class Caller:
    """`claim` names the token's claim that has the user's id; None for a service. `claims` is what the token has."""

    claim: str | None = None
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def from_event(cls, event: Mapping[str, Any], claim: str) -> Caller:
        """Read API Gateway's event (payload 2.0). With an empty `claim`, tokens are services' too."""
        authorizer = (event.get("requestContext") or {}).get("authorizer") or {}
        token = authorizer.get("jwt")
        return cls(claim, token.get("claims") or {}) if claim and token is not None else cls()

    def may_ask_for(self, user_id: str | None) -> None:
        """Raise `InvalidRequest` (403) if a request is about another user; None: it is about no user."""
        if self.claim is None or user_id is None:
            return
        own = self.claims.get(self.claim)
        if not isinstance(own, str) or not own:
            raise _forbidden(f"the token has no claim {self.claim}, which would say for which user it may ask")
        if own != user_id:
            raise _forbidden(
                f"the user asked for is not the token's (claim {self.claim}): with a token, people ask for themselves"
            )


def _forbidden(message: str) -> InvalidRequest:
    return InvalidRequest(message, "userId", status=403, code="Forbidden")
