"""Writes the tables of the reference, docs/reference/*.md, from their sources. The sentences are by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from delivery.assembly import commands, pages, sources, stack
from delivery.assembly.api import Api


def assemble(root: Path) -> dict[str, str]:
    """Each page with tables → its text. Raises SourceError."""
    return {path: text for name in PAGES for path, text in page(root, name).items()}


def page(root: Path, name: str) -> dict[str, str]:
    """One page → its text. Raises SourceError."""
    return pages.filled(root, name, PAGES[name](root))


def _api(root: Path) -> dict[str, str]:
    api = Api(root)
    return {"about": api.about(), "routes": api.routes(), "sections": api.sections(), "bodies": api.schemas()}


def _events(root: Path) -> dict[str, str]:
    api = Api(root)
    return {
        "route": api.section("POST /events"),
        "bodies": api.events(),
        "published": sources.published(root),
        "rules": stack.rules(root),
    }


def _parameters(root: Path) -> dict[str, str]:
    return {
        "parameters": stack.parameters(root),
        "environments": stack.environments(root),
        "outputs": stack.outputs(root),
        "hyperparameters": commands.hyperparameters(),
    }


def _metrics(root: Path) -> dict[str, str]:
    return {
        "functions": sources.metrics(root),
        "server": sources.server_metrics(root),
        "training": sources.training_metrics(),
        "aws": sources.aws_metrics(root),
    }


PAGES: Mapping[str, Callable[[Path], dict[str, str]]] = {
    "api.md": _api,
    "events.md": _events,
    "parameters.md": _parameters,
    "metrics.md": _metrics,
    "alarms.md": lambda root: {"alarms": stack.alarms(root)},
    "ledger.md": lambda root: {"items": sources.ledger(root), "states": sources.statuses(root)},
    "cli.md": lambda root: {
        "targets": commands.targets(root),
        "variables": commands.variables(root),
        "programs": commands.programs(),
    },
}
