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

    def forgotten(self, after: str = "", until: str = "9") -> Forgotten:
        """Return the forgotten people; with `after` only those whose tombstone was not in force before, with `until`
        only those whose tombstone was by then (ISO 8601).
        """
        items = self._under(_PK)
        key = next((str(item["key"]) for item in items if item["sk"] == "KEY"), "")
        times = {str(item["person"]): item.get("inForceSince", "9") for item in items if "person" in item}
        return Forgotten(key, frozenset(person for person, since in times.items() if after <= since <= until))

    def to_erase(self, before: str) -> str:
        """Return since when the newest tombstone is in force (ISO 8601) of a person who is not erased yet, among those
        that are in force since `before` at the latest; an empty string if there is none.
        """
        waiting = [item for item in self.tombstones() if "erasedAt" not in item]
        return max((since for item in waiting if (since := item.get("inForceSince", "9")) <= before), default="")

    def newest_tombstone(self) -> str:
        """Return since when the newest tombstone is in force (ISO 8601); an empty string without any."""
        return max((str(item["inForceSince"]) for item in self.tombstones() if "inForceSince" in item), default="")

    def erasure(self) -> dict[str, Any] | None:
        """Return the search for ids that is under way, or None."""
        return self._get(_PK, "ERASURE")

    def save_erasure(self, **progress: Any) -> None:
        """Record how far the search is, so that the next call goes on from there."""
        self._update(_PK, "ERASURE", **progress)

    def last_receipt(self) -> dict[str, Any] | None:
        """Return the receipt of the last search, or None."""
        receipts = [item for item in self._under(_PK) if str(item["sk"]).startswith("RECEIPT#")]
        return max(receipts, key=lambda item: str(item["sk"]), default=None)

    def write_receipt(self, started_at: str, until: str, remaining: list[str], **facts: Any) -> None:
        """Write the receipt of a search that is over, for all people whose tombstones are in force since `until` at the
        latest. If nothing remains, they are erased.
        """
        receipt = f"RECEIPT#{started_at}"
        times = {"startedAt": started_at, "endedAt": self._now(), "until": until}
        self._update(_PK, receipt, kind="RECEIPT", remaining=remaining, **times, **facts)
        for item in self.tombstones():
            if not remaining and "erasedAt" not in item and item.get("inForceSince", "9") <= until:
                self._update(_PK, str(item["sk"]), erasedAt=self._now(), receipt=receipt)
        self._delete(_PK, "ERASURE")
