"""The forgotten people in the run ledger: the key of the hashes, and one tombstone a person without the id's text."""

from __future__ import annotations

import secrets
from typing import Any

from boto3.dynamodb.conditions import Attr

from contracts.forgotten import Forgotten
from shared.table import Table

_PK = "FORGOTTEN"


class ForgottenPeople(Table):
    """The part of the ledger that records whom the shop has forgotten."""

    def forgetting_key(self) -> str:
        """Return the key of the hashes, 64 hex digits; the first call makes it."""
        self._update(_PK, "KEY", Attr("pk").not_exists(), key=secrets.token_hex(32))
        return str((self._get(_PK, "KEY") or {})["key"])

    def forget(self, digest: str, reason: str, by: str | None) -> bool:
        """Write the tombstone of a person. False, and unchanged, if it exists."""
        return self._update(
            _PK,
            f"PERSON#{digest}",
            Attr("pk").not_exists(),
            kind="FORGOTTEN",
            person=digest,
            since=self._now(),
            reason=reason,
            by=by,
        )

    def in_force(self, digest: str) -> bool:
        """Record that a tombstone is published. False if that is recorded already."""
        return self._update(_PK, f"PERSON#{digest}", Attr("inForceSince").not_exists(), inForceSince=self._now())

    def tombstones(self) -> list[dict[str, Any]]:
        """Return the tombstones: `person`, `since`, `reason`, `by`, and `inForceSince` once published."""
        return [item for item in self._under(_PK) if "person" in item]

    def forgotten(self, after: str = "") -> Forgotten:
        """Return the forgotten people; with `after` (ISO 8601) only those whose tombstone was not in force before."""
        items = self._under(_PK)
        keys = [str(item["key"]) for item in items if "key" in item]
        people = [item for item in items if "person" in item and item.get("inForceSince", "9") >= after]
        return Forgotten(keys[0] if keys else "", frozenset(str(item["person"]) for item in people))
