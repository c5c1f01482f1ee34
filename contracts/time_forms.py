"""Forms of times in text: which are read as they are, and the datetime pattern of Spark that reads others.

    patterns_of(["31/01/2024 8:05"])              # ("d/M/yyyy H:mm",): no month has the number 31
    patterns_of(["12/1/2010 8:26"])               # ("M/d/yyyy H:mm", "d/M/yyyy H:mm"): both are possible
    patterns_of(["2024-01-31", "1700000000"])     # None: they are read without a pattern

Patterns: https://spark.apache.org/docs/4.0.0/sql-ref-datetime-pattern.html
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

EPOCH = r"^([+-]?\d{1,19})(\.\d*)?( [+-]\d{4})?$"
"""A number since 1970; its first group is the number without a fraction."""
ISO_8601 = r"^\d{4}([-/])\d{1,2}\1\d{1,2}([T ]\d{1,2}:\d{2}(:\d{2}(\.\d{1,9})?)?( ?(Z|UTC|GMT|[+-]\d{2}(:?\d{2})?))?)?$"
WEEKDAY = r"^[A-Za-z]{2,9}[,.]? +"
"""The name of a day, before a time. Spark cannot read it, and it tells nothing that the date does not."""
WEEKDAY_PATTERN = re.compile(r"^E{1,4}[,.]? +")
"""The same in a pattern: as many E as Java has."""

ACCEPTED = (
    "epoch seconds, milliseconds, microseconds or nanoseconds, 2024-01-31, 2024-01-31 23:59:59 (UTC), "
    "2024-01-31T23:59:59+02:00 and 20240131"
)
"""The forms that are read as they are, for messages."""

_LAST_MONTH = 12
_DAYS_SINCE_1900 = re.compile(r"(2[5-9]|[345]\d)\d{3}([.,]\d+)?", re.ASCII)
_EPOCH, _ISO_8601 = re.compile(EPOCH, re.ASCII), re.compile(ISO_8601, re.ASCII)
#: The share of the texts that one pattern must fit.
_MOST = 0.95
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_TIME = re.compile(
    r"(?P<before>,? +|T)(?P<hour>\d{1,2}):\d{2}(?P<seconds>:\d{2}(?:(?P<point>[.,])(?P<fraction>\d{1,9}))?)?"
    r"(?: ?(?P<half>[AaPp][Mm]))?(?P<zone> ?(?:Z|UTC|GMT|[A-Z]{3,4}|[+-]\d{2}:?\d{2}))?",
    re.ASCII,
)
_NUMBERS = re.compile(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4}|\d{2})(?!\d)", re.ASCII)
_YEAR_FIRST = re.compile(r"(\d{4})([./-])(\d{1,2})\2(\d{1,2})(?!\d)", re.ASCII)
_DAY_MONTH = re.compile(r"(\d{1,2})([ /-])([A-Za-z]{3,9})\2(\d{4}|\d{2})(?!\d)", re.ASCII)
_MONTH_DAY = re.compile(r"([A-Za-z]{3,9})( )\d{1,2}(,?) (\d{4})(?!\d)", re.ASCII)
_COMPACT = re.compile(r"\d{8}T\d{6}(Z|[+-]\d{4})?", re.ASCII)
#: As Twitter and Java's Date write it: Tue Apr 03 18:00:09 +0000 2012.
_YEAR_LAST = re.compile(r"([A-Za-z]{3}) \d{1,2} \d{1,2}:\d{2}:\d{2} ([+-]\d{4}|[A-Z]{3,4}) \d{4}", re.ASCII)


def patterns_of(texts: Iterable[str]) -> tuple[str, ...] | None:
    """The patterns that fit trimmed texts, missing ones left out: one, or two where no text tells the day and the month
    apart; an empty tuple if their form is unknown. None if most are read without a pattern, or all are missing.
    """
    known = [text for text in texts if text]
    read = sum(map(is_read, known))
    fits = Counter(pattern for text in known if read < len(known) for pattern in _patterns(text))
    most = max(fits.values(), default=0)
    if most > read and most >= _MOST * len(known):
        best = sorted(pattern for pattern, number in fits.items() if number == most)
        if len(best) > 1 and best[0].replace("MMMM", "MMM") == best[1].replace("MMMM", "MMM"):  # May alone
            return tuple(pattern for pattern in best if "MMMM" not in pattern)
        # Where the year is first, the month follows, unless that is impossible.
        return tuple(best[:1] if best[0].startswith("yyyy") else best)
    return None if 2 * read >= len(known) else ()


def has_order_of(pattern: str, others: Iterable[str]) -> bool:
    """Whether day, month and year stand in the order that they have in all of `others`, of which there is one."""
    orders = {_order(other) for other in others if "MMM" not in other}
    return orders == {_order(pattern)}


def _order(pattern: str) -> str:
    return "".join(sorted("dMy", key=pattern.find))


def are_days(texts: Sequence[str]) -> bool:
    """Whether all texts are numbers that a spreadsheet would show as dates from 1970 to 2064, and that as numbers since
    1970 would be hours of one day.
    """
    return bool(texts) and all(_DAYS_SINCE_1900.fullmatch(text) for text in texts)


def is_read(text: str) -> bool:
    """Whether a trimmed text has a form that is read without a pattern."""
    if found := _ISO_8601.fullmatch(text):
        return not found[1] or int(text.split(found[1])[1]) <= _LAST_MONTH
    return _EPOCH.fullmatch(text) is not None


def _patterns(text: str) -> set[str]:
    """The patterns that fit one text."""
    weekday = re.match(WEEKDAY, text)
    if weekday and _name_of(weekday[0].strip(" ,."), _DAYS):
        mark = weekday[0].strip().lstrip("".join(filter(str.isalpha, weekday[0])))
        return {f"EEE{mark} {pattern}" for pattern in _patterns(text[weekday.end() :])}
    if found := _COMPACT.fullmatch(text):
        return {"yyyyMMdd'T'HHmmss" + ("XX" if found[1] else "")}
    if (found := _YEAR_LAST.fullmatch(text)) and _name_of(found[1], _MONTHS):
        return {f"MMM d H:mm:ss {'XX' if found[2][0] in '+-' else 'z'} yyyy"}
    return {
        date + rest
        for form, dates in ((_NUMBERS, _by_numbers), (_YEAR_FIRST, _with_year_first), (_DAY_MONTH, _with_names),
                            (_MONTH_DAY, _with_month_first))
        if (found := form.match(text)) and (rest := _rest(text[found.end() :])) is not None
        for date in dates(found)
    }  # fmt: skip


def _by_numbers(found: re.Match[str]) -> set[str]:
    first, separator, second, third = found.groups()
    letters = "y" * len(third)
    orders = {("d", "M", letters): (first, second), ("M", "d", letters): (second, first)}
    if len(third) == 2 and separator == "-":
        orders["yy", "M", "d"] = third, second
    return {
        separator.join(order)
        for order, (day, month) in orders.items()
        if 1 <= int(day) <= 31 and 1 <= int(month) <= _LAST_MONTH and (separator != "." or order[0] == "d")
    }


def _with_year_first(found: re.Match[str]) -> set[str]:
    _, separator, second, third = found.groups()
    orders = {("yyyy", "M", "d"): second, ("yyyy", "d", "M"): third}
    return {separator.join(order) for order, month in orders.items() if 1 <= int(month) <= _LAST_MONTH}


def _with_names(found: re.Match[str]) -> set[str]:
    _, separator, month, year = found.groups()
    return {separator.join(("d", letters, "y" * len(year))) for letters in _name_of(month, _MONTHS)}


def _with_month_first(found: re.Match[str]) -> set[str]:
    return {f"{letters} d{found[3]} yyyy" for letters in _name_of(found[1], _MONTHS)}


def _name_of(text: str, names: Iterable[str]) -> set[str]:
    """The letters of a pattern for the name of a month: short, whole, or both for May; empty for another word. Of days
    alike.
    """
    word = text.lower()
    return {"MMM" for name in names if word == name[:3]} | {"MMMM" for name in names if word == name}


def _rest(text: str) -> str | None:
    """The pattern of the time after a date, empty without one; None if it is another text."""
    if not text:
        return ""
    found = _TIME.fullmatch(text)
    if not found:
        return None
    before = "'T'" if found["before"] == "T" else found["before"]
    pattern = f"{before}{'h' if found['half'] else 'H'}:mm"
    if found["seconds"]:
        pattern += ":ss" + (found["point"] + "S" * len(found["fraction"]) if found["fraction"] else "")
    if found["half"]:
        pattern += f"{' ' if text[found.start('half') - 1] == ' ' else ''}a"
    if zone := found["zone"]:
        space, name = " " * zone.startswith(" "), zone.strip()
        letters = "X" if name == "Z" else "z" if name.isalpha() else "XXX" if ":" in name else "XX"
        pattern += space + letters
    return pattern


#: The letters of a pattern that can be read, with the numbers of times that each may stand in a row.
_LETTERS = {
    "y": (2, 4), "M": (1, 2, 3, 4), "L": (1, 2, 3, 4), "d": (1, 2), "D": (1, 2, 3), "H": (1, 2), "k": (1, 2),
    "K": (1, 2), "h": (1, 2), "m": (1, 2), "s": (1, 2), "S": range(1, 10), "a": (1,), "V": (2,), "z": (1, 2, 3, 4),
    "O": (1, 4), "X": range(1, 6), "x": range(1, 6), "Z": range(1, 6),
}  # fmt: skip
_PART = re.compile(r"'(?:[^']|'')*'|([A-Za-z])\1*|[^A-Za-z'\[\]#{}]")


def fault(pattern: str) -> str | None:
    """Why a text is no datetime pattern that can be read, as a sentence; None if it is one."""
    own = WEEKDAY_PATTERN.sub("", pattern)
    wrong = _PART.sub("", own)
    runs = [match.group() for match in _PART.finditer(own) if match.group(1)]
    refused = [run for run in runs if len(run) not in _LETTERS.get(run[0], ())]
    if not (wrong or refused) and "y" in {run[0] for run in runs}:
        return None
    problem = f"it has {(refused or [wrong])[0]!r}" if refused or wrong else "it has no year, yyyy"
    return (
        f"{pattern!r} is no datetime pattern like dd.MM.yyyy HH:mm or M/d/yyyy H:mm: {problem}; letters that are "
        "meant as they are stand between apostrophes"
    )
