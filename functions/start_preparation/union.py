"""Which drops a preparation unites: the newest full one before it, and what was added since. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from contracts.names import DROP_FILE, MARKER_KEY
from contracts.unions import APPEND, FULL, READING, Part, Union
from shared.errors import InvalidInput

CHUNK = 64
"""Documents of drops that are read at once, from the newest drop back to the full one."""
_VERSION_TIME = re.compile(r"v([0-9]{8}t[0-9]{6})z-")


@dataclass(frozen=True)
class Closed:
    """A drop whose upload is complete: its folder below `raw/`, when its marker was written (epoch seconds), and
    whether it says something of itself.
    """

    name: str
    marked_at: int
    has_document: bool = False


ReadMany = Callable[[Sequence[str]], Sequence[Mapping[str, Any] | InvalidInput]]
"""What each of these drops says of itself (`_drop.json`), or why that cannot be used."""


def closed_drops(objects: Iterable[tuple[str, int]]) -> list[Closed]:
    """Return the drops of a listing of keys below `raw/` and the times at which they were written. One without a marker
    is still being written, or is being deleted: it is none.
    """
    marked: dict[str, int] = {}
    documented: set[str] = set()
    for key, written_at in objects:
        name = key.removeprefix("raw/").rpartition("/")[0]
        if MARKER_KEY.fullmatch(key):
            marked[name] = written_at
        elif key.endswith(f"/{DROP_FILE}"):
            documented.add(name)
    return [Closed(name, time, name in documented) for name, time in marked.items()]


def moment_of(version: str) -> int:
    """Return the time in a dataset version's name, in epoch seconds."""
    found = _VERSION_TIME.match(version)
    assert found is not None, version
    return int(datetime.strptime(f"{found[1]}+0000", "%Y%m%dt%H%M%S%z").timestamp())


def unite(drops: Iterable[Closed], own: Part, until: int, defaults: Mapping[str, str], read: ReadMany) -> Union:
    """Return the union of the append `own`: the newest full drop, and the appends after it, whose markers were written
    at `until` (epoch seconds) or before. Drops of the same second belong to each other's unions.

    `defaults`: parameters of drops that do not say otherwise. Without a full drop the appends are all there is.
    """
    listed = list(drops)
    before = [drop for drop in listed if drop.marked_at <= until and drop.name != own.name]
    before.sort(key=lambda drop: (drop.marked_at, drop.name), reverse=True)
    found: list[tuple[Closed, Part]] = []
    warnings: list[str] = []
    full: Closed | None = None
    for start in range(0, len(before), CHUNK):
        chunk = before[start : start + CHUNK]
        said = _said(chunk, read)
        for drop in chunk:
            document = said[drop.name]
            if full is not None and drop.marked_at < full.marked_at:
                break
            if isinstance(document, InvalidInput):
                warnings.append(f"raw/{drop.name}/ is left out: {document}")
            elif document.get("kind", FULL) == APPEND or full is None:
                found.append((drop, _part(drop.name, document, defaults)))
                full = drop if found[-1][1].kind == FULL else full
        if full is not None and chunk[-1].marked_at < full.marked_at:
            break
    if full is None:
        warnings.append(
            f"no full drop is closed before raw/{own.name}/: it is learned from the {len(found) + 1} appends alone; "
            'drop the whole history once (without "kind" in _drop.json) if there is more'
        )
    marked_at = next((drop.marked_at for drop in listed if drop.name == own.name), until)
    found.append((Closed(own.name, marked_at), own))
    found.sort(key=lambda pair: (pair[1].kind != FULL, pair[0].marked_at, pair[0].name))
    return Union(tuple(part for _, part in found), tuple(warnings))


def _said(chunk: Sequence[Closed], read: ReadMany) -> dict[str, Mapping[str, Any] | InvalidInput]:
    documented = [drop.name for drop in chunk if drop.has_document]
    said = dict(zip(documented, read(documented), strict=True))
    return {drop.name: said.get(drop.name, {}) for drop in chunk}


def _part(name: str, document: Mapping[str, Any], defaults: Mapping[str, str]) -> Part:
    own = {**defaults, **{key: str(value) for key, value in document.items()}}
    return Part(name, str(document.get("kind", FULL)), {key: own[key] for key in READING if key in own})
