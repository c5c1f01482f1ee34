"""Finds the process that wrote ``emulator.json``, if it still runs. A process id is not enough: the system reuses it
for other processes later. Standard library only.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

READY_FILE = "emulator.json"


@dataclass(frozen=True)
class Running:
    """A host that runs on a directory; ``started`` is the result of ``start_of``."""

    pid: int
    port: int
    started: str

    @property
    def is_alive(self) -> bool:
        return start_of(self.pid) == self.started


def start_of(pid: int) -> str | None:
    """An identifier that no other process has: the boot and the start time. None if no such process runs."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
        asked = subprocess.run(["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True)
        state, _, started = asked.stdout.strip().partition(" ")
        return None if not started or state.startswith("Z") else started.strip()
    return None if fields[0] == "Z" else f"{boot} {fields[19]}"


def running_on(directory: Path) -> Running | None:
    """The host in the ``emulator.json`` of ``directory``. None if there is none, if that host has ended, or if the file
    was copied from another directory.
    """
    try:
        record = json.loads((directory / READY_FILE).read_text("utf-8"))
        found = Running(int(record["pid"]), int(record["port"]), str(record["started"]))
        written_for = Path(record["directory"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if written_for == directory.resolve() and found.is_alive else None
