"""The request to forget a person. Pure. No message has the id's text, because messages are logged."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from contracts import ids, limits
from contracts.values import is_unicode, kind
from shared.errors import InvalidInput

LONGEST_REASON = 500
_FIELDS = ("userId", "reason", "by")


@dataclass(frozen=True)
class Request:
    """Whom to forget, why, and who asks for it (`by`, such as the number of a ticket)."""

    user_id: str
    reason: str
    by: str | None = None

    @classmethod
    def from_event(cls, event: Any) -> Request:
        """Read `{"userId", "reason", "by"?}`. Raises InvalidInput naming the invalid field."""
        if not isinstance(event, dict):
            raise InvalidInput(f"the request must be an object with userId and reason, not {kind(event)}")
        if unknown := sorted(set(event) - set(_FIELDS)):
            raise InvalidInput(f"the request has {len(unknown)} unknown fields; the fields are {', '.join(_FIELDS)}")
        user_id = ids.of(_text(event.get("userId"), "userId", limits.ID_CHARACTERS))
        reason = _text(event.get("reason"), "reason", LONGEST_REASON)
        by = None if event.get("by") is None else _text(event["by"], "by", LONGEST_REASON)
        for name, value in (("reason", reason), ("by", by)):
            if value is not None and re.search(rf"(?<!\w){re.escape(user_id)}(?!\w)", value):
                raise InvalidInput(
                    f"{name} must not contain the userId: the ledger keeps {name}, and would keep the id"
                )
        return cls(user_id, reason, by)


def _text(value: Any, name: str, longest: int) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"{name} must be a string, not {kind(value)}")
    if not value.strip() or len(value) > longest:
        raise InvalidInput(f"{name} must have 1 to {longest} characters, not all of them spaces; it has {len(value)}")
    if not is_unicode(value):
        raise InvalidInput(f"{name} must be valid Unicode, without half of a surrogate pair")
    return value
