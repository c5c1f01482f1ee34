"""The kinds of model by name. Every file in `ncf/models/` is loaded, so a new file is enough to add a model."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Any

from ncf import models
from ncf.interface import Kind


@cache
def kinds() -> dict[str, Kind[Any]]:
    """Return every kind of model by name. Raises RuntimeError if two have the same name."""
    found: dict[str, Kind[Any]] = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(models.__path__)):
        for kind in importlib.import_module(f"{models.__name__}.{module}").KINDS:
            if kind.name in found:
                raise RuntimeError(f"two models have the name {kind.name}; one of them is in ncf/models/{module}.py")
            found[kind.name] = kind
    return found


def kind_named(name: object) -> Kind[Any]:
    """Return the kind with this name. Raises ValueError with the known names."""
    if not isinstance(name, str) or name not in kinds():
        raise ValueError(f"model must be one of {', '.join(sorted(kinds()))}, not {name!r}")
    return kinds()[name]
