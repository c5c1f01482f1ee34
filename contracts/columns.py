"""Which columns of a file are the user, the item, the time, the event type and the weight: as given, or guessed from
names and values when the guess is sure.

    choose(layouts.find(b"USER_ID,ITEM_ID,TIMESTAMP\n1,a,1700000000\n", "clicks.csv"), Given(), "clicks.csv")
    # Columns(user="USER_ID", item="ITEM_ID", timestamp="TIMESTAMP", event_type=None, weight=None)

Names are compared without case and without anything but letters and digits, so `User-ID` is `user_id`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from contracts.layouts import Layout, Unreadable

Rows = Sequence[Sequence[str]]

REQUIRED = ("user", "item", "timestamp")
OPTIONS = {"user": "USER", "item": "ITEM", "timestamp": "TIME", "event_type": "EVENT", "weight": "WEIGHT"}
"""The variables of `make demo` that name a column."""
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

_SECONDS = re.compile(r"[0-9]{9,10}([.,][0-9]+)?|[0-9]{13}|[0-9]{16}|[0-9]{19}")
_DATE = re.compile(r"[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}([T ].*)?")
_INTEGER = re.compile(r"[0-9]+")
#: Amazon's ids of reviewers and products.
_REVIEWER = re.compile(r"A[0-9A-Z]{9,20}")
_ASIN = re.compile(r"(B[0-9A-Z]{9}|[0-9]{9}[0-9X])")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


class NotSure(ValueError):
    """The columns cannot be told.

    suggestion: the most plausible column of each meaning that has one.
    is_other: the file has names, but none for users: it may be something else than interactions.
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
    needs_event_type: bool = False

    def named(self) -> dict[str, str]:
        """The named columns, by meaning."""
        return {name: value for name, value in asdict(self).items() if isinstance(value, str)}


@dataclass(frozen=True)
class Columns:
    """The columns of a file. None: it has no such column."""

    user: str
    item: str
    timestamp: str
    event_type: str | None = None
    weight: str | None = None

    def used(self) -> frozenset[str]:
        """The columns that are read."""
        return frozenset(name for name in asdict(self).values() if name is not None)


def normal(name: str) -> str:
    """Letters and digits in lower case: `userid` for `User-ID`."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def choose(layout: Layout, given: Given, called: str) -> Columns:
    """The columns of the file `called` with this layout. Raises NotSure."""
    names, rows = layout.names, layout.rows
    found = {meaning: _named(name, meaning, names, called) for meaning, name in given.named().items()}
    guesses = _by_names(names, set(found.values())) if layout.has_header else _by_values(layout, called)
    unknown, problems = [], []
    for meaning in (meaning for meaning in OPTIONS if meaning not in found):
        candidates = [name for name in guesses.get(meaning, []) if name not in found.values()]
        if len(candidates) == 1:
            found[meaning] = candidates[0]
        elif candidates and _is_needed(meaning, candidates, given):
            listed = ", ".join(map(_printable, candidates))
            problems.append(f"several columns may hold the {_HELD[meaning]}: {listed}")
        elif _is_needed(meaning, candidates, given):
            unknown.append(_HELD[meaning])
    if len(set(found.values())) < len(found):
        named = ", ".join(f"{meaning} {_printable(name)}" for meaning, name in found.items())
        raise NotSure(f"{called}: one column cannot have two meanings: {named}")
    if "weight" in found and given.weight is None and not _is_numeric(found["weight"], names, rows):
        del found["weight"]
    if unknown:
        problems.insert(0, f"no column is known to hold the {', the '.join(unknown)}")
    if problems:
        suggestion = _suggestion(layout, found, guesses, given)
        is_other = layout.has_header and "user" not in found and not guesses.get("user")
        raise NotSure(f"{called}: {'; '.join(problems)}; it has {_columns_of(layout)}", suggestion, is_other)
    return Columns(**found)


def choose_each(layouts: Mapping[str, Layout | Unreadable], given: Given) -> tuple[dict[str, Columns], dict[str, str]]:
    """The columns of each file of a drop, by its path, and the files that are left alone, with the reason: beside
    interactions, a text or a table without users is something else. Raises NotSure or Unreadable of the first file that
    cannot be used.
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
    for error in left.values():
        if not chosen or not (error.is_other if isinstance(error, NotSure) else error.is_prose):
            raise error
    return chosen, {path: str(error) for path, error in left.items()}


def _is_needed(meaning: str, candidates: Sequence[str], given: Given) -> bool:
    return meaning in REQUIRED or (meaning == "event_type" and (given.needs_event_type or bool(candidates)))


def remedy(error: NotSure, data: str) -> str:
    """What to do about it, as a sentence: the call of `make demo` for the file or folder `data`, and `_drop.json`."""
    if not error.suggestion:
        return "name a column that the file has, or its position from 1"
    missing = [_HELD[meaning] for meaning in REQUIRED if meaning not in error.suggestion]
    if missing:
        return f"no column looks like {' and '.join(missing)}: add it to the file"
    return (
        f"if these are right: {command(data, error.suggestion)}; in a drop on AWS, the same in its _drop.json: "
        f"{document(error.suggestion)}"
    )


def command(data: str, suggestion: Mapping[str, str]) -> str:
    """The call of `make demo` that names the columns of `suggestion`."""
    named = [f"{option}={_word(suggestion[meaning])}" for meaning, option in OPTIONS.items() if meaning in suggestion]
    return " ".join(["make demo", f"DATA={_word(data)}", *named])


def document(suggestion: Mapping[str, str]) -> str:
    """The same in a drop, as the text of its `_drop.json`."""
    named = [f'"{KEYS[meaning]}": "{name}"' for meaning, name in suggestion.items()]
    return "{" + ", ".join(['"schemaVersion": "1.0"', *named]) + "}"


KEYS = {
    "user": "userColumn",
    "item": "itemColumn",
    "timestamp": "timestampColumn",
    "event_type": "eventTypeColumn",
    "weight": "weightColumn",
}
"""The keys of `_drop.json` that name a column."""


def _word(text: str) -> str:
    return text if re.fullmatch(r"[\w@%+=:,./-]+", text) else "'" + text.replace("'", "'\\''") + "'"


def _named(name: str, meaning: str, names: Sequence[str], called: str) -> str:
    if list(names).count(name) == 1:
        return name
    alike = [found for found in names if normal(found) == normal(name) and normal(name)]
    if len(alike) == 1:
        return alike[0]
    if not alike and _INTEGER.fullmatch(name) and 1 <= int(name) <= len(names) and name not in names:
        return names[int(name) - 1]
    problem = "is there more than once" if alike else "is missing"
    raise NotSure(f"{called}: the column {name!r} ({meaning}) {problem}; it has {_shown(names)}")


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
    if layout.has_header or not layout.rows:
        return f"the columns {_shown(layout.names)}"
    pairs = zip(layout.names[:30], layout.rows[0], strict=False)
    return f"no header; its first row is {', '.join(f'{name}: {_printable(value)}' for name, value in pairs)}"
