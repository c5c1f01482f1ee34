"""The body of `POST /invocations`: what a client may ask, and the words in which anything else is refused.

Pure: no torch, no HTTP. `docs/contracts.md`, "Server", is the specification.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

MAXIMUM_BODY_BYTES = 1024 * 1024
MAXIMUM_CANDIDATES = 1000
MAXIMUM_RESULTS = 100
MAXIMUM_USER_ID_LENGTH = 256
DEFAULT_RESULTS = 10

FIELDS = ("userId", "numResults", "excludeSeen", "candidates")


class InvalidInvocation(Exception):
    """Raised when the sender must change the request. `field` is None when it is the body as a whole."""

    def __init__(self, message: str, field: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.status = status


@dataclass(frozen=True)
class Invocation:
    """One request for a ranking.

    `candidates` None means the whole catalogue; otherwise distinct item ids in the order in which they were given.
    `num_results` None means all of the candidates.
    """

    user_id: str
    num_results: int | None
    exclude_seen: bool
    candidates: tuple[str, ...] | None = None

    @classmethod
    def from_body(cls, body: bytes) -> Invocation:
        """Parses UTF-8 JSON. Raises `InvalidInvocation` naming the field and what is wrong with its value."""
        if len(body) > MAXIMUM_BODY_BYTES:
            raise InvalidInvocation(f"the body is larger than {MAXIMUM_BODY_BYTES} bytes", status=413)
        return cls.from_document(_document(body))

    @classmethod
    def from_document(cls, document: Any) -> Invocation:
        """As `from_body`, for JSON that is already parsed."""
        if not isinstance(document, dict):
            raise InvalidInvocation(f"the body must be a JSON object, not {_kind(document)}")
        for name in document:
            if name not in FIELDS:
                raise InvalidInvocation(
                    f"{_shown(name)} is not a field; the fields are {', '.join(FIELDS)}", _name(name)
                )
        user_id = _user_id(document)
        candidates = _candidates(document)
        everything = candidates is None
        return cls(
            user_id=user_id,
            num_results=_num_results(document, default=DEFAULT_RESULTS if everything else None),
            exclude_seen=_exclude_seen(document, default=everything),
            candidates=candidates,
        )


def _document(body: bytes) -> Any:
    if not body.strip():
        raise InvalidInvocation("the body is empty; a JSON object is expected")
    try:
        # A byte order mark is refused by the parser, as RFC 8259 allows.
        return json.loads(body.decode("utf-8"), object_pairs_hook=_object, parse_constant=_no_constant)
    except InvalidInvocation:
        raise
    except UnicodeDecodeError as error:
        raise InvalidInvocation(f"the body is not UTF-8: byte {error.start} cannot be decoded") from None
    except RecursionError:
        raise InvalidInvocation("the body is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise InvalidInvocation(
            f"the body is not JSON: {error.msg} at line {error.lineno} column {error.colno}"
        ) from None
    except ValueError:  # an integer of more digits than Python converts
        raise InvalidInvocation("the body is not JSON that can be read: a number has too many digits") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for name, value in pairs:
        if name in document:
            raise InvalidInvocation(f"{_shown(name)} is given twice", _name(name))
        document[name] = value
    return document


def _no_constant(name: str) -> Any:
    raise InvalidInvocation(f"the body is not JSON: {name} is not a JSON value")


def _user_id(document: dict[str, Any]) -> str:
    if "userId" not in document:
        raise InvalidInvocation("userId is missing", "userId")
    value = document["userId"]
    if not isinstance(value, str):
        raise InvalidInvocation(f"userId must be a string, not {_kind(value)}", "userId")
    if not 1 <= len(value) <= MAXIMUM_USER_ID_LENGTH:
        raise InvalidInvocation(
            f"userId must have 1 to {MAXIMUM_USER_ID_LENGTH} characters, not {len(value)}", "userId"
        )
    _check_unicode(value, "userId")
    return value


def _num_results(document: dict[str, Any], default: int | None) -> int | None:
    if "numResults" not in document:
        return default
    value = document["numResults"]
    # bool is a subclass of int: true would pass for 1.
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAXIMUM_RESULTS:
        raise InvalidInvocation(
            f"numResults must be an integer from 1 to {MAXIMUM_RESULTS}, not {_shown(value)}", "numResults"
        )
    return value


def _exclude_seen(document: dict[str, Any], default: bool) -> bool:
    if "excludeSeen" not in document:
        return default
    value = document["excludeSeen"]
    if not isinstance(value, bool):
        raise InvalidInvocation(f"excludeSeen must be true or false, not {_shown(value)}", "excludeSeen")
    return value


def _candidates(document: dict[str, Any]) -> tuple[str, ...] | None:
    if "candidates" not in document:
        return None
    value = document["candidates"]
    if not isinstance(value, list):
        raise InvalidInvocation(f"candidates must be a list of item ids, not {_kind(value)}", "candidates")
    if not 1 <= len(value) <= MAXIMUM_CANDIDATES:
        raise InvalidInvocation(
            f"candidates must hold 1 to {MAXIMUM_CANDIDATES} item ids, not {len(value)}", "candidates"
        )
    for position, item in enumerate(value):
        if not isinstance(item, str):
            raise InvalidInvocation(f"candidates[{position}] must be a string, not {_kind(item)}", "candidates")
        _check_unicode(item, f"candidates[{position}]")
    return tuple(dict.fromkeys(value))


def _check_unicode(text: str, label: str) -> None:
    """JSON may escape half of a surrogate pair; such a string can be neither stored nor answered."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidInvocation(f"{label} is not valid Unicode", label.partition("[")[0]) from None


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    return {dict: "an object", list: "a list", str: "a string", int: "a number", float: "a number"}[type(value)]


def _shown(value: Any) -> str:
    """The value as JSON, short enough for a message; containers by their kind alone."""
    if isinstance(value, dict | list):
        return _kind(value)
    try:
        text = json.dumps(value)
    except ValueError:  # more digits than Python prints
        return "a number of too many digits"
    return text if len(text) <= 40 else text[:37] + "..."


def _name(name: str) -> str:
    return name[:40].encode("utf-8", "replace").decode("utf-8")
