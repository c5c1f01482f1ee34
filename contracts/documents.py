"""Strict reading of JSON documents: UTF-8, no NaN, no duplicate keys. `schemas.check` checks the content."""

from __future__ import annotations

import json
from typing import Any

from contracts.values import kind, shown


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

    With `has_schema`, NaN and the infinities are accepted: the schema check that follows names their field.
    """
    try:
        text = content if isinstance(content, str) else content.decode("utf-8")
        # A byte order mark is refused by the parser, as RFC 8259 allows.
        return json.loads(text, object_pairs_hook=_object, parse_constant=float if has_schema else _no_constant)
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
    except ValueError:  # an integer of more digits than Python converts
        raise Unfit(f"{called} is not JSON that can be read: a number has too many digits") from None


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


def _no_constant(name: str) -> Any:
    raise _NoValue(name)
