"""How a model declares its parameters: `name: type = parameter(meaning, reader, default)` in a frozen dataclass.

A parameter arrives as text (`--name value`). Its reader returns the value, or raises ValueError with the rest of the
sentence that begins with the parameter's name ("must be an integer from 1 to 100"). `training/hyperparameters.py` puts
the declarations of all models together.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self


def read(declared: Mapping[str, dataclasses.Field[Any]], texts: Mapping[str, str]) -> dict[str, Any]:
    """The values of those parameters that have a text. Raises ValueError, and the message begins with the name of the
    first parameter that is unknown, missing or wrong.
    """
    for name in texts:
        if name not in declared:
            raise ValueError(f"{name} is not known; known are {', '.join(declared)}")
    values = {}
    for name, one in declared.items():
        if name in texts:
            try:
                values[name] = one.metadata["read"](texts[name])
            except ValueError as error:
                raise ValueError(f"{name} {error}, not {texts[name]!r}") from error
        elif one.default is dataclasses.MISSING:
            raise ValueError(f"{name} is missing")
    return values


def text_of(value: Any) -> str:
    """A parameter's value as the text that its reader takes."""
    return ",".join(str(part) for part in value) if isinstance(value, (tuple, list)) else str(value)


def parameter(meaning: str, read: Callable[[str], Any], default: Any = dataclasses.MISSING) -> Any:
    """The declaration of one parameter; without a default it must be given."""
    return field(default=default, metadata={"meaning": meaning, "read": read})


def matching(pattern: re.Pattern[str], description: str) -> Callable[[str], str]:
    """Reads a text that matches `pattern` as a whole."""

    def read(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(f"must be {description}")
        return text

    return read


def one_of(*choices: str) -> Callable[[str], str]:
    """Reads one of `choices`."""

    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return text

    return read


def integer(least: int, most: int) -> Callable[[str], int]:
    """Reads an integer from `least` to `most`."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,20}", text) or not least <= int(text) <= most:
            raise ValueError(f"must be an integer from {least} to {most}")
        return int(text)

    return read


def number(description: str, allowed: Callable[[float], bool]) -> Callable[[str], float]:
    """Reads a finite number for which `allowed` is true."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and allowed(value)):
            raise ValueError(f"must be {description}")
        return value

    return read


def integers(example: str) -> Callable[[str], tuple[int, ...]]:
    """Reads integers with commas between."""

    def read(text: str) -> tuple[int, ...]:
        if not re.fullmatch(r"[0-9]{1,4}(,[0-9]{1,4})*", text):
            raise ValueError(f"must be integers with commas between, such as {example}")
        return tuple(int(width) for width in text.split(","))

    return read


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """What every model is fitted with. A model with parameters of its own declares a subclass in its file; a model that
    uses another one's parameters inherits from that one's class too.

    A subclass may check parameters together in `__post_init__`: it raises ValueError, and the message begins with the
    name of the parameter.
    """

    seed: int = parameter(
        "Seed of every random draw: weights, negatives, order, dropout, test negatives, bootstrap. 0 to 2^63 - 1.",
        integer(0, (1 << 63) - 1),
        42,
    )

    @classmethod
    def of(cls, **values: Any) -> Self:
        """From values, each held to its range; the rest has its defaults. Raises ValueError."""
        declared = {one.name: one for one in dataclasses.fields(cls)}
        return cls(**read(declared, {name: text_of(value) for name, value in values.items()}))
