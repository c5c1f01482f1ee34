"""Declaration of a model's parameters: `name: type = parameter(meaning, reader, default)` in a frozen dataclass.

A parameter is given as text (`--name value`). Its reader converts the text to a value, or raises ValueError with a
message that follows the parameter's name ("must be an integer from 1 to 100"). `training/hyperparameters.py` collects
the declarations of all models.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self


def read(declared: Mapping[str, dataclasses.Field[Any]], texts: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of the parameters in `texts`.

    Raises ValueError for the first parameter that is unknown, missing or invalid; the message begins with its name.
    """
    for name in texts:
        if name not in declared:
            raise ValueError(f"{name} is not known; known are {', '.join(declared)}")
    values = {}
    for name, declaration in declared.items():
        if name in texts:
            try:
                values[name] = declaration.metadata["read"](texts[name])
            except ValueError as error:
                raise ValueError(f"{name} {error}, not {texts[name]!r}") from error
        elif declaration.default is dataclasses.MISSING:
            raise ValueError(f"{name} is missing")
    return values


def text_of(value: Any) -> str:
    """Return a parameter's value as text for its reader."""
    return ",".join(str(part) for part in value) if isinstance(value, (tuple, list)) else str(value)


def parameter(meaning: str, read: Callable[[str], Any], default: Any = dataclasses.MISSING) -> Any:
    """Declare one parameter. A parameter without a default is required.

    `meaning` is the text of `--help`: what the parameter is, its range, and the source of its default.
    """
    return field(default=default, metadata={"meaning": meaning, "read": read})


def matching(pattern: re.Pattern[str], description: str) -> Callable[[str], str]:
    """Return a reader of a text that matches the whole `pattern`."""

    def read(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(f"must be {description}")
        return text

    return read


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a reader of one of `choices`."""

    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return text

    return read


def integer(least: int, most: int) -> Callable[[str], int]:
    """Return a reader of an integer from `least` to `most`."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,20}", text) or not least <= int(text) <= most:
            raise ValueError(f"must be an integer from {least} to {most}")
        return int(text)

    return read


def number(description: str, allowed: Callable[[float], bool]) -> Callable[[str], float]:
    """Return a reader of a finite number for which `allowed` is true."""

    def read(text: str) -> float:
        try:
            value = float(text) if text.isascii() and "_" not in text else math.nan  # float reads other scripts too
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and allowed(value)):
            raise ValueError(f"must be {description}")
        return value

    return read


def integers(example: str) -> Callable[[str], tuple[int, ...]]:
    """Return a reader of integers separated by commas."""

    def read(text: str) -> tuple[int, ...]:
        if not re.fullmatch(r"[0-9]{1,4}(,[0-9]{1,4})*", text):
            raise ValueError(f"must be integers with commas between, such as {example}")
        return tuple(int(width) for width in text.split(","))

    return read


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """The parameters of every model. A model with more parameters declares a subclass in its file. A model that uses
    another model's parameters also inherits from that model's class.

    A subclass may check several parameters together in `__post_init__`. It raises ValueError with a message that begins
    with a parameter's name.
    """

    seed: int = parameter(
        "Seed of every random draw: weights, negatives, order, dropout, test negatives, bootstrap. 0 to 2^63 - 1.",
        integer(0, (1 << 63) - 1),
        42,
    )

    @classmethod
    def of(cls, **values: Any) -> Self:
        """Make parameters from values; omitted ones have their defaults. Raises ValueError for one out of range."""
        declared = {declaration.name: declaration for declaration in dataclasses.fields(cls)}
        return cls(**read(declared, {name: text_of(value) for name, value in values.items()}))
