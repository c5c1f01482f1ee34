"""The places of a search for forgotten people, and what must stay although it may have their ids. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts.names import DATASET_VERSION, RUN_ID
from contracts.values import shown
from shared.errors import InvalidInput
from shared.records import Dataset, DatasetStatus, Run, Serving, Split

PLACES = (
    ("data", "raw/"),
    ("data", "quarantine/"),
    ("data", "datasets/"),
    ("artifacts", "batch/"),
    ("artifacts", "runs/"),
    ("artifacts", "training/"),
)
"""Bucket and prefix of everything that may have an id, in the order of the search."""
MOST_FILES = 1000
"""Maximum number of files that one search hands to the Spark job."""
SHOWN_REMAINS = 100
"""Maximum number of sentences about what remains that the ledger keeps."""


@dataclass(frozen=True)
class Request:
    """`now`: also for people who were forgotten lately. `delete_unreadable`: delete files of drops whose rows cannot be
    told, instead of naming them.
    """

    now: bool = False
    delete_unreadable: bool = False

    @classmethod
    def from_event(cls, event: Any) -> Request:
        """Read `{"now"?, "unreadable"?: "keep"|"delete"}`; the schedule's event has neither. Raises InvalidInput."""
        given = event if isinstance(event, dict) else {}
        now, unreadable = given.get("now", False), given.get("unreadable", "keep")
        if not isinstance(now, bool):
            raise InvalidInput(f"now must be true or false, not {shown(now)}")
        if unreadable not in ("keep", "delete"):
            raise InvalidInput(f"unreadable must be keep or delete, not {shown(unreadable)}")
        return cls(now, unreadable == "delete")


@dataclass
class Progress:
    """How far a search is: everything up to the key `after` in `place` is done. It looks for the people whose
    tombstones are in force since `until` at the latest. `removed` and `searched` are counts by kind; `remaining` are
    sentences about what stays.
    """

    started_at: str
    until: str
    place: int = 0
    after: str = ""
    searched: dict[str, int] = field(default_factory=dict)
    removed: dict[str, int] = field(default_factory=dict)
    remaining: list[str] = field(default_factory=list)
    files: list[dict[str, Any]] = field(default_factory=list)
    """Files that the Spark job writes again: `path` below `raw/`, and `userColumn` or None."""
    job: str = ""
    """The job run that does it."""

    @classmethod
    def from_item(cls, item: Mapping[str, Any]) -> Progress:
        """Read the ledger's item."""
        return cls(**{name: item[name] for name in cls.__dataclass_fields__ if name in item})

    def to_item(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def search(self, kind: str, number: int = 1) -> None:
        self.searched[kind] = self.searched.get(kind, 0) + number

    def remove(self, kind: str, number: int = 1) -> None:
        if number:
            self.removed[kind] = self.removed.get(kind, 0) + number

    def hand_over(self, path: str, user_column: str | None) -> bool:
        """Name a file for the Spark job. False if it has too many already."""
        if len(self.files) >= MOST_FILES:
            return False
        self.files.append({"path": path, "userColumn": user_column})
        return True

    def remain(self, sentence: str) -> None:
        if sentence not in self.remaining and len(self.remaining) < SHOWN_REMAINS:
            self.remaining.append(sentence)


@dataclass(frozen=True)
class InUse:
    """The runs whose models serve or may soon, and the dataset versions that a later step reads, each with the reason
    as a sentence has it.
    """

    runs: Mapping[str, str]
    versions: Mapping[str, str]

    @classmethod
    def of(
        cls,
        serving: Serving | None,
        split: Split | None,
        running: Iterable[Run],
        preparing: Iterable[Dataset],
        newest: str | None,
    ) -> InUse:
        """Read what the ledger says is in use."""
        runs = {run["runId"]: "its run is not over" for run in running}
        versions = {run["datasetVersion"]: "a run that is not over reads it" for run in running}
        versions |= {dataset["datasetVersion"]: "it is being prepared" for dataset in preparing}
        if split:
            runs[split["runId"]] = "it answers a part of the requests"
        if serving:
            runs[serving["runId"]] = "it serves; it goes when another model serves"
            versions[serving["datasetVersion"]] = "the model that serves was trained on it"
        if newest:
            versions[newest] = "it is the newest; it goes when a later drop has been prepared"
        return cls(runs, versions)


def due_before(now: datetime, days: int) -> str:
    """Return the time (ISO 8601) before which a tombstone must be in force for its person to be erased now."""
    return (now - timedelta(days=days)).astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def version_in(key: str) -> str | None:
    """Return the dataset version that a key below `datasets/` belongs to."""
    name = key.split("/")[1]
    return name if DATASET_VERSION.fullmatch(name) else None


def run_in(key: str) -> str | None:
    """Return the run that a key below `runs/` or `training/` belongs to."""
    found = re.search(RUN_ID.pattern, key.split("/")[1])
    return found[0] if found else None


def is_without(dataset: Dataset | None, newest_tombstone: str) -> bool:
    """True if the preparation of the version has read all these tombstones. One that was retried reads them later than
    the ledger says.
    """
    if dataset is None or dataset["status"] == DatasetStatus.PREPARING:
        return False
    return dataset.get("begunAt", "") > newest_tombstone
