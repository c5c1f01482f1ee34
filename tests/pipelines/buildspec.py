"""Runs a buildspec's phases from the file, in the order and by the rules of CodeBuild: each command with a shell, in
one environment for the whole build, until one fails.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

PHASES = ("install", "pre_build", "build", "post_build")


def commands(file: Path) -> list[str]:
    """All commands of the phases, in order; fails for a buildspec with anything else in it."""
    found: dict[str, Any] = yaml.safe_load(file.read_text("utf-8"))
    assert found["version"] == 0.2 and set(found) == {"version", "phases"}
    assert set(found["phases"]) <= set(PHASES)
    for name, phase in found["phases"].items():
        assert set(phase) <= {"commands", "runtime-versions"}, name
    return [command for phase in PHASES for command in found["phases"].get(phase, {}).get("commands", [])]


def run(file: Path, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the commands in `folder`."""
    script = "\n".join(["set -e", *commands(file)])
    return subprocess.run(
        ["bash", "-c", script], cwd=folder, env=dict(environment), capture_output=True, text=True, check=False
    )
