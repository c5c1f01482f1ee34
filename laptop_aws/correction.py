"""How a function of ministack is corrected, in one form: a decorator on the function that takes its place.

    @corrects(
        "ministack.services.sqs:_delete_queue",
        source="5a1c0f9e24d7",
        aws="a deleted queue may be used for 60 s more",
        ministack="it is gone at once",
        test="test_a_deleted_queue_answers_for_a_minute",
    )
    def delete_queue(stock, name): ...

The target is ``module:attribute``, also of a class (``:Worker.invoke``) or an entry of a dictionary
(``:_HANDLERS[key][create]``). A replacement whose first parameter is called ``stock`` gets what it replaces. With
``is_value=True`` the replacement is called once and its result takes the place of the target.

``source`` is the digest of what is corrected, as ``python -m laptop_aws corrections`` prints it. When another ministack
has changed the target, or has it no more, nothing is applied and the host does not start; docs/upgrading.md says what
to do.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, TypeVar

Replacement = TypeVar("Replacement", bound=Callable[..., Any])
_PART = re.compile(r"\.?([A-Za-z_]\w*)|\[([^\]]+)\]")
_MISSING = object()


class DoesNotFit(Exception):
    """Corrections were written for another source than the installed one; the message lists them."""


@dataclass(frozen=True)
class Correction:
    """One difference between ministack and AWS, and the function that removes it."""

    target: str
    source: str
    aws: str
    ministack: str
    test: str
    replacement: Callable[..., Any]
    is_value: bool
    _applied: list[str] = field(default_factory=list, compare=False, repr=False)
    """The digest of what was replaced, once it was."""

    @property
    def area(self) -> str:
        return self.replacement.__module__.rpartition(".")[2]

    def found(self) -> str | None:
        """The digest of the target in the installed ministack; None when there is no such target."""
        if self._applied:
            return self._applied[0]
        try:
            _, _, stock = self._locate()
        except ImportError:
            return None
        return None if stock is _MISSING else digest(stock)

    def problem(self) -> str | None:
        """Why the correction does not fit the installed ministack, or None."""
        found = self.found()
        if found == self.source:
            return None
        return f"{self.target} has changed (now {found})" if found else f"{self.target} is gone"

    def apply(self) -> None:
        """Puts the replacement in the target's place, once."""
        if self._applied:
            return
        owner, name, stock = self._locate()
        takes_stock = next(iter(inspect.signature(self.replacement).parameters), "") == "stock"
        new: Any = _with_stock(self.replacement, stock) if takes_stock else self.replacement
        if self.is_value:
            new = new()
        self._applied.append(digest(stock))
        if isinstance(owner, dict):
            owner[name] = new
        else:
            setattr(owner, name, new)

    def _locate(self) -> tuple[Any, str, Any]:
        """What holds the target, under which name, and the target."""
        module, _, path = self.target.partition(":")
        owner: Any = None
        found: Any = importlib.import_module(module)
        name = ""
        for attribute, key in _PART.findall(path):
            owner, name = found, attribute or key
            found = getattr(owner, name, _MISSING) if attribute else owner.get(name, _MISSING)
            if found is _MISSING:
                break
        return owner, name, found


_declared: list[Correction] = []


def corrects(
    target: str, *, source: str, aws: str, ministack: str, test: str, is_value: bool = False
) -> Callable[[Replacement], Replacement]:
    """Declares that the decorated function takes the place of ``target``; nothing is replaced before ``apply``.

    ``aws`` and ``ministack`` say what each of them does. ``test`` names the conformance test that holds the point.
    """

    def declare(replacement: Replacement) -> Replacement:
        _declared.append(Correction(target, source, aws, ministack, test, replacement, is_value))
        return replacement

    return declare


def declared(areas: Iterable[ModuleType]) -> list[Correction]:
    """The corrections that the modules declare, in the order of their declaration."""
    names = {area.__name__ for area in areas}
    return [correction for correction in _declared if correction.replacement.__module__ in names]


def apply(corrections: Iterable[Correction]) -> None:
    """Applies all, or none: raises DoesNotFit with everything that does not fit."""
    corrections = list(corrections)
    problems = [problem for correction in corrections if (problem := correction.problem())]
    if problems:
        raise DoesNotFit("; ".join(problems))
    for correction in corrections:
        correction.apply()


def digest(target: Any) -> str:
    """Twelve hexadecimal digits of the SHA-256 of a function's source, or of a value."""
    if inspect.ismodule(target):
        text = f"module {target.__name__}"
    elif callable(target):
        text = inspect.getsource(target)
    else:
        text = repr(target)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _with_stock(replacement: Callable[..., Any], stock: Any) -> Callable[..., Any]:
    async def corrected_later(*arguments: Any, **named: Any) -> Any:
        return await replacement(stock, *arguments, **named)

    def corrected(*arguments: Any, **named: Any) -> Any:
        return replacement(stock, *arguments, **named)

    return functools.update_wrapper(corrected_later if inspect.iscoroutinefunction(replacement) else corrected, stock)
