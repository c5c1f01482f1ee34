"""Declaration of a model's parameters: `name: type = parameter(meaning, reader, default)` in a frozen dataclass.

A parameter is given as text (`--name value`). Its reader converts the text to a value, or raises ValueError with a
message that follows the parameter's name ("must be an integer from 1 to 100"). `training/hyperparameters.py` collects
the declarations of all models.

A parameter may say which values a search tries: `search=Between(0.001, 0.1, log=True)` or `search=Among(16, 32, 64)`
(`training/search.py`). Without it, a search leaves the parameter as it is.
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


class Between:
    """The numbers that a search tries, from `low` to `high`: whole ones if both are integers, otherwise with three
    significant digits. With `log`, each factor is as likely as another, as 0.001 to 0.01 and 0.01 to 0.1.
    """

    def __init__(self, low: float, high: float, *, log: bool = False) -> None:
        if not low < high or (log and low <= 0):
            raise ValueError(f"a search between {low} and {high} has no values, or logarithms of numbers not above 0")
        self.low, self.high, self.log = low, high, log

    def at(self, place: float) -> Any:
        """Return the value at `place`, from 0 (`low`) to 1 (`high`)."""
        ratio, width = self.high / self.low if self.log else 1.0, self.high - self.low
        value = self.low * ratio**place if self.log else self.low + width * place
        if isinstance(self.low, int) and isinstance(self.high, int):
            return round(value)
        return min(max(float(f"{value:.3g}"), self.low), self.high)

    def place_of(self, value: Any) -> float:
        """Return the place of `value`, 0 or 1 if it is beyond the ends."""
        inside = min(max(value, self.low), self.high)
        if self.log:
            return math.log(inside / self.low) / math.log(self.high / self.low)
        return float((inside - self.low) / (self.high - self.low))


class Among:
    """The values that a search tries, at least two. Neighbours in the list are more alike than others."""

    def __init__(self, *values: Any) -> None:
        if len(values) < 2:
            raise ValueError("a search among fewer than two values has no choice")
        self.values = values

    def at(self, place: float) -> Any:
        """Return the value at `place`, from 0 (the first) to 1 (the last)."""
        return self.values[min(int(place * len(self.values)), len(self.values) - 1)]

    def place_of(self, value: Any) -> float:
        """Return the place of `value`, that of the middle if it is none of the values."""
        return (self.values.index(value) + 0.5) / len(self.values) if value in self.values else 0.5


def parameter(
    meaning: str,
    read: Callable[[str], Any],
    default: Any = dataclasses.MISSING,
    *,
    search: Between | Among | None = None,
) -> Any:
    """Declare one parameter. A parameter without a default is required.

    `meaning` is the text of `--help`: what the parameter is, its range, and the source of its default. `search` has the
    values that a search tries.
    """
    return field(default=default, metadata={"meaning": meaning, "read": read, "search": search})


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
    def searched(cls) -> dict[str, Between | Among]:
        """Return what a search tries, by the name of the parameter; empty if there is nothing to search."""
        found = {declaration.name: declaration.metadata["search"] for declaration in dataclasses.fields(cls)}
        return {name: values for name, values in found.items() if values is not None}

    @classmethod
    def of(cls, **values: Any) -> Self:
        """Make parameters from values; omitted ones have their defaults. Raises ValueError for one out of range."""
        declared = {declaration.name: declaration for declaration in dataclasses.fields(cls)}
        return cls(**read(declared, {name: text_of(value) for name, value in values.items()}))
