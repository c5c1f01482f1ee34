"""Which columns of a file are the user, the item, the time, the event type and the weight: as given, or guessed from
names and values when the guess is sure.

    choose(layouts.find(b"USER_ID,ITEM_ID,TIMESTAMP\n1,a,1700000000\n", "clicks.csv"), Given(), "clicks.csv")
    # Columns(user="USER_ID", item="ITEM_ID", timestamp="TIMESTAMP", event_type=None, weight=None)

Names are compared without case and without anything but letters and digits, so `User-ID` is `user_id`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from contracts.layouts import Layout, Unreadable

Rows = Sequence[Sequence[str]]

REQUIRED = ("user", "item", "timestamp")
NO_TIMES = "none"
"""In place of the column of times: there are no times, by request."""
OPTIONS = {"user": "USER", "item": "ITEM", "timestamp": "TIME", "event_type": "EVENT", "weight": "WEIGHT"}
"""The variables of `make demo` that name a column."""
OF_TYPES = frozenset({"eventTypes", "eventWeights", "boughtTypes"})
"""Parameters of a preparation that need a column of event types."""
_HELD = {"user": "users", "item": "items", "timestamp": "times", "event_type": "event types"}

#: By meaning: names that win over the others, then names that are taken if a file has just one of them.
_NAMES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "user": (
        ("userid",),
        ("user", "uid", "userindex", "customerid", "customer", "custid", "customerno", "customernumber", "clientid",
         "visitorid", "visitor", "memberid", "member", "personid", "reviewerid", "accountid", "buyerid", "shopperid",
         "householdid", "householdkey", "profileid"),
    ),
    "item": (
        ("itemid",),
        ("item", "iid", "productid", "product", "productcode", "articleid", "article", "asin", "parentasin", "movieid",
         "bookid", "isbn", "stockcode", "sku", "skuid", "trackid", "songid", "artistid", "gameid", "animeid",
         "contentid", "offerid", "goodsid", "recipeid", "listingid", "videoid", "businessid"),
    ),
    "timestamp": (
        ("timestamp",),
        ("time", "ts", "datetime", "date", "eventtime", "eventtimestamp", "eventdate", "createdat", "created",
         "unixreviewtime", "reviewtime", "reviewdate", "invoicedate", "orderdate", "ordertime", "orderdatetime",
         "orderedat", "purchasedate", "purchasetime", "purchasedat", "transactiondate", "tdat", "ratedat", "unixtime",
         "epoch", "timestampms", "eventtimems"),
    ),
    "event_type": (
        ("eventtype",),
        ("event", "eventname", "behavior", "behaviour", "behaviortype", "behaviourtype", "action", "actiontype",
         "interactiontype", "interaction"),
    ),
    "weight": (("weight",), ("rating", "overall", "stars", "bookrating", "score", "playcount")),
}  # fmt: skip

ITEM_NAMES = _NAMES["item"][0] + _NAMES["item"][1]
"""Names of the column of items, as `normal` returns them."""

#: Files with several names of one meaning, by their own names: the columns that count.
_SHAPES: tuple[tuple[frozenset[str], dict[str, str]], ...] = (
    # Amazon reviews 2014 and 2018, JSON: https://jmcauley.ucsd.edu/data/amazon/
    (
        frozenset({"reviewerid", "asin", "overall", "unixreviewtime"}),
        {"user": "reviewerid", "item": "asin", "timestamp": "unixreviewtime", "weight": "overall"},
    ),
    # Amazon reviews 2023, JSON and CSV: https://amazon-reviews-2023.github.io/
    (
        frozenset({"userid", "parentasin", "rating", "timestamp"}),
        {"user": "userid", "item": "parentasin", "timestamp": "timestamp", "weight": "rating"},
    ),
    # Online Retail I and II: https://archive.ics.uci.edu/dataset/352 and /502. A cancellation has a quantity below 0.
    (
        frozenset({"stockcode", "quantity", "invoicedate", "customerid"}),
        {"user": "customerid", "item": "stockcode", "timestamp": "invoicedate", "weight": "quantity"},
    ),
)

#: Seconds of 1995 to 2033 since 1970, or the same in milli-, micro- or nanoseconds.
_SECONDS = re.compile(r"(?:[89][0-9]{8}|1[0-9]{9})(?:[0-9]{3}|[0-9]{6}|[0-9]{9}|[.,][0-9]+)?")
_DATE = re.compile(r"[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}([T ].*)?")
_INTEGER = re.compile(r"[0-9]+")
#: Amazon's ids of reviewers and products.
_REVIEWER = re.compile(r"A[0-9A-Z]{9,20}")
_ASIN = re.compile(r"(B[0-9A-Z]{9}|[0-9]{9}[0-9X])")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


#: Parts of names, for suggestions.
_HINTS = {
    "user": re.compile("user|cust|client|visitor|member|session|person|buyer"),
    "item": re.compile("item|prod|article|sku|asin|movie|track|book|game"),
    "timestamp": re.compile("time|date|when"),
    "event_type": re.compile("event|action|type|kind"),
}


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

    def named(self) -> dict[str, str]:
        """The named columns, by meaning."""
        return {name: value for name, value in asdict(self).items() if isinstance(value, str)}


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


def normal(name: str) -> str:
    """Letters and digits in lower case: `userid` for `User-ID`."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def choose(layout: Layout, given: Given, called: str) -> Columns:
    """The columns of the file `called` with this layout. Raises NotSure."""
    names, rows = layout.names, layout.rows
    has_times = given.timestamp != NO_TIMES
    named = {meaning: name for meaning, name in given.named().items() if has_times or meaning != "timestamp"}
    session_id = None
    if layout.kind == "json" and "session_id" in named and not _places(named["session_id"], names):
        session_id = named.pop("session_id")  # the first objects may be of people without one, later ones not
    found = _named(named, names, called)
    guesses = _by_names(names, set(found.values())) if layout.has_header else _by_values(layout, called)
    unknown, problems = [], []
    for meaning in (meaning for meaning in OPTIONS if meaning not in found and (has_times or meaning != "timestamp")):
        candidates = [name for name in guesses.get(meaning, []) if name not in found.values()]
        if len(candidates) == 1:
            found[meaning] = candidates[0]
        elif candidates and _is_needed(meaning, candidates, given):
            several = ", ".join(map(_printable, candidates))
            problems.append(f"several columns may hold the {_HELD[meaning]}: {several}")
        elif _is_needed(meaning, candidates, given):
            unknown.append(_HELD[meaning])
    if len(set(found.values())) < len(found):
        listed = ", ".join(f"{meaning} {_printable(name)}" for meaning, name in found.items())
        raise NotSure(f"{called}: one column cannot have two meanings: {listed}")
    if "weight" in found and given.weight is None and not _is_numeric(found["weight"], names, rows):
        del found["weight"]
    if unknown:
        problems.insert(0, f"no column is known to hold the {', the '.join(unknown)}")
    if problems:
        suggestion = _suggestion(layout, found, guesses, given)
        is_known = {meaning: meaning in found or bool(guesses.get(meaning)) for meaning in REQUIRED}
        is_other = layout.has_header and not (is_known["user"] and (is_known["item"] or is_known["timestamp"]))
        raise NotSure(f"{called}: {'; '.join(problems)}; it has {_columns_of(layout)}", suggestion, is_other)
    others = {meaning: found.get(meaning) for meaning in ("timestamp", "event_type", "weight", "event_id")}
    return Columns(found["user"], found["item"], **others, session_id=session_id or found.get("session_id"))


def choose_each(layouts: Mapping[str, Layout | Unreadable], given: Given) -> tuple[dict[str, Columns], dict[str, str]]:
    """The columns of each file of a drop, by its path, and the files that are left alone, with the reason: beside
    interactions, a text or a table without users, or without items and times, is something else. Raises NotSure or
    Unreadable of the first file that cannot be used.
    """
    chosen: dict[str, Columns] = {}
    left: dict[str, NotSure | Unreadable] = {}
    for path, layout in layouts.items():
        try:
            if isinstance(layout, Unreadable):
                raise layout
            chosen[path] = choose(layout, given, path)
        except (NotSure, Unreadable) as error:
            left[path] = error
    for problem in left.values():
        if not chosen or not (problem.is_other if isinstance(problem, NotSure) else problem.is_prose):
            raise problem
    return chosen, {path: str(problem) for path, problem in left.items()}


def _is_needed(meaning: str, candidates: Sequence[str], given: Given) -> bool:
    return meaning in REQUIRED or (meaning == "event_type" and (given.needs_event_type or bool(candidates)))


_IF_RIGHT = "if these are right"


def remedy(error: NotSure, data: str | None = None) -> str:
    """What to do about it, as a sentence: the call of `make demo` for the file or folder `data`; without `data`, the
    drop's `_drop.json` too.
    """
    if not error.suggestion:
        return "name a column that the file has, or its position from 1"
    missing = [_HELD[meaning] for meaning in REQUIRED if meaning not in error.suggestion]
    if missing and missing != ["times"]:
        return f"no column looks like {' and '.join(missing)}: name it if there is one, or add it to the file"
    suggestion = error.suggestion | ({"timestamp": NO_TIMES} if missing else {})
    reason = "if there are no times, and a draw may decide what each person is tested on" if missing else _IF_RIGHT
    call = f"{reason}: {command(data or 'PATH', suggestion)}"
    return call if data else f"{call}; in a drop on AWS, the same in its _drop.json: {document(suggestion)}"


def command(data: str, suggestion: Mapping[str, str]) -> str:
    """The call of `make demo` that names the columns of `suggestion`."""
    named = [f"{option}={_word(suggestion[meaning])}" for meaning, option in OPTIONS.items() if meaning in suggestion]
    return " ".join(["make demo", f"DATA={_word(data)}", *named])


def document(suggestion: Mapping[str, str]) -> str:
    """The same in a drop, as the text of its `_drop.json`."""
    named = {KEYS[meaning]: suggestion[meaning] for meaning in OPTIONS if meaning in suggestion}
    return json.dumps({"schemaVersion": "1.0", **named}, ensure_ascii=False)


KEYS = {
    "user": "userColumn",
    "item": "itemColumn",
    "timestamp": "timestampColumn",
    "event_type": "eventTypeColumn",
    "weight": "weightColumn",
    "event_id": "eventIdColumn",
    "session_id": "sessionIdColumn",
}
"""The keys of `_drop.json` that name a column."""


def _word(text: str) -> str:
    return text if re.fullmatch(r"[\w@%+=:,./-]+", text) else "'" + text.replace("'", "'\\''") + "'"


def _named(named: Mapping[str, str], names: Sequence[str], called: str) -> dict[str, str]:
    """The file's own names of the columns that are named. Raises NotSure if one is missing."""
    places = {meaning: _places(name, names) for meaning, name in named.items()}
    for meaning, found in places.items():
        if len(found) != 1:
            problem = "is there more than once" if found else "is missing"
            raise NotSure(
                f"{called}: the column {named[meaning]!r} ({meaning}) {problem}; it has {_shown(names)}",
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


def _by_names(names: Sequence[str], taken: set[str]) -> dict[str, list[str]]:
    """The candidates for each meaning."""
    free = [name for name in names if name not in taken]
    known = {normal(name): name for name in free}
    for shape, columns in _SHAPES:
        if shape <= known.keys():
            guess = {meaning: [known[column]] for meaning, column in columns.items()}
            return {**_candidates(free), **guess}
    return _candidates(free)


def _candidates(names: Sequence[str]) -> dict[str, list[str]]:
    found = {}
    for meaning, tiers in _NAMES.items():
        for tier in tiers:
            found[meaning] = [name for name in names if normal(name) in tier]
            if found[meaning]:
                break
    return found


def _by_values(layout: Layout, called: str) -> dict[str, list[str]]:
    """The columns of a file without a header, if its values are those of a known shape."""
    names = layout.names
    texts = [[row[position] for row in layout.rows] for position in range(len(names))]

    def all_are(position: int, fits: Callable[[str], object]) -> bool:
        return bool(texts[position]) and all(fits(text) for text in texts[position])

    def at(*positions: int) -> dict[str, list[str]]:
        return {meaning: [names[position]] for meaning, position in zip(OPTIONS, positions, strict=False)}

    if len(names) == 4:
        weight = {"weight": [names[2]]}
        # MovieLens: ratings.dat, and u.data of 100K.
        if layout.separator == "::" or called.rpartition("/")[2] == "u.data":
            return at(0, 1, 3) | weight
        # Amazon reviews: ratings without a header, in both orders.
        if all_are(0, _REVIEWER.fullmatch) and all_are(1, _ASIN.fullmatch):
            return at(0, 1, 3) | weight
        if all_are(1, _REVIEWER.fullmatch) and all_are(0, _ASIN.fullmatch):
            return at(1, 0, 3) | weight
    # UserBehavior of Taobao: user, item, category, behaviour, time.
    if len(names) == 5 and all_are(4, _INTEGER.fullmatch) and all_are(3, {"pv", "buy", "cart", "fav"}.__contains__):
        return at(0, 1, 4, 3)
    return {}


def _is_numeric(name: str, names: Sequence[str], rows: Rows) -> bool:
    position = list(names).index(name)
    return all(_NUMBER.fullmatch(row[position]) for row in rows)


def _suggestion(
    layout: Layout, found: Mapping[str, str], guesses: Mapping[str, Sequence[str]], given: Given
) -> dict[str, str]:
    """The most plausible columns: those found, the first candidates, then the first free columns that fit."""
    suggestion = dict(found)

    def free(fits: Callable[[str], object]) -> list[str]:
        columns = [(name, [row[place] for row in layout.rows if row[place]]) for place, name in enumerate(layout.names)]
        return [name for name, texts in columns if name and texts and all(fits(text) for text in texts)]

    for meaning in ("timestamp", "user", "item", "event_type"):
        candidates = list(guesses.get(meaning, []))
        if meaning in suggestion or not _is_needed(meaning, candidates, given):
            continue
        if layout.has_header:
            candidates += [name for name in layout.names if _HINTS[meaning].search(normal(name))]
        if meaning == "timestamp":
            candidates += free(lambda text: _SECONDS.fullmatch(text) or _DATE.fullmatch(text))
        else:
            candidates += free(lambda text: not _DATE.fullmatch(text) and "." not in text)
        suggestion.update([(meaning, name) for name in candidates if name not in suggestion.values()][:1])
    return {meaning: suggestion[meaning] for meaning in OPTIONS if meaning in suggestion}


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)[:60]


def _shown(names: Sequence[str]) -> str:
    return ", ".join(map(_printable, names[:30])) or "no column"


def _columns_of(layout: Layout) -> str:
    if layout.kind == "delimited" and len(layout.names) == 1:
        return f"one column, {_shown(layout.names)}: no comma, semicolon, tab, pipe or :: separates others"
    if layout.has_header or not layout.rows:
        return f"the columns {_shown(layout.names)}"
    pairs = zip(layout.names[:30], layout.rows[0], strict=False)
    return f"no header; its first row is {', '.join(f'{name}: {_printable(value)}' for name, value in pairs)}"
