"""What a value read from JSON is, and how an error sentence shows it."""

from __future__ import annotations

import sys
from typing import Any, TypeGuard

SHOWN_CHARACTERS = 120


def is_integer(value: Any, least: int | None = None, most: int | None = None) -> TypeGuard[int]:
    """Whether `value` is an int, but no bool, from `least` to `most`."""
    return (
        isinstance(value, int)
        and not isinstance(value, bool)
        and (least is None or value >= least)
        and (most is None or value <= most)
    )


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether `value` is an int or a float, but no bool, that a double can hold: neither NaN nor infinite."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def shown(value: object) -> str:
    """`value` for an error sentence: one line of at most 120 characters."""
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        return "a number beyond the range of a double"
    return repr(value)[:SHOWN_CHARACTERS]


def kind(value: Any) -> str:
    """What kind of JSON value `value` is, for an error sentence."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    named: dict[type, str] = {dict: "an object", list: "a list", str: "a string"}
    return named.get(type(value), "a number")
