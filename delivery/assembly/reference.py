"""Writes the tables of the reference, docs/reference/*.md, from their sources. The sentences are by hand."""

from __future__ import annotations

from pathlib import Path

from delivery.assembly import commands, pages, sources, stack
from delivery.assembly.api import Api


def assemble(root: Path) -> dict[str, str]:
    """Each page with tables → its text. Raises SourceError."""
    api = Api(root)
    tables = {
        "api.md": {"about": api.about(), "routes": api.routes(), "sections": api.sections(), "bodies": api.schemas()},
        "events.md": {
            "route": api.section("POST /events"),
            "bodies": api.events(),
            "published": sources.published(root),
            "rules": stack.rules(root),
        },
        "parameters.md": {
            "parameters": stack.parameters(root),
            "environments": stack.environments(root),
            "outputs": stack.outputs(root),
            "hyperparameters": commands.hyperparameters(),
        },
        "metrics.md": {
            "functions": sources.metrics(root),
            "server": sources.server_metrics(root),
            "training": sources.training_metrics(),
            "aws": sources.aws_metrics(root),
        },
        "alarms.md": {"alarms": stack.alarms(root)},
        "ledger.md": {"items": sources.ledger(root), "states": sources.statuses(root)},
        "cli.md": {
            "targets": commands.targets(root),
            "variables": commands.variables(root),
            "programs": commands.programs(),
        },
    }
    return {path: text for page, its in tables.items() for path, text in pages.filled(root, page, its).items()}
