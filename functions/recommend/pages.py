"""The pages of a list: a token carries short hashes of the items that were shown, so that no item comes twice, even if
the order has changed or another source answers meanwhile.

The list is asked for to the depth of the page, and what was shown is taken out. All pages together have at most
`limits.RESULTS` items: then, or when a page is not full, there is no further one.

A token is base64 for URLs: 8 bytes of an HMAC-SHA256 under the stack's id, and 6 bytes of each item. The HMAC covers
whom and what the list is for, so a token of another person, item, placement or shop is refused. No id can be read from
it. Pure.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass

from contracts import limits
from shared.refusal import InvalidRequest

_MAC_BYTES = 8
_ITEM_BYTES = 6
CHARACTERS = 1024
"""Maximum characters of a token."""

Items = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Page:
    """One page of the list of `subject`. `shown` has the hashes of the items on the pages before."""

    subject: str
    key: str
    shown: tuple[bytes, ...] = ()

    @classmethod
    def from_token(cls, token: str, subject: str, key: str) -> Page:
        """Read the token that the page before gave. Raises `InvalidRequest`."""
        refused = InvalidRequest(
            "page must be the nextPage of an answer to the same request; leave it out to begin again", "page"
        )
        if not 1 <= len(token) <= CHARACTERS or not token.isascii():
            raise refused
        try:
            content = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except binascii.Error:
            raise refused from None
        mac, hashes = content[:_MAC_BYTES], content[_MAC_BYTES:]
        number, rest = divmod(len(hashes), _ITEM_BYTES)
        if rest or not 1 <= number < limits.RESULTS or not hmac.compare_digest(mac, _mac(hashes, subject, key)):
            raise refused
        parts = (hashes[i : i + _ITEM_BYTES] for i in range(0, len(hashes), _ITEM_BYTES))
        return cls(subject, key, tuple(parts))

    def room(self, number: int) -> int:
        """Return how many items this page has at most, if `number` are asked for."""
        return min(number, limits.RESULTS - len(self.shown))

    def depth(self, number: int) -> int:
        """Return how many items of the list this page needs."""
        return self.room(number) + len(self.shown)

    def cut(self, items: Items, number: int) -> Items:
        """Return the items of this page, at most `number`."""
        if self.shown:
            shown = frozenset(self.shown)
            items = tuple(pair for pair in items if _hashed(pair[0]) not in shown)
        return items[: self.room(number)]

    def next_token(self, items: Items, number: int) -> str | None:
        """Return the token of the page after this one, which has `items`; None if it is the last one."""
        hashes = (*self.shown, *(_hashed(item) for item, _ in items))
        if len(items) < number or len(hashes) >= limits.RESULTS:
            return None
        return _token(hashes, self.subject, self.key)


def _token(hashes: Iterable[bytes], subject: str, key: str) -> str:
    content = b"".join(hashes)
    return base64.urlsafe_b64encode(_mac(content, subject, key) + content).rstrip(b"=").decode()


def _hashed(item: str) -> bytes:
    return hashlib.blake2b(item.encode("utf-8", "surrogatepass"), digest_size=_ITEM_BYTES).digest()


def _mac(content: bytes, subject: str, key: str) -> bytes:
    message = b"page " + content + subject.encode("utf-8", "surrogatepass")
    return hmac.digest(key.encode(), message, "sha256")[:_MAC_BYTES]
