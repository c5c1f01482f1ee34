"""Which texts are ids of people and items: what the preparation would not take as an id, no other program takes."""

from __future__ import annotations

import re

from contracts import limits
from contracts.values import is_unicode

MISSING = ("", "na", "n/a", "#n/a", "nan", "null", "(null)", "<null>", "none", "(none)", "(not set)", r"\n")
"""Texts that tools write for a missing value, in lower case; `\\N` is that of MySQL and Hive."""
BLANKS = " \t\N{NO-BREAK SPACE}"
"""Characters that are no part of an id where they are before or after it."""
FORMULA = r'^="(.*)"$'
"""The formula by which a spreadsheet keeps an id with zeros: ="007"."""
ROUNDED = r"^[+-]?\d([.,]\d+)?E\+\d+$"
"""A long number as a spreadsheet shows it, 1.23457E+12: different ids became equal."""
CONTROL_CHARACTER = r"[\x00-\x1f\x7f-\x9f\u2028\u2029]"
UNDECODABLE = "\N{REPLACEMENT CHARACTER}"
"""Stands for bytes that are not UTF-8. With it, two different ids could become equal."""
SESSION = "session:"
"""The start of the name under which the preparation knows a session that has no user."""
SESSION_CHARACTERS = limits.ID_CHARACTERS - len(SESSION)
_CONTROL = re.compile(CONTROL_CHARACTER)
_FORMULA, _ROUNDED = re.compile(FORMULA), re.compile(ROUNDED, re.ASCII)


def of(text: str) -> str:
    """Return the id in the text of a file, without blanks around it and a spreadsheet's formula."""
    trimmed = text.strip(BLANKS)
    found = _FORMULA.fullmatch(trimmed)
    return found[1] if found else trimmed


def fault(text: str, most: int = limits.ID_CHARACTERS) -> str | None:
    """Return why `text`, without outer spaces, is no id, as the end of a sentence; None if it is one."""
    if not 1 <= len(text) <= most:
        return f"must have 1 to {most} characters, not {len(text)}"
    if not is_unicode(text):
        return "is not valid Unicode: it has half of a surrogate pair"
    if text.lower() in MISSING:
        return f"is {text!r}, which stands for a missing value"
    if _ROUNDED.search(text):
        return f"is {text!r}, a number that a spreadsheet has rounded"
    if _CONTROL.search(text):
        return "must have no control character and no line break"
    if UNDECODABLE in text:
        return "must not have the character U+FFFD, which stands for bytes that are not UTF-8"
    return None
