"""The strict reader of JSON from outside: UTF-8, no key twice, no NaN, no number beyond a double, no half of a
surrogate pair, no deep nesting. `schemas.check` and `lists` check the content.
"""

from __future__ import annotations

import json
from typing import Any

from contracts.values import is_number, is_unicode, kind, printable, shown

MAXIMUM_DEPTH = 100
"""Maximum nesting of lists and objects. Whatever walks a document then stays below Python's limit of recursion."""
_MOST_DIGITS = 4300
"""Maximum digits that `int` converts."""
_PLAIN = 1 << 53
"""Whole numbers up to it need no further check."""


class Unfit(ValueError):
    """Raised when a document cannot be used, with all reasons. Each reason names the document, the field, its value and
    the allowed values.
    """

    def __init__(self, *reasons: str, key: str | None = None) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = list(reasons)
        self.key = key
        """The duplicate key, if that is the reason."""


def read(content: bytes | str, called: str, has_schema: bool = False) -> Any:
    """Parse the JSON in `content`. `called` names the document in the message, e.g. its key in S3. Raises Unfit.

    With `has_schema`, a check of every value follows, by a schema or by code, which names the field: NaN, numbers
    beyond the range of a double and halves of surrogate pairs are then accepted here.
    """
    try:
        text = content if isinstance(content, str) else content.decode("utf-8")
        if text.startswith("\ufeff"):  # RFC 8259 allows to refuse it
            raise Unfit(f"{called} is not JSON: it begins with a byte order mark")
        document = (_CHECKED_LATER if has_schema else _STRICT).decode(text)
    except _Twice as error:
        raise Unfit(f"{called} has the key {shown(error.key)} twice", key=error.key) from None
    except UnicodeDecodeError as error:
        raise Unfit(f"{called} is not UTF-8: byte {error.start} cannot be decoded") from None
    except RecursionError:
        raise Unfit(f"{called} is nested too deeply") from None
    except _NoValue as error:
        raise Unfit(f"{called} is not JSON: {error} is not a JSON value") from None
    except json.JSONDecodeError as error:
        raise Unfit(f"{called} is not JSON: {error.msg} at line {error.lineno} column {error.colno}") from None
    if text.count("[") + text.count("{") > MAXIMUM_DEPTH and _is_too_deep(document):
        raise Unfit(f"{called} is nested too deeply")
    found = None if has_schema else _fault(document)
    if found:
        path, problem = printable(found[0].removeprefix(".")), found[1]
        raise Unfit(f"{called}: {path} {problem}" if path else f"{called} {problem}")
    return document


def read_object(content: bytes | str, called: str, has_schema: bool = False) -> dict[str, Any]:
    """Like `read`. Also raises Unfit if the JSON is not an object."""
    return require_object(read(content, called, has_schema), called)


def require_object(document: Any, called: str) -> dict[str, Any]:
    """Return `document` if it is a JSON object. Raises Unfit otherwise."""
    if not isinstance(document, dict):
        raise Unfit(f"{called} must be a JSON object, not {kind(document)}")
    return document


class _Twice(Exception):
    """Raised for a duplicate key."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class _NoValue(Exception):
    """Raised for NaN and the infinities, which Python accepts but JSON does not have."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(next(name for name in names if names.count(name) > 1))
    return document


def _integer(text: str) -> int | float:
    return int(text) if len(text) <= _MOST_DIGITS else float(text)  # infinity


def _no_constant(name: str) -> Any:
    raise _NoValue(name)


# The decoders are made once, because a customer waits for some of the documents.
_STRICT = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_constant=_no_constant)
_CHECKED_LATER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_constant=float)


def _is_too_deep(document: Any) -> bool:
    level = [document]
    for _ in range(MAXIMUM_DEPTH):
        level = [inner for value in level for inner in _inside(value) if type(inner) in (dict, list)]
        if not level:
            return False
    return True


def _inside(value: Any) -> Any:
    return value.values() if type(value) is dict else value


def _is_plain(value: Any) -> bool:
    """True for most values of a long list, which have no fault."""
    kind = type(value)
    return (kind is int and -_PLAIN <= value <= _PLAIN) or (kind is str and value.isascii())


def _fault(value: Any) -> tuple[str, str] | None:
    """Return the path and the problem of the first value that cannot be stored or computed with; None if there is
    none.
    """
    if isinstance(value, str):
        return None if is_unicode(value) else ("", "must be valid Unicode, without half of a surrogate pair")
    if isinstance(value, dict):
        for name, inner in value.items():
            if not is_unicode(name):
                return "", "must have keys of valid Unicode, without half of a surrogate pair"
            if found := _fault(inner):
                return f".{name}{found[0]}", found[1]
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            if _is_plain(inner):
                continue
            if found := _fault(inner):
                return f"[{position}]{found[0]}", found[1]
    elif isinstance(value, int | float) and not isinstance(value, bool) and not is_number(value):
        return "", "must be a number within the range of a double, not a larger one"
    return None
