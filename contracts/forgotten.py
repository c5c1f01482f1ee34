"""People who were forgotten, recognised by a keyed hash (HMAC-SHA256) of their ids: nothing has the ids' texts.

    {"schemaVersion": "1.0", "key": "<64 hex digits>", "people": ["<64 hex digits>", ...]}

is `serving/forgotten.json`, which `forget` writes (docs/decisions/0031-forgetting-a-person.md).
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from contracts import documents
from contracts.documents import Unfit
from contracts.names import SHA256
from contracts.values import shown

KEY = "serving/forgotten.json"
SCHEMA_VERSION = "1.0"
REFRESH_SECONDS = 5.0
"""Seconds between two reads of the document by a function that takes or shows something of people."""
PLACEHOLDER = "\x7fforgotten-"
"""The start of the text in place of a forgotten person's id in `users/`. No id of a drop has a control character."""


def digest(key: str, user_id: str) -> str:
    """Return the keyed hash of an id, 64 hex digits. `key` is 64 hex digits."""
    return hmac.digest(bytes.fromhex(key), user_id.encode("utf-8", "surrogatepass"), "sha256").hex()


@dataclass(frozen=True)
class Forgotten:
    """The forgotten people, as hashes under `key`; nobody by default."""

    key: str = ""
    people: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def from_json(cls, content: bytes | str, called: str = KEY) -> Forgotten:
        """Read the document. Raises Unfit naming the invalid field."""
        document = documents.read_object(content, called)
        if document.get("schemaVersion") != SCHEMA_VERSION:
            raise Unfit(f"{called}: schemaVersion must be {SCHEMA_VERSION}, not {shown(document.get('schemaVersion'))}")
        people = document.get("people")
        if not isinstance(people, list):
            raise Unfit(f"{called}: people must be a list of hashes, not {shown(people)}")
        for name, value in (("key", document.get("key")), *((f"people[{i}]", one) for i, one in enumerate(people))):
            if not isinstance(value, str) or not SHA256.fullmatch(value):
                raise Unfit(f"{called}: {name} must be 64 lower-case hex digits, not {shown(value)}")
        return cls(document["key"], frozenset(people))

    def to_document(self) -> dict[str, Any]:
        return {"schemaVersion": SCHEMA_VERSION, "key": self.key, "people": sorted(self.people)}

    def digest_of(self, user_id: str) -> str | None:
        """Return the hash of a forgotten person's id; None for any other id."""
        if not self.people:
            return None
        found = digest(self.key, user_id)
        return found if found in self.people else None

    def among(self, user_ids: Iterable[str]) -> list[str]:
        """Return the ids that are of forgotten people."""
        return [user_id for user_id in user_ids if self.digest_of(user_id)]

    def without(self, part: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return a batch's part without the lists of forgotten people; None if it has none."""
        users = part["users"]
        gone = set(self.among(users))
        return {**part, "users": {name: users[name] for name in users if name not in gone}} if gone else None


NOBODY = Forgotten()
