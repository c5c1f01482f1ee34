"""The two archives of a training job, pinned when the job's end is first seen: every later step uses the same objects
or none. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.errors import ArtefactChanged, InvalidInput
from shared.objects import Stored

PINNED = {"modelData": "modelDataUrl", "output": "outputUrl"}
"""The pins in a state's `training`, and beside each the field with the URL of its object."""


@dataclass(frozen=True)
class Pin:
    """An object in S3 as it was: its ETag, and its version id if the bucket has versions."""

    etag: str
    version_id: str | None = None

    @classmethod
    def of(cls, found: Stored) -> Pin:
        """Return the pin of an object that was read."""
        return cls(found.etag, found.version_id)

    @classmethod
    def from_state(cls, training: dict[str, Any], name: str) -> Pin:
        """Read the pin `name` of a state's `training`. Raises InvalidInput if it has none."""
        pin = training.get(name)
        if not isinstance(pin, dict) or not isinstance(pin.get("etag"), str):
            raise InvalidInput(
                f"training.{name}.etag must be a string: {PINNED[name]} was not there when the training ended; "
                "restart the run, which looks for it again"
            )
        return cls(pin["etag"], pin.get("versionId"))

    def to_state(self) -> dict[str, str | None]:
        """Return the pin as the states and the ledger have it."""
        return {"etag": self.etag, "versionId": self.version_id}

    def require(self, found: Stored, key: str) -> None:
        """Raise ArtefactChanged if the object that was found is not the pinned one."""
        if Pin.of(found) != self:
            raise ArtefactChanged(
                f"{key} has {Pin.of(found)}, not {self} as at the training's end: it was written again, and nobody "
                "judged that; delete the later version, or start the next attempt"
            )

    def __str__(self) -> str:
        return f"ETag {self.etag}" + (f" and version {self.version_id}" if self.version_id else "")
