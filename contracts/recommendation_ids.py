"""The id of one answer, which says by itself what gave it: no write is made for an answer.

    made = Answered(run_id="v20260101t000000z-00000000-r1", source="personalized", request="6f0c…")
    Answered.read(made.to_text(key), key)    # equal to `made`; None for the id of another shop

It is opaque to callers: base64 for URLs of a compact JSON list and the first 8 bytes of an HMAC-SHA256 under the
stack's id. The HMAC tells this shop's ids from those of others and from damaged ones. It is no secret that guards data:
a caller who may send events may send any.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from dataclasses import dataclass

CHARACTERS = 512
"""Maximum characters of an id."""
_MAC_BYTES = 8


@dataclass(frozen=True, kw_only=True)
class Answered:
    """The model, the source and the trial of an answer."""

    run_id: str
    """The run id of the model."""
    source: str
    """As in the answer: personalized, session, related, batch, popular or trending."""
    request: str
    """Id of the request, so that two answers never have the same id."""
    placement: str = ""
    trial: str = ""
    """Id of the trial that the person took part in; empty: none."""
    variant: str = ""
    """The side of the trial, an endpoint variant."""

    def to_text(self, key: str) -> str:
        """Return the id; `key` is the stack's id."""
        parts = [self.run_id, self.source, self.request, self.placement, self.trial, self.variant]
        content = json.dumps(parts, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
        return base64.urlsafe_b64encode(_mac(content, key) + content).rstrip(b"=").decode()

    @classmethod
    def read(cls, text: str, key: str) -> Answered | None:
        """Return what gave the answer with the id `text`; None if this stack made no such id."""
        if len(text) > CHARACTERS or not text.isascii():
            return None
        try:
            found = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except binascii.Error:
            return None
        content = found[_MAC_BYTES:]
        if not content or not hmac.compare_digest(found[:_MAC_BYTES], _mac(content, key)):
            return None
        run_id, source, request, placement, trial, variant = json.loads(content)
        made = cls(run_id=run_id, source=source, request=request, placement=placement, trial=trial, variant=variant)
        # Base64 has bits to spare in its last character: an answer has one id, and the others are none.
        return made if made.to_text(key) == text else None


def _mac(content: bytes, key: str) -> bytes:
    return hmac.digest(key.encode(), content, "sha256")[:_MAC_BYTES]
