"""Checks of a manifest and of the dataset's files in the bucket. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts import counts, schemas
from contracts.documents import Unfit
from contracts.values import is_integer

CALLED = "manifest.json"


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
    parent_version: str | None = None


def parse(document: Any, version: str) -> Manifest:
    """Read the manifest of dataset `version`. Raises Unfit with every fault."""
    schemas.check(document, "manifest", CALLED)
    faults = counts.contradictions(document)
    if document["datasetVersion"] != version:
        faults.append(f"datasetVersion must be {version}, as in the key, not {document['datasetVersion']!r}")
    if faults:
        raise Unfit(*(f"{CALLED}: {fault}" for fault in faults))
    files = tuple(File(entry["path"], entry["size"], entry["rows"]) for entry in document["files"])
    return Manifest(version, files, document["counts"], document["parentVersion"])


def shortcomings(manifest: Manifest, minimum_test_users: int) -> list[str]:
    """Return the reason why a complete dataset is too small to measure a model; empty if it is not."""
    users = manifest.counts.get("testUsers", manifest.counts["test"])  # older manifests have one test row a user
    if users >= minimum_test_users:
        return []
    return [f"{users} test users, below the minimum of {minimum_test_users}: the model could not be measured"]


def lost(manifest: Manifest, parent: Mapping[str, Any]) -> list[str]:
    """Return a reason for each of users and items of which the dataset has fewer than its parent, because a user or an
    item keeps its index. `parent` is the parent's manifest; counts that it does not tell are not compared.
    """
    known = parent.get("counts")
    return [
        f"counts.{name} is {manifest.counts[name]}, fewer than the {known[name]} of its parent "
        f"{manifest.parent_version}, whose indices it continues: prepare the data again"
        for name in ("users", "items")
        if isinstance(known, dict) and is_integer(known.get(name), manifest.counts[name] + 1)
    ]


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
