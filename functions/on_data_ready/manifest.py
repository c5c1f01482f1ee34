"""What a manifest must say, and what the bucket must hold, for a dataset version to be learned from. Pure.

The contract is emr/manifest.schema.json; it is checked by hand here, so that the reasons are sentences a person can
act on and the function carries no schema library.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared import names

SCHEMA_MAJOR = "1"
FOLDERS = ("train", "test", "users", "items", "popularity")
COUNTS = (
    "read",
    "interactions",
    "train",
    "test",
    "users",
    "items",
    "quarantined",
    "duplicates",
    "belowSupport",
    "coldTestItems",
)
MINIMUM_USERS = 2
MINIMUM_ITEMS = 2
_PATH = re.compile(rf"({'|'.join(FOLDERS)})/[A-Za-z0-9][A-Za-z0-9._=-]*(/[A-Za-z0-9][A-Za-z0-9._=-]*)*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class File:
    """One Parquet file of the dataset: `path` below the version, `size` in bytes."""

    path: str
    size: int
    sha256: str
    rows: int


@dataclass(frozen=True)
class Manifest:
    """What a valid manifest says, as far as the run needs it."""

    dataset_version: str
    files: tuple[File, ...]
    counts: Mapping[str, int]


class BadManifest(Exception):
    """Raised with all reasons for which a manifest cannot be used; the dataset is then quarantined, nothing is
    started.
    """

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


def parse(document: Any, version: str) -> Manifest:
    """The manifest of dataset `version`. Raises BadManifest with every fault that was found."""
    if not isinstance(document, dict):
        raise BadManifest([f"manifest.json must be a JSON object, not {type(document).__name__}"])
    faults: list[str] = []
    schema = document.get("schemaVersion")
    if not isinstance(schema, str) or schema.split(".")[0] != SCHEMA_MAJOR:
        faults.append(f"schemaVersion must be {SCHEMA_MAJOR}.x, not {_shown(schema)}")
    if document.get("datasetVersion") != version:
        faults.append(f"datasetVersion must be {version}, as in the key, not {_shown(document.get('datasetVersion'))}")
    parent = document.get("parentVersion")
    if parent is not None and not (isinstance(parent, str) and names.DATASET_VERSION.fullmatch(parent)):
        faults.append(f"parentVersion must be a dataset version or null, not {_shown(parent)}")
    counts = _counts(document.get("counts"), faults)
    files = _files(document.get("files"), faults)
    if faults:
        raise BadManifest(faults)
    faults += _disagreements(files, counts)
    if faults:
        raise BadManifest(faults)
    return Manifest(version, files, counts)


def shortcomings(manifest: Manifest, minimum_test_users: int) -> list[str]:
    """Why this dataset, though whole, is too little to learn from or to measure with."""
    counts = manifest.counts
    reasons = []
    if counts["train"] == 0:
        reasons.append("train has rows=0: there is nothing to learn from")
    if counts["users"] < MINIMUM_USERS or counts["items"] < MINIMUM_ITEMS:
        reasons.append(
            f"below minimum support: {counts['users']} users and {counts['items']} items, "
            f"at least {MINIMUM_USERS} and {MINIMUM_ITEMS} are needed"
        )
    if counts["test"] < minimum_test_users:
        reasons.append(
            f"{counts['test']} test users, below the minimum of {minimum_test_users}: the model could not be measured"
        )
    return reasons


def missing_from(manifest: Manifest, sizes: Mapping[str, int]) -> list[str]:
    """Which files the bucket lacks or holds in another size; `sizes` are bytes by path below the version."""
    reasons = []
    for file in manifest.files:
        size = sizes.get(file.path)
        if size is None:
            reasons.append(f"{file.path} is in the manifest but not in the bucket")
        elif size != file.size:
            reasons.append(f"{file.path} has {size} bytes in the bucket, {file.size} in the manifest")
    return reasons


def _counts(value: Any, faults: list[str]) -> dict[str, int]:
    if not isinstance(value, dict):
        faults.append(f"counts must be an object, not {_shown(value)}")
        return {}
    for name in COUNTS:
        if not _is_count(value.get(name)):
            faults.append(f"counts.{name} must be an integer of at least 0, not {_shown(value.get(name))}")
    return value


def _files(value: Any, faults: list[str]) -> tuple[File, ...]:
    if not isinstance(value, list) or not value:
        faults.append(f"files must be a non-empty array, not {_shown(value)}")
        return ()
    files: list[File] = []
    seen: set[str] = set()
    for position, entry in enumerate(value):
        where = f"files[{position}]"
        if not isinstance(entry, dict):
            faults.append(f"{where} must be an object, not {_shown(entry)}")
            continue
        path, size, digest, rows = (entry.get(name) for name in ("path", "size", "sha256", "rows"))
        if not isinstance(path, str) or not _PATH.fullmatch(path):
            faults.append(f"{where}.path must be a plain path below {', '.join(FOLDERS)}, not {_shown(path)}")
        elif path in seen:
            faults.append(f"{where}.path {path} is listed twice")
        elif not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            faults.append(f"{where}.sha256 must be 64 lower-case hex digits, not {_shown(digest)}")
        elif not isinstance(size, int) or not isinstance(rows, int) or not _is_count(size) or not _is_count(rows):
            faults.append(
                f"{where}.size and .rows must be integers of at least 0, not {_shown(size)} and {_shown(rows)}"
            )
        else:
            seen.add(path)
            files.append(File(path, size, digest, rows))
    return tuple(files)


def _disagreements(files: tuple[File, ...], counts: Mapping[str, int]) -> list[str]:
    rows = {folder: sum(file.rows for file in files if file.path.startswith(f"{folder}/")) for folder in FOLDERS}
    faults = [
        f"{folder}/ has no file in the manifest"
        for folder in FOLDERS
        if not any(f.path.startswith(f"{folder}/") for f in files)
    ]
    for folder in ("train", "test", "users", "items"):
        if rows[folder] != counts[folder]:
            faults.append(f"the files of {folder}/ have {rows[folder]} rows, counts.{folder} says {counts[folder]}")
    return faults


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _shown(value: object) -> str:
    return repr(value)[:120]
