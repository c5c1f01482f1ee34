"""The type of a value read from JSON, and its text in error messages."""

from __future__ import annotations

import json
import re
import sys
from typing import Any, TypeGuard

SHOWN_CHARACTERS = 120


def is_integer(value: Any, least: int | None = None, most: int | None = None) -> TypeGuard[int]:
    """True if `value` is an int (not a bool) from `least` to `most`."""
    return (
        isinstance(value, int)
        and not isinstance(value, bool)
        and (least is None or value >= least)
        and (most is None or value <= most)
    )


def is_number(value: Any) -> TypeGuard[int | float]:
    """True if `value` is a finite int or float (not a bool) that fits a double."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def is_unicode(text: str) -> bool:
    """False for text with half of a surrogate pair, which JSON can escape: it can be neither stored nor sent."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def integer_in(text: str) -> int | None:
    """Return the integer that `text` is, in ASCII digits; None for other text. `int` also reads the digits of other
    scripts, and `1_000`.
    """
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text) else None


def shown(value: object) -> str:
    """Return `value` for an error message: one line of at most 120 characters."""
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        return "a number beyond the range of a double"
    return repr(value)[:SHOWN_CHARACTERS]


def as_json(value: Any) -> str:
    """Return `value` for an error message as JSON of at most 40 characters; of a container its kind."""
    if isinstance(value, dict | list):
        return kind(value)
    try:
        text = json.dumps(value)
    except ValueError:  # more digits than Python prints
        return "a number of too many digits"
    return text if len(text) <= 40 else text[:37] + "..."


def printable(text: str) -> str:
    """Return `text` for an error message: at most 120 characters, with ? in place of those that cannot be printed."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:SHOWN_CHARACTERS]


def kind(value: Any) -> str:
    """Return the kind of JSON value for an error message, such as `an object`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    named: dict[type, str] = {dict: "an object", list: "a list", str: "a string"}
    return named.get(type(value), "a number")
