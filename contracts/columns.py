"""Which columns of a file are the user, the item, the time, the event type and the weight: as given, or guessed from
names and values when the guess is sure.

    choose(layouts.find(b"USER_ID,ITEM_ID,TIMESTAMP\n1,a,1700000000\n", "clicks.csv"), Given(), "clicks.csv")
    # Columns(user="USER_ID", item="ITEM_ID", timestamp="TIMESTAMP", event_type=None, weight=None)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache

from contracts import column_names, ids, suggestions, time_forms
from contracts.column_names import HELD, KEYS, NO_TIMES, OPTIONS, REQUIRED, normal
from contracts.layouts import Layout, Unreadable, flattened, with_columns
from contracts.sources import folder_columns
from contracts.suggestions import columns_of, is_numeric, printable, shown

_INTEGER = re.compile(r"[0-9]+")
OF_TYPES = frozenset({"eventTypes", "eventWeights", "boughtTypes"})
"""Parameters of a preparation that need a column of event types."""


class NotSure(ValueError):
    """The columns cannot be told.

    suggestion: the most plausible column of each meaning that has one.
    is_other: the file has names, but none for users, or none for items and times: it is no table of interactions.
    """

    def __init__(self, problem: str, suggestion: Mapping[str, str] | None = None, is_other: bool = False) -> None:
        super().__init__(problem)
        self.suggestion = dict(suggestion or {})
        self.is_other = is_other


@dataclass(frozen=True)
class Given:
    """Columns that a person named: exactly, but for case and separators, or by position from 1; None: not named."""

    user: str | None = None
    item: str | None = None
    timestamp: str | None = None
    event_type: str | None = None
    weight: str | None = None
    event_id: str | None = None
    session_id: str | None = None
    needs_event_type: bool = False
    needs_weight: bool = False
    """Whether a table needs weights; live events, which have ids, have none."""
    time_format: str | None = None
    """A datetime pattern of Spark; None: the times have a known form, or one that their texts tell."""

    def named(self) -> dict[str, str]:
        """The named columns, by meaning."""
        return {name: value for name, value in asdict(self).items() if name in KEYS and value is not None}


@dataclass(frozen=True)
class Columns:
    """The columns of a file. None: it has no such column; no times, if `NO_TIMES` was given."""

    user: str
    item: str
    timestamp: str | None
    event_type: str | None = None
    weight: str | None = None
    event_id: str | None = None
    session_id: str | None = None
    time_format: str | None = None
    """A datetime pattern of Spark, as given or as the times tell it; None: they are read without one."""


Settled = Callable[[], Collection[str]]
"""Returns the patterns of times of other files of the data, which tell whether the day or the month is first where a
file does not."""


def choose(layout: Layout, given: Given, called: str, settled: Settled = tuple) -> Columns:
    """The columns of the file `called` with this layout. Raises NotSure, and Unreadable if a column has
    no texts.
    """
    found, session_id = _found(layout, given, called)
    nested = {meaning: found[meaning] for meaning in OPTIONS if found.get(meaning) in layout.nested}
    if nested:
        listed = ", ".join(f"{printable(name)!r} ({meaning})" for meaning, name in nested.items())
        kinds = {"lists" if isinstance(layout.nested[name], list) else "objects" for name in nested.values()}
        raise Unreadable(
            f"{called}: the column {listed} holds {' and '.join(sorted(kinds))}, not texts: convert it with "
            f"{flattened(layout, nested.values(), called)}"
        )
    others = {meaning: found.get(meaning) for meaning in ("timestamp", "event_type", "weight", "event_id")}
    time_format = given.time_format or _time_format(layout, found, called, settled)
    session_id = session_id or found.get("session_id")
    return Columns(found["user"], found["item"], **others, session_id=session_id, time_format=time_format)


def named(layout: Layout, given: Given, called: str) -> dict[str, str]:
    """The columns by meaning, whatever they hold. Raises NotSure."""
    return _found(layout, given, called)[0]


def _found(layout: Layout, given: Given, called: str) -> tuple[dict[str, str], str | None]:
    """The columns by meaning, and a column of sessions that the first objects do not have. Raises NotSure."""
    names, rows = layout.names, layout.rows
    absent = {meaning for meaning in ("timestamp", "weight") if getattr(given, meaning) == NO_TIMES}
    named = {meaning: name for meaning, name in given.named().items() if meaning not in absent}
    session_id = None
    if layout.kind == "json" and "session_id" in named and not _places(named["session_id"], names):
        session_id = named.pop("session_id")  # the first objects may be of people without one, later ones not
    found = _named(named, names, called)
    guesses = (
        column_names.by_names(names, set(found.values()))
        if layout.has_header
        else column_names.by_values(layout, called)
    )
    unknown, problems = [], []
    if "weight" not in found:  # a guess that is no number is none
        guessed = guesses.get("weight", [])
        guesses["weight"] = [name for name in guessed if is_numeric(name, names, rows)]
        if guessed and not guesses["weight"] and _is_needed("weight", [], given):
            problems.append(f"{printable(guessed[0])} is empty or no number in some rows")
    for meaning in (meaning for meaning in OPTIONS if meaning not in found and meaning not in absent):
        candidates = [name for name in guesses.get(meaning, []) if name not in found.values()]
        if len(candidates) == 1:
            found[meaning] = candidates[0]
        elif candidates and _is_needed(meaning, candidates, given):
            several = ", ".join(map(printable, candidates))
            problems.append(f"several columns may hold the {HELD[meaning]}: {several}")
        elif _is_needed(meaning, candidates, given):
            unknown.append(HELD[meaning])
    if len(set(found.values())) < len(found):
        listed = ", ".join(f"{meaning} {printable(name)}" for meaning, name in found.items())
        raise NotSure(f"{called}: one column cannot have two meanings: {listed}")
    if unknown:
        problems.insert(0, f"no column is known to hold the {', the '.join(unknown)}")
    if problems:
        needed = [meaning for meaning in OPTIONS if _is_needed(meaning, guesses.get(meaning, []), given)]
        suggestion = suggestions.plausible(layout, found, guesses, needed)
        is_known = {meaning: meaning in found or bool(guesses.get(meaning)) for meaning in REQUIRED}
        is_other = layout.has_header and not (is_known["user"] and (is_known["item"] or is_known["timestamp"]))
        raise NotSure(f"{called}: {'; '.join(problems)}; it has {columns_of(layout)}", suggestion, is_other)
    return found, session_id


def choose_each(
    layouts: Mapping[str, Layout | Unreadable], given: Given, settled: Settled = tuple
) -> tuple[dict[str, Columns], dict[str, str]]:
    """The columns of each file of a drop, by its path, and the files that are left alone, with the reason: beside
    interactions, a text or a table without users, or without items and times, is something else. `settled`: of other
    drops. Raises NotSure or Unreadable of the first file that cannot be used, and Unreadable if files must be joined
    first.
    """
    each = replace(given, needs_weight=False)  # one file of a drop with weights is enough
    whole = {
        path: with_columns(layout, folder_columns(path)) if isinstance(layout, Layout) else layout
        for path, layout in layouts.items()
    }
    together = cache(lambda: {*settled(), *settled_by(whole, each)})
    chosen: dict[str, Columns] = {}
    left: dict[str, NotSure | Unreadable] = {}
    for path, layout in whole.items():
        try:
            if isinstance(layout, Unreadable):
                raise layout
            if not layout.names:
                raise Unreadable(f"{path}: there is no row", is_prose=True)
            chosen[path] = choose(layout, each, path, together)
        except (NotSure, Unreadable) as error:
            left[path] = error
    tables = {path: one for path, one in layouts.items() if isinstance(one, Layout)}
    if left and not chosen and (joined := suggestions.join(tables)):
        raise Unreadable(joined)
    for problem in left.values():
        if not chosen or not (problem.is_other if isinstance(problem, NotSure) else problem.is_prose):
            raise problem
    if given.needs_weight and not any(own.weight or own.event_id for own in chosen.values()):
        for path in chosen:
            choose(tables[path], given, path, together)  # raises NotSure
    return chosen, {path: str(problem) for path, problem in left.items()}


def settled_by(layouts: Mapping[str, Layout | Unreadable], given: Given) -> set[str]:
    """The patterns of times that files tell by themselves."""
    found: set[str] = set()
    for path, layout in layouts.items():
        if isinstance(layout, Layout):
            with suppress(NotSure, Unreadable):
                found.add(choose(layout, given, path).time_format or "")
    return found - {""}


def _is_needed(meaning: str, candidates: Sequence[str], given: Given) -> bool:
    if meaning == "weight":
        return given.needs_weight and given.event_id is None
    return meaning in REQUIRED or (meaning == "event_type" and (given.needs_event_type or bool(candidates)))


def _time_format(layout: Layout, found: Mapping[str, str], called: str, settled: Settled) -> str | None:
    """The pattern by which the times are read; None if they need none, or have none that is known. Raises NotSure if
    several fit them.
    """
    if "timestamp" not in found:
        return None
    place = layout.names.index(found["timestamp"])
    texts = [row[place] for row in layout.rows if row[place].lower() not in ids.MISSING]
    if time_forms.are_days(texts):
        raise Unreadable(
            f"{called}: times such as {printable(texts[0])!r} are days since 1900, as a spreadsheet counts them: give "
            "the column the form of a date there, such as yyyy-mm-dd hh:mm:ss, and save the file again; if they are no "
            "dates, say TIME=none (timestampColumn none)"
        )
    patterns = time_forms.patterns_of(texts)
    if not patterns:
        return None
    if len(patterns) == 1:
        return patterns[0]
    shape = column_names.shape_of(layout.names)
    if shape and shape.time_format in patterns:
        return shape.time_format
    alike = [pattern for pattern in patterns if time_forms.has_order_of(pattern, settled())]
    if len(alike) == 1:
        return alike[0]
    raise NotSure(
        f"{called}: times such as {printable(texts[0])!r} can be read as {' and as '.join(patterns)}",
        {**found, "time_format": patterns[0]},
    )


def _named(named: Mapping[str, str], names: Sequence[str], called: str) -> dict[str, str]:
    """The file's own names of the columns that are named. Raises NotSure if one is missing."""
    places = {meaning: _places(name, names) for meaning, name in named.items()}
    for meaning, found in places.items():
        if len(found) != 1:
            problem = "is there more than once" if found else "is missing"
            raise NotSure(
                f"{called}: the column {named[meaning]!r} ({meaning}) {problem}; it has {shown(names)}",
                is_other=not any(places.values()),
            )
    return {meaning: names[found[0]] for meaning, found in places.items()}


def _places(name: str, names: Sequence[str]) -> list[int]:
    """The positions of the columns that `name` may mean: exactly, or without case and separators, or by position."""
    exact = [place for place, found in enumerate(names) if found == name]
    alike = [place for place, found in enumerate(names) if normal(found) == normal(name) and normal(name)]
    if exact or alike:
        return exact or alike
    if not _INTEGER.fullmatch(name) or not 1 <= int(name) <= len(names):
        return []
    own = names[int(name) - 1]  # must be the only one of its name, by which it is read
    return [place for place, found in enumerate(names) if found == own]
