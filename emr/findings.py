"""Counts of the rows of a drop, and sentences with figures about what looks wrong. Pure: no Spark.

A finding is a name, by which `--refuse-warnings` knows it, and a sentence. Where the parent version's manifest has the
figure (`figures`), the sentence names it too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import times
from cleaning import Meaning
from global_time import utc
from refusal import printable
from worth import Worth

NO_EVENT_TYPE, OTHER_EVENT_TYPES = "(none)", "(others)"
"""Names in `eventTypes` of the manifest: rows without an event type, and those of all but the most frequent types."""
EVENT_TYPES_LISTED = 50

#: Below so many interactions, shares say little.
_FEWEST_ROWS = 1000
#: Share of the interactions of one user: a robot, or a shop's own account.
_LARGE_USER_SHARE = 0.1
#: Different items of one user an hour. People who rate films from a list reach some hundreds.
_FAST_USER = 1000
#: Share of an account that is no person, if it is also ten times the average user's.
_LARGE_ACCOUNT_SHARE = 0.01
#: Different times of all interactions.
_FEW_TIMES = 10
#: Share of the rows that repeat a (user, item), and its growth over the parent version's.
_LARGE_DUPLICATE_SHARE, _DUPLICATE_GROWTH = 0.5, 0.2
#: Share of the pairs that are worth nothing or less, and its growth over the parent version's.
_LARGE_NOT_LIKED_SHARE, _NOT_LIKED_GROWTH = 0.2, 0.1
#: The reason of rows without a user. Shops sell to guests, so up to half of the rows may be theirs: they do not count
#: as bad. Above the smaller share a warning tells it.
_GUEST, _MOST_GUESTS, _FEW_GUESTS = "user_id_missing", 0.5, 0.001
_OPPOSITES = (
    "refund", "return", "cancel", "unlike", "dislike", "downvote", "unsubscribe", "unfollow", "remove", "delete",
    "hide", "skip", "block",
)  # fmt: skip

Finding = tuple[str, str]


@dataclass(frozen=True)
class Outcomes:
    """Counts of rows, and what all rows together tell.

    bad: by reason. event_types: rows that are not bad, by event type; None: they were not counted by type.
    units: good rows by `times` unit. early: good rows before 1971; not_positive: those with a weight of 0 or below.
    last: the latest time of the good rows, epoch seconds.
    """

    read: int = 0
    bad: dict[str, int] = field(default_factory=dict)
    other_events: int = 0
    good: int = 0
    event_types: dict[str, int] | None = field(default_factory=dict)
    units: dict[int, int] = field(default_factory=dict)
    early: int = 0
    not_positive: int = 0
    last: int = 0
    meaning: Meaning = field(default_factory=Meaning)

    @property
    def most_frequent_types(self) -> dict[str, int]:
        """Event types for the manifest, the most frequent first; empty if they were not counted."""
        ordered = sorted((self.event_types or {}).items(), key=lambda pair: (-pair[1], pair[0]))
        listed = dict(ordered[:EVENT_TYPES_LISTED])
        rest = sum(rows for _, rows in ordered[EVENT_TYPES_LISTED:])
        return listed | ({OTHER_EVENT_TYPES: rest} if rest else {})


def outcomes(rows: Iterable[Any], by_event_type: bool = True) -> Outcomes:
    """The sums of `cleaning.tally`."""
    rows = list(rows)
    judged = [row for row in rows if row["is_wanted"] and row["reason"] is None]
    units = Counter[int]()
    sums = Counter[str]()
    for row in judged:
        units[row["unit"]] += row["rows"]
        sums.update({name: row[name] for name in row.asDict() if name.endswith(("_fractions", "_texts"))})
    meaning = Meaning(
        has_dates=units[times.COMPACT] > 0 and not any(units[unit] for unit in times.NUMBERED),
        whole_users=sums["user_fractions"] > 0 and sums["user_texts"] == 0,
        whole_items=sums["item_fractions"] > 0 and sums["item_texts"] == 0,
    )
    bad, types, good, last = Counter[str](), Counter[str](), Counter[str](), 0
    for row in rows:
        is_date = meaning.has_dates and row["unit"] == times.COMPACT
        reason = row["date_reason"] if is_date else row["reason"]
        if reason is not None:
            bad[reason] += row["rows"]
            continue
        types[printable(row["event_type"], 100) if row["event_type"] is not None else NO_EVENT_TYPE] += row["rows"]
        if not row["is_wanted"]:
            good["other_events"] += row["rows"]
            continue
        good["rows"] += row["rows"]
        good["early"] += 0 if is_date else row["early"]
        good["not_positive"] += row["not_positive"]
        last = max(last, row["last_date" if is_date else "last"])
    return Outcomes(
        read=sum(row["rows"] for row in rows),
        bad=dict(bad),
        other_events=good["other_events"],
        good=good["rows"],
        event_types=dict(types) if by_event_type else None,
        units={unit: count for unit, count in units.items() if count},
        early=good["early"],
        not_positive=good["not_positive"],
        last=last,
        meaning=meaning,
    )


def of_rows(
    found: Outcomes, event_types: tuple[str, ...], has_times: bool, worth: Worth | None = None
) -> Iterator[Finding]:
    """Findings about the rows: what looks wrong, or was understood in one of several ways. `worth`: of events."""
    worth = worth or Worth()
    if not has_times:
        yield (
            "no-times",
            "the interactions have no times: each user's test interaction is drawn by the seed instead of being the "
            "last one, the data cannot be split by time, and nothing is known of what is recent",
        )
    if found.bad.get(_GUEST, 0) / found.read > _FEW_GUESTS:
        yield "guests", f"{_share(found.bad[_GUEST], found.read)} rows have no user, as of guests, and are left out"
    yield from _of_event_types(found, event_types, worth)
    yield from _of_ids(found.meaning)
    if has_times:
        yield from _of_times(found)
    if found.not_positive and not worth.reads_values:
        yield (
            "not-positive-weights",
            f"{_share(found.not_positive, found.good)} interactions have a weight of 0 or below; they count as liked: "
            "if they mean the opposite, give --least-value (leastValue) for ratings, or --values multiply (values) for "
            "quantities",
        )


def _of_event_types(found: Outcomes, wanted: tuple[str, ...], worth: Worth) -> Iterator[Finding]:
    if found.event_types is None:
        yield "event-types", "the event type differs in thousands of rows, so it is none, and is not counted by type"
        return
    absent = [name for name in wanted if name not in found.event_types]
    if absent:
        yield (
            "absent-event-types",
            f"no row has the event {_types(absent)} {_named(absent)}; {_listed(found.most_frequent_types)}",
        )
    others = {name: rows for name, rows in found.most_frequent_types.items() if wanted and name not in wanted}
    if others:
        yield "left-out-event-types", f"{_share(found.other_events, found.read)} rows are left out: {_counts(others)}"
    used = {name: rows for name, rows in found.event_types.items() if not wanted or name in wanted}
    unweighted = {name: rows for name, rows in used.items() if worth.weights and name not in worth.weights}
    if unweighted:
        yield (
            "unweighted-event-types",
            f"{_share(sum(unweighted.values()), found.good)} interactions have an event type without a weight, and are "
            f"worth 1: {_counts(dict(list(unweighted.items())[:10]))}; add it to --event-weights (eventWeights), with "
            "0 if it counts nothing",
        )
    likely = {name: rows for name, rows in used.items() if name not in worth.weights}
    opposite = {name: rows for name, rows in likely.items() if any(word in name.lower() for word in _OPPOSITES)}
    if opposite:
        yield (
            "opposite-event-types",
            f"{_share(sum(opposite.values()), found.good)} interactions seem to mean the opposite of liking "
            f"({_counts(opposite)}), and count as liked: leave them out with --event-types (eventTypes), "
            "or give them a weight below 0 with --event-weights (eventWeights)",
        )


def _of_ids(meaning: Meaning) -> Iterator[Finding]:
    for name, is_whole in (("users", meaning.whole_users), ("items", meaning.whole_items)):
        if is_whole:
            yield (
                f"fractions-of-{name}",
                f"the ids of {name} are numbers with a fraction of 0; 17385.0 is read as 17385",
            )


def _of_times(found: Outcomes) -> Iterator[Finding]:
    numbers = {name: found.units[unit] for unit, name in times.NUMBERED.items() if unit in found.units}
    if len(numbers) > 1:
        yield "mixed-units", f"the times have several units, told apart by their size: {_counts(numbers)}"
    elif numbers and times.SECONDS not in found.units:
        yield "units", f"the times are {next(iter(numbers))} since 1970"
    compact = found.units.get(times.COMPACT, 0)
    if compact and found.meaning.has_dates:
        yield "compact-dates", f"{_share(compact, found.good)} times are read as dates, such as 20240131"
    elif compact:
        yield (
            "compact-dates",
            f"{_share(compact, found.good)} times could be dates such as 20240131, but others are no such dates, so "
            "they are read as numbers since 1970",
        )
    if found.early:
        yield (
            "early-times",
            f"{_share(found.early, found.good)} interactions are of 1970, as numbers are that are no epoch seconds; "
            "if they have another form, name it with --timestamp-format (timestampFormat)",
        )


#: What helps, by the end of the reason of most bad rows. {}: examples.
_REMEDIES = {
    "malformed_row": "rows such as {} have another number of columns than the others: take such lines out",
    "timestamp_unparsable": f"times such as {{}} are not understood; accepted are {times.ACCEPTED}",
    "timestamp_out_of_range": "times such as {} are no times from 1970 to 2100",
    "_rounded": "ids such as {} were rounded by a spreadsheet, so that different ones became equal: export the column "
    "as text",
    "_control_character": "ids such as {} have control characters: is the file in another encoding than UTF-8 or "
    "Windows-1252, convert it with iconv",
    "weight_missing": "to use no weights, say WEIGHT=none, or weightColumn none in _drop.json",
    "weight_unparsable": "weights such as {} are no numbers; to use no weights, say WEIGHT=none, or weightColumn none "
    "in _drop.json",
}


def refusal(
    found: Outcomes, maximum_share: float, examples: Callable[[str], Iterable[str]] = lambda reason: ()
) -> str | None:
    """Why there are too many bad rows, or nothing that is wanted; None otherwise. `examples`: texts by reason."""
    guests = found.bad.get(_GUEST, 0)
    if guests / found.read > max(_MOST_GUESTS, maximum_share):
        return f"{_share(guests, found.read)} rows have no user (limit {_MOST_GUESTS:.0%})"
    total = sum(found.bad.values()) - guests
    if total / found.read > maximum_share:
        bad = {reason: rows for reason, rows in found.bad.items() if reason != _GUEST}
        detail = ", ".join(f"{reason} {rows:,}" for reason, rows in sorted(bad.items(), key=lambda pair: -pair[1]))
        detail += f", beside {guests:,} without a user, which are not bad" if guests else ""
        most = max(bad, key=lambda reason: bad[reason])
        remedy = next((words for end, words in _REMEDIES.items() if most.endswith(end)), "")
        shown = ", ".join(repr(printable(text, 40)) for text in examples(most)) if "{}" in remedy else ""
        if shown or (remedy and "{}" not in remedy):
            detail += f"; {remedy.format(shown)}"
        shares = f"{total / found.read:.2%}, limit {maximum_share:.2%} by maximumBadShare"
        return f"{total:,} of {found.read:,} rows are bad ({shares}): {detail}"
    if found.good == 0:
        listed = f"; {_listed(found.most_frequent_types)}" if found.event_types else ""
        return f"no interactions (rows=0): none of {found.read:,} rows has a requested event type{listed}"
    return None


def of_not_liked(pairs: int, liked: int, before: Mapping[str, Any]) -> Iterator[Finding]:
    """A finding if many pairs are not liked; `before`: `figures` of the parent version."""
    if not pairs:
        return
    share, known = pairs / (pairs + liked), before.get("notLikedShare")
    if share > (_LARGE_NOT_LIKED_SHARE if known is None else known + _NOT_LIKED_GROWTH):
        parent = "" if known is None else f"; {known:.0%} in the parent version"
        yield (
            "not-liked",
            f"{_share(pairs, pairs + liked, 'pairs of user and item')} are worth nothing or less, as of refunds and "
            f"low ratings, and are left out{parent}",
        )


def unknown_types(found: Outcomes, worth: Worth) -> str | None:
    """Why the event types in `worth` cannot be used: no row has one of them; None otherwise."""
    if not worth.types:
        return None
    if found.event_types is None:
        return (
            "eventWeights and boughtTypes name event types, but the event type differs in thousands of rows: name the "
            "right column with --event-type-column (eventTypeColumn)"
        )
    for option, key, names in (
        ("--event-weights", "eventWeights", worth.weights),
        ("--bought-types", "boughtTypes", worth.bought_types),
    ):
        absent = sorted(name for name in names if name not in found.event_types)
        if absent:
            return (
                f"{key} has the event {_types(absent)} {_named(absent)}, which no row has; "
                f"{_listed(found.most_frequent_types)}; correct {option} ({key}), or leave it out there"
            )
    return None


def figures(found: Outcomes, summary: Any, duplicates: int, not_liked: int = 0) -> dict[str, Any]:
    """`figures` of the manifest; `summary` is `cleaning.summary`, `duplicates` the rows that repeat a (user, item),
    `not_liked` the pairs that are left out because of their worth.
    """
    account = summary["account"]
    return {
        "largestUserShare": _rounded(summary["most"] / summary["events"]),
        "largestUserItemsPerHour": _rounded(summary["fastest"]),
        "testAccountShare": _rounded(account["user_events"] / summary["events"] if account else 0.0),
        "distinctTimes": summary["times"],
        "duplicateShare": _rounded(duplicates / found.good),
        "earlyShare": _rounded(found.early / found.good),
        "notPositiveWeightShare": _rounded(found.not_positive / found.good),
        "notLikedShare": _rounded(not_liked / (found.good - duplicates)),
    }


def of_people(
    summary: Any, numbers: Mapping[str, Any], before: Mapping[str, Any], has_times: bool
) -> Iterator[Finding]:
    """Findings about users, times and repeats. `numbers`: `figures`; `before`: those of the parent version."""
    events = summary["events"]

    def parent(name: str) -> str:
        known = before.get(name)
        return "" if known is None else f"; {known:.0%} in the parent version"

    if events >= _FEWEST_ROWS:
        if numbers["largestUserShare"] > _LARGE_USER_SHARE:
            yield (
                "busy-user",
                f"one user has {_share(summary['most'], events, 'interactions')}, as a robot or a shop's own account "
                f"has{parent('largestUserShare')}",
            )
        account, average = summary["account"], events / summary["users"]
        if account and account["user_events"] > max(_LARGE_ACCOUNT_SHARE * events, 10 * average):
            yield (
                "test-account",
                f"the user {account['user_id']!r} has {_share(account['user_events'], events, 'interactions')}, but is "
                f"no person by this id{parent('testAccountShare')}",
            )
        if has_times and 1 < summary["times"] <= _FEW_TIMES:
            yield "few-times", f"all {events:,} interactions have one of {summary['times']} times"
    if has_times and summary["first"] == summary["last"]:
        yield "one-time", f"all {events:,} interactions have the time {utc(summary['first'])}"
    if has_times and numbers["largestUserItemsPerHour"] > _FAST_USER:
        yield (
            "fast-user",
            f"one user has {numbers['largestUserItemsPerHour']:,.0f} different items an hour (limit {_FAST_USER:,}), "
            "as a robot has",
        )
    share, known = numbers["duplicateShare"], before.get("duplicateShare")
    if share > (_LARGE_DUPLICATE_SHARE if known is None else known + _DUPLICATE_GROWTH):
        yield "duplicates", f"{share:.0%} of the interactions repeat a user and an item{parent('duplicateShare')}"


def _share(part: int, whole: int, of: str = "") -> str:
    return f"{part / whole:.0%} of the {of} ({part:,} of {whole:,})" if of else f"{part:,} of {whole:,}"


def _rounded(number: float) -> float:
    return float(f"{number:.6g}")


def _types(names: list[str]) -> str:
    return "types" if len(names) > 1 else "type"


def _named(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _counts(rows: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in rows.items())


def _listed(rows: Mapping[str, int]) -> str:
    return f"there are {_counts(dict(list(rows.items())[:10]))}"
