"""Checks requests against AWS's service models: required members, types, lengths, ranges, patterns and enumerations.
botocore has the models that AWS publishes; checking against them gives the real service's errors, in its words, without
code per operation.
"""

from __future__ import annotations

import base64
import functools
import json
import re
import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import botocore.session
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape

Row = TypeVar("Row")
_NUMBERS = {"integer": (int,), "long": (int,), "float": (int, float), "double": (int, float)}


class ServiceError(Exception):
    """An error answer of the service: AWS's error ``code``, and the HTTP ``status``."""

    def __init__(self, code: str, message: str, status: int = 400, **members: Any) -> None:
        super().__init__(message)
        self.code, self.message, self.status, self.members = code, message, status, members


def validation_error(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)


@functools.cache
def service_model(service: str) -> ServiceModel:
    """The model of a service by its SDK name. Raises botocore's UnknownServiceError."""
    model: ServiceModel = botocore.session.get_session().get_service_model(service)
    return model


def operation(service: str, name: str) -> OperationModel | None:
    """The operation, or None when the service has none of that name."""
    model = service_model(service)
    return model.operation_model(name) if name in model.operation_names else None


def accept(shape: StructureShape | None, members: Any) -> dict[str, Any]:
    """Returns the known members of a request, checked; unknown ones are ignored, as on AWS. Raises ServiceError:
    SerializationException for a wrong JSON type, ValidationException for any other violation of the model.
    """
    if shape is None:
        return {}
    if not isinstance(members, Mapping):
        raise ServiceError("SerializationException", "Start of structure or map expected.")
    problems: list[str] = []
    known: dict[str, Any] = _accept(shape, members, "", problems)
    if problems:
        noun = "validation error" if len(problems) == 1 else "validation errors"
        raise validation_error(f"{len(problems)} {noun} detected: " + "; ".join(problems))
    return known


def _accept(shape: Shape, value: Any, path: str, problems: list[str]) -> Any:
    if isinstance(shape, StructureShape):
        if not isinstance(value, Mapping):
            raise ServiceError(
                "SerializationException", f"Unexpected field type for '{path or 'request'}': a structure is expected."
            )
        for name in shape.required_members:
            if value.get(name) is None:
                problems.append(
                    f"Value null at '{_join(path, name)}' failed to satisfy constraint: Member must not be null"
                )
        return {
            name: _accept(member, value[name], _join(path, name), problems)
            for name, member in shape.members.items()
            if value.get(name) is not None
        }
    if isinstance(shape, ListShape):
        if not isinstance(value, list):
            raise ServiceError("SerializationException", f"Unexpected field type for '{path}': a list is expected.")
        _check_size(shape, value, path, problems)
        return [
            _accept(shape.member, item, f"{path}.{number}.member", problems)
            for number, item in enumerate(value, start=1)
        ]
    if isinstance(shape, MapShape):
        if not isinstance(value, Mapping):
            raise ServiceError("SerializationException", f"Unexpected field type for '{path}': a map is expected.")
        _check_size(shape, value, path, problems)
        return {
            _accept_part(shape.key, key, path, "keys", problems): _accept_part(
                shape.value, item, path, "value", problems
            )
            for key, item in value.items()
        }
    return _accept_scalar(shape, value, path, problems)


def _accept_part(shape: Shape, value: Any, path: str, part: str, problems: list[str]) -> Any:
    inner: list[str] = []
    accepted = _accept(shape, value, path, inner)
    constraints = [problem.split("failed to satisfy constraint: ", 1)[1] for problem in inner]
    if constraints:
        problems.append(
            f"Value at '{path}' failed to satisfy constraint: Map {part} must satisfy constraint: "
            f"[{', '.join(constraints)}]"
        )
    return accepted


def _accept_scalar(shape: Shape, value: Any, path: str, problems: list[str]) -> Any:
    kind = shape.type_name
    if kind == "boolean":
        if not isinstance(value, bool):
            raise ServiceError("SerializationException", f"Unexpected field type for '{path}': a boolean is expected.")
        return value
    if kind in _NUMBERS:
        if isinstance(value, bool) or not isinstance(value, _NUMBERS[kind]):
            raise ServiceError("SerializationException", f"Unexpected field type for '{path}': a number is expected.")
        _check_range(shape, value, path, problems)
        return value
    if kind == "timestamp":
        return _timestamp(value, path)
    if not isinstance(value, str):
        raise ServiceError("SerializationException", f"Unexpected field type for '{path}': a string is expected.")
    _check_size(shape, value, path, problems)
    allowed = shape.metadata.get("enum")
    if allowed and value not in allowed:
        problems.append(f"{_violation(shape, value, path)} Member must satisfy enum value set: [{', '.join(allowed)}]")
    pattern = shape.metadata.get("pattern")
    if pattern and not compile_pattern(pattern).fullmatch(value):
        problems.append(f"{_violation(shape, value, path)} Member must satisfy regular expression pattern: {pattern}")
    return value


def _timestamp(value: Any, path: str) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    try:
        moment = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        raise ServiceError(
            "SerializationException", f"Unexpected field type for '{path}': a timestamp is expected."
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _check_size(shape: Shape, value: Any, path: str, problems: list[str]) -> None:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and len(value) < least:
        problems.append(f"{_violation(shape, value, path)} Member must have length greater than or equal to {least}")
    if most is not None and len(value) > most:
        problems.append(f"{_violation(shape, value, path)} Member must have length less than or equal to {most}")


def _check_range(shape: Shape, value: float, path: str, problems: list[str]) -> None:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and value < least:
        problems.append(f"{_violation(shape, value, path)} Member must have value greater than or equal to {least}")
    if most is not None and value > most:
        problems.append(f"{_violation(shape, value, path)} Member must have value less than or equal to {most}")


def _violation(shape: Shape, value: Any, path: str) -> str:
    if shape.metadata.get("sensitive"):
        return f"Value at '{path}' failed to satisfy constraint:"
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return f"Value '{text[:1024]}' at '{path}' failed to satisfy constraint:"


def _join(path: str, name: str) -> str:
    name = name[0].lower() + name[1:]
    return f"{path}.{name}" if path else name


# ---- patterns --------------------------------------------------------------------------------------------------------


@functools.cache
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Translates a Java pattern of a service model to Python: ``\\p{...}`` becomes ranges, surrogate pairs and a
    misplaced ``$`` are rewritten."""
    text = pattern.replace("\\uD800\\uDC00-\\uDBFF\\uDFFF", "\\U00010000-\\U0010FFFF").replace("${", "{")
    for name, ranges in (("Alnum", "a-zA-Z0-9"), ("ASCII", "\\x00-\\x7F"), ("Print", "\\x20-\\x7E")):
        text = text.replace(f"\\p{{{name}}}", ranges if _inside_class(text, f"\\p{{{name}}}") else f"[{ranges}]")
    text = re.sub(r"\\p\{([LMZSNP])\}", lambda match: _category(match[1]), text)
    return re.compile(text.replace("\\z", "\\Z"))


def _inside_class(text: str, token: str) -> bool:
    before = text.partition(token)[0]
    return before.rfind("[") > before.rfind("]")


@functools.cache
def _category(letter: str) -> str:
    """Character ranges of a general category in the basic plane. All higher planes count as letters and symbols."""
    ranges: list[str] = []
    start = previous = -2
    for point in [*(p for p in range(0x10000) if unicodedata.category(chr(p))[0] == letter), sys.maxunicode + 2]:
        if point != previous + 1:
            if start >= 0:
                ranges.append(f"\\u{start:04x}-\\u{previous:04x}")
            start = point
        previous = point
    return "".join(ranges) + ("\\U00010000-\\U0010FFFF" if letter in "LS" else "")


# ---- lists -----------------------------------------------------------------------------------------------------------


def page(rows: Sequence[Row], token: str | None, size: int, key: Callable[[Row], str]) -> tuple[list[Row], str | None]:
    """``size`` rows after the row that ``token`` names, and the token of the next page (None at the end).

    The token holds the last row's key, not its position, so that rows added or deleted in between do not repeat or hide
    others. Raises ServiceError for an invalid token.
    """
    start = 0
    if token:
        try:
            last = base64.urlsafe_b64decode(token.encode()).decode()
        except (ValueError, UnicodeDecodeError):
            raise validation_error("Invalid NextToken") from None
        keys = [key(row) for row in rows]
        if last not in keys:
            raise validation_error("Invalid NextToken")
        start = keys.index(last) + 1
    chosen = list(rows[start : start + size])
    more = start + size < len(rows)
    return chosen, base64.urlsafe_b64encode(key(chosen[-1]).encode()).decode() if more and chosen else None
