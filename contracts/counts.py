"""The counts of a dataset's manifest must agree with each other and with its files: one rule for all who read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from contracts.splits import GLOBAL_TIME
from contracts.values import is_integer, shown

LARGEST = 2**53 - 1
"""The largest integer that every reader of JSON represents exactly."""
FOLDERS = ("train", "test", "repeats", "users", "items")
"""The folders whose rows are counted under their own name."""

_COUNTS = (
    "read", "quarantined", "forgotten", "otherEvents", "superseded", "beforeHistory", "duplicates", "notLiked",
    "belowSupport", "interactions", *FOLDERS, "coldTestItems", "testUsers", "newTestUsers", "tiedTestUsers",
    "compactedUsers", "compactedItems", "withdrawnItems", "catalogueItems",
)  # fmt: skip


def contradictions(manifest: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each contradiction in `manifest`, whose `files` and `counts` have the schema's structure.

    A count that is absent is 0. Counts, sizes, rows and times must be written as integers, 3 and not 3.0, because a
    reader that takes one for the other adds fractions and loses digits.
    """
    files, span = manifest["files"], _span(manifest)
    numbers = {f"counts.{name}": manifest["counts"][name] for name in _COUNTS if name in manifest["counts"]}
    numbers |= {f"files[{place}].{name}": file[name] for place, file in enumerate(files) for name in ("size", "rows")}
    numbers |= {f"timeSpan.{name}": span[name] for name in ("first", "last") if name in span}
    faults = [
        f"{name} must be an integer from 0 to {LARGEST}, without a fraction, not {shown(value)}"
        for name, value in numbers.items()
        if not is_integer(value, 0, LARGEST)
    ]
    if faults:
        return faults
    rows = Counter[str]()
    for file in files:
        rows[file["path"].partition("/")[0]] += file["rows"]
    counts = {name: manifest["counts"].get(name, 0) for name in _COUNTS}
    listed = Counter(file["path"] for file in files)
    return [
        *(f"files lists {path} {times} times" for path, times in listed.items() if times > 1),
        *(
            f"the files of {folder}/ have {rows[folder]} rows, counts.{folder} says {counts[folder]}"
            for folder in FOLDERS
            if rows[folder] != counts[folder]
        ),
        *_wrong_sums(counts, _is_by_time(manifest)),
        *_wrong_order(manifest, counts, rows["popularity"]),
    ]


def _span(manifest: Mapping[str, Any]) -> dict[str, Any]:
    span = manifest.get("timeSpan")
    return span if isinstance(span, dict) else {}


def _is_by_time(manifest: Mapping[str, Any]) -> bool:
    split = manifest.get("split")
    return isinstance(split, dict) and split.get("protocol") == GLOBAL_TIME


def _wrong_sums(counts: Mapping[str, int], is_by_time: bool) -> list[str]:
    # Cold test rows are left out by global time; by leave-last-out they are rows of train.
    cold = ("coldTestItems",) if is_by_time else ()
    sums = {
        "read": (
            "quarantined",
            "forgotten",
            "otherEvents",
            "superseded",
            "beforeHistory",
            "duplicates",
            "notLiked",
            "belowSupport",
            "interactions",
            *cold,
        ),
        "interactions": ("train", "test", "repeats"),
    }
    return [
        f"counts.{name} is {counts[name]}, but {' + '.join(parts)} is {sum(counts[part] for part in parts)}"
        for name, parts in sums.items()
        if counts[name] != sum(counts[part] for part in parts)
    ]


def _wrong_order(manifest: Mapping[str, Any], counts: Mapping[str, int], popular: int) -> list[str]:
    """Compare pairs of values of which the first cannot be above the second."""
    by_time = _is_by_time(manifest)
    tested = "testUsers" if "testUsers" in manifest["counts"] else "test"
    pairs = [("test", "users"), ("coldTestItems", "train")] if not by_time else []
    pairs += [
        ("testUsers", "users"),
        ("testUsers", "test"),
        ("newTestUsers", tested),
        ("tiedTestUsers", tested),
        ("withdrawnItems", "items"),
        ("catalogueItems", "items"),
    ]
    faults = [
        f"counts.{low} is {counts[low]}, more than counts.{high}, {counts[high]}"
        for low, high in pairs
        if counts[low] > counts[high]
    ]
    faults += [
        f"the files of popularity/ have {popular} rows, more than counts.{name}, {counts[name]}"
        for name in ("items", "train")
        if popular > counts[name]
    ]
    span, parent, version = _span(manifest), manifest.get("parentVersion"), manifest["datasetVersion"]
    if {"first", "last"} <= span.keys() and span["first"] > span["last"]:
        faults.append(f"timeSpan.first is {span['first']}, later than timeSpan.last, {span['last']}")
    if isinstance(parent, str) and parent >= version:
        faults.append(f"parentVersion is {parent}, not older than datasetVersion, {version}")
    return faults
