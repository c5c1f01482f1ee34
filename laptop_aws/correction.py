"""Corrects a function of ministack: a decorator on the function that replaces it.

    @corrects(
        "ministack.services.sqs:_delete_queue",
        source="5a1c0f9e24d7",
        aws="a deleted queue may be used for 60 s more",
        ministack="it is gone at once",
        test="test_a_deleted_queue_answers_for_a_minute",
    )
    def delete_queue(stock, name): ...

The target is ``module:attribute``, also of a class (``:Worker.invoke``) or an entry of a dictionary
(``:_HANDLERS[key][create]``). A replacement whose first parameter is called ``stock`` receives the original function.
With ``is_value=True`` the replacement is called once and its result replaces the target.

``source`` is the digest of the original, as ``python -m laptop_aws corrections`` prints it. If the installed ministack
has another target or none, nothing is applied and the host does not start; laptop_aws/docs/upgrading.md says
what to do.
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
    """Some corrections do not match the installed ministack; the message lists them."""


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
    """The digest of the replaced original; empty before it is replaced."""

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
        """Replaces the target. Later calls change nothing."""
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
        """The container of the target (a module, class or dictionary), its name in the container, and the target
        itself."""
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
    """Declares that the decorated function replaces ``target``; nothing is replaced before ``apply``. ``aws`` and
    ``ministack`` describe the two behaviours. ``test`` names the conformance test of the correction.
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
    """Applies all corrections, or none. Raises DoesNotFit with all that do not fit."""
    corrections = list(corrections)
    problems = [problem for correction in corrections if (problem := correction.problem())]
    if problems:
        raise DoesNotFit("; ".join(problems))
    for correction in corrections:
        correction.apply()


def digest(target: Any) -> str:
    """The first twelve hexadecimal digits of the SHA-256 of a function's source, or of a value."""
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
