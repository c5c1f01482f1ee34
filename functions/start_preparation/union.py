"""Which drops a preparation unites: the newest full one before it, what was added since, and live events. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from contracts.names import DROP_FILE, LIVE_FOLDER, MARKER_KEY
from contracts.unions import APPEND, FULL, READING, Part, Union
from shared.errors import InvalidInput

CHUNK = 64
"""Documents of drops that are read at once, from the newest drop back to the full one."""
OVERLAP_DAYS = 7
"""Days before a full drop was closed whose live events are read with it: the drop may reach to an earlier time. What is
in both counts once.
"""
_DAY = 86_400
_VERSION_TIME = re.compile(r"v([0-9]{8}t[0-9]{6})z-")


@dataclass(frozen=True)
class Closed:
    """A drop whose upload is complete: its folder below `raw/`, when its marker was written (epoch seconds), and
    whether it says something of itself. A live folder needs no marker, and its time is the end of its day.
    """

    name: str
    marked_at: int
    has_document: bool = False


ReadMany = Callable[[Sequence[str]], Sequence[Mapping[str, Any] | InvalidInput]]
"""What each of these drops says of itself (`_drop.json`), or why that cannot be used."""


def closed_drops(objects: Iterable[tuple[str, int]]) -> list[Closed]:
    """Return the drops of a listing of keys below `raw/` and the times at which they were written. One without a marker
    is still being written, or is being deleted: it is none. A live folder is one when it says what it is, because each
    of its files is whole.
    """
    marked: dict[str, int] = {}
    documented: set[str] = set()
    for key, written_at in objects:
        name = key.removeprefix("raw/").rpartition("/")[0]
        if MARKER_KEY.fullmatch(key):
            marked[name] = written_at
        elif key.endswith(f"/{DROP_FILE}"):
            documented.add(name)
    live = {name: _end_of_day(name) for name in documented if LIVE_FOLDER.fullmatch(name)}
    return [Closed(name, time, name in documented) for name, time in {**marked, **live}.items()]


def _end_of_day(live_folder: str) -> int:
    found = LIVE_FOLDER.fullmatch(live_folder)
    assert found is not None, live_folder
    try:
        return int((datetime.fromisoformat(f"{found[1]}T00:00:00+00:00") + timedelta(days=1)).timestamp())
    except ValueError:  # no day, such as 2026-02-30
        return 0


def moment_of(version: str) -> int:
    """Return the time in a dataset version's name, in epoch seconds."""
    found = _VERSION_TIME.match(version)
    assert found is not None, version
    return int(datetime.strptime(f"{found[1]}+0000", "%Y%m%dt%H%M%S%z").timestamp())


def unite(
    drops: Iterable[Closed],
    own: Part,
    until: int,
    defaults: Mapping[str, str],
    read: ReadMany,
    outside: Part | None = None,
) -> Union:
    """Return the union of `own`: of an append the newest full drop, and the appends after it, whose markers were
    written at `until` (epoch seconds) or before; drops of the same second belong to each other's unions. And the live
    folders from OVERLAP_DAYS before the full drop was closed.

    `defaults`: parameters of the shop's drops that do not say otherwise. `outside`: the history of live events that is
    not below `raw/`. Without a full drop the appends are all there is.
    """
    drops = list(drops)
    listed = [drop for drop in drops if not LIVE_FOLDER.fullmatch(drop.name)]
    live = [drop for drop in drops if LIVE_FOLDER.fullmatch(drop.name)]
    marked_at = next((drop.marked_at for drop in drops if drop.name == own.name), until)
    found: list[tuple[Closed, Part]] = [(Closed(own.name, marked_at), own)]
    warnings: list[str] = []
    full: Closed | None = None
    if own.kind == FULL:
        full = None if own.source else found[0][0]
    elif outside is not None and LIVE_FOLDER.fullmatch(own.name):
        found.append((Closed("", 0), outside))
    else:
        earlier, full, warnings = _since_full(listed, own, until, defaults, read)
        found += earlier
        if full is None:
            warnings.append(
                f"no full drop is closed before raw/{own.name}/: it is learned from the {len(found)} appends alone; "
                'drop the whole history once (without "kind" in _drop.json) if there is more'
            )
    first = 0 if full is None else full.marked_at - OVERLAP_DAYS * _DAY
    recent = [drop for drop in live if first < drop.marked_at <= until + _DAY and drop.name != own.name]
    said = read([drop.name for drop in recent]) if recent else []
    for drop, document in zip(recent, said, strict=True):
        if isinstance(document, InvalidInput):
            warnings.append(f"raw/{drop.name}/ is left out: {document}")
        else:
            found.append((drop, part(drop.name, document, {})))
    found.sort(key=lambda pair: (pair[1].kind != FULL, pair[0].marked_at, pair[0].name))
    return Union(tuple(one for _, one in found), tuple(warnings))


def _since_full(
    listed: Sequence[Closed], own: Part, until: int, defaults: Mapping[str, str], read: ReadMany
) -> tuple[list[tuple[Closed, Part]], Closed | None, list[str]]:
    """The newest full drop of the shop before `own`, the appends since, that full drop, and warnings."""
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
                found.append((drop, part(drop.name, document, defaults)))
                full = drop if found[-1][1].kind == FULL else full
        if full is not None and chunk[-1].marked_at < full.marked_at:
            break
    return found, full, warnings


def _said(chunk: Sequence[Closed], read: ReadMany) -> dict[str, Mapping[str, Any] | InvalidInput]:
    documented = [drop.name for drop in chunk if drop.has_document]
    said = dict(zip(documented, read(documented), strict=True))
    return {drop.name: said.get(drop.name, {}) for drop in chunk}


def part(name: str, document: Mapping[str, Any], defaults: Mapping[str, str], source: str = "") -> Part:
    """The drop `name` that says `document` of itself, and is read by `defaults` where it says nothing."""
    own = {**defaults, **{key: str(value) for key, value in document.items()}}
    read = {key: own[key] for key in READING if key in own}
    return Part(name, str(document.get("kind", FULL)), read, source)
