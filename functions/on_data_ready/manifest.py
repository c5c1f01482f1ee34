"""Checks of a manifest and of the dataset's files in the bucket. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts import schemas
from contracts.documents import Unfit

CALLED = "manifest.json"
_PARTS = ("interactions", "quarantined", "otherEvents", "duplicates", "belowSupport")
"""What becomes of the rows that were read."""


@dataclass(frozen=True)
class File:
    """One Parquet file of the dataset: `path` below the version, `size` in bytes."""

    path: str
    size: int
    rows: int


@dataclass(frozen=True)
class Manifest:
    """The fields of a valid manifest that the run needs."""

    dataset_version: str
    files: tuple[File, ...]
    counts: Mapping[str, int]


def parse(document: Any, version: str) -> Manifest:
    """Read the manifest of dataset `version`. Raises Unfit with every fault."""
    schemas.check(document, "manifest", CALLED)
    files = tuple(File(entry["path"], int(entry["size"]), int(entry["rows"])) for entry in document["files"])
    faults = _disagreements(files, document["counts"])
    if document["datasetVersion"] != version:
        faults.append(f"datasetVersion must be {version}, as in the key, not {document['datasetVersion']!r}")
    if faults:
        raise Unfit(*(f"{CALLED}: {fault}" for fault in faults))
    return Manifest(version, files, document["counts"])


def shortcomings(manifest: Manifest, minimum_test_users: int) -> list[str]:
    """Return the reason why a complete dataset is too small to measure a model; empty if it is not."""
    users = manifest.counts["test"]
    if users >= minimum_test_users:
        return []
    return [f"{users} test users, below the minimum of {minimum_test_users}: the model could not be measured"]


def missing_from(manifest: Manifest, sizes: Mapping[str, int]) -> list[str]:
    """Return a reason for each file that is missing from the bucket or has another size; `sizes` are bytes by path."""
    reasons = []
    for file in manifest.files:
        size = sizes.get(file.path)
        if size is None:
            reasons.append(f"{file.path} is in the manifest but not in the bucket")
        elif size != file.size:
            reasons.append(f"{file.path} has {size} bytes in the bucket, {file.size} in the manifest")
    return reasons


def _disagreements(files: tuple[File, ...], counts: Mapping[str, int]) -> list[str]:
    listed = Counter(file.path for file in files)
    faults = [f"files lists {path} {times} times" for path, times in listed.items() if times > 1]
    for folder in ("train", "test", "users", "items"):
        rows = sum(file.rows for file in files if file.path.startswith(f"{folder}/"))
        if rows != counts[folder]:
            faults.append(f"the files of {folder}/ have {rows} rows, counts.{folder} says {counts[folder]}")
    return faults + _contradictions(counts)


def _contradictions(counts: Mapping[str, int]) -> list[str]:
    faults = []
    if counts["interactions"] != counts["train"] + counts["test"]:
        faults.append(
            f"counts.interactions is {counts['interactions']}, but train + test is {counts['train'] + counts['test']}"
        )
    total = sum(counts.get(part, 0) for part in _PARTS)
    if counts["read"] < total:  # a later minor version may count more kinds of rows
        faults.append(f"counts.read is {counts['read']}, but {' + '.join(_PARTS)} is {total}")
    return faults
