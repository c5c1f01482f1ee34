"""The environment of a function, typed: one frozen dataclass per function, read once at start-up.

    @dataclass(frozen=True)
    class Settings(Common):
        endpoint_name: str
        endpoint_instance_count: int
        gate_policy: dict[str, Any]

    SETTINGS = environment.load(Settings)

The field `endpoint_name` is the variable `ENDPOINT_NAME`. A field with a default is optional, and an empty variable
counts as missing. Supported types: `str`, `int`, `bool` (`true`/`false`), `tuple[str, ...]` (comma list) and
`dict[str, Any]` (a JSON object).
"""

from __future__ import annotations

import dataclasses
import os
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from contracts import documents
from contracts.values import integer_in

T = TypeVar("T")


class BadEnvironment(Exception):
    """Raised at start-up with every variable that is missing or unreadable, so that one deployment can fix them all."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Common:
    """Settings of every function but `recommend` and `publish_code`."""

    name_prefix: str
    runs_table: str


def load(settings: type[T], variables: Mapping[str, str] | None = None) -> T:
    """Fill the dataclass `settings` from `variables` (default: the process environment).

    Raises BadEnvironment naming all variables that are missing or cannot be read.
    """
    variables = os.environ if variables is None else variables
    types = typing.get_type_hints(settings)
    values: dict[str, Any] = {}
    missing: list[str] = []
    unreadable: list[str] = []
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        name = field.name.upper()
        text = variables.get(name, "").strip()
        if not text:
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                missing.append(name)
            continue
        try:
            values[field.name] = _read(name, text, types[field.name])
        except ValueError as error:
            unreadable.append(str(error))
    if missing or unreadable:
        problems = [f"missing: {', '.join(missing)}"] if missing else []
        problems += [f"unreadable: {'; '.join(unreadable)}"] if unreadable else []
        raise BadEnvironment(f"environment of {settings.__module__}: {'; '.join(problems)}")
    return settings(**values)


def _read(name: str, text: str, kind: Any) -> Any:
    if kind is str:
        return text
    if kind is int:
        number = integer_in(text)
        if number is None:
            raise ValueError(f"{name} must be an integer, not {text!r}")
        return number
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{name} must be true or false, not {text!r}")
        return text.lower() == "true"
    origin = typing.get_origin(kind)
    if origin is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if origin is dict:
        return documents.read_object(text, name)
    raise TypeError(f"settings of type {kind} are not supported")
