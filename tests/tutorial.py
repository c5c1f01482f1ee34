"""Types the commands of docs/tutorial.md and writes what they print into it.

    .venv/bin/python -m tests.tutorial ../data.csv            # all of it, on an empty stack: about ten minutes
    .venv/bin/python -m tests.tutorial ../data.csv --list     # only list the commands

A block of `console` has commands after `$ ` and what they print. A comment before it may say which lines are shown,
as a pattern: `<!-- shown: ^✓ gate -->`; `…` stands for the others. The blocks run in one shell, in their order, and so
do the lines of `sh` that set variables or functions. Other lines of `sh` are for the reader alone.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
TUTORIAL = ROOT / "docs" / "tutorial.md"
DATA = "../data.csv"
"""The file as the tutorial calls it; `DATA` of the command line takes its place."""
WIDTH = 100
BLOCK = re.compile(
    r"(?:^<!-- shown: (?P<shown>[^\n]*) -->\n)?^```(?P<kind>console|sh)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
VARIABLES = re.compile(r"^(export |eval |\w+\(\) )")
END = "@@ the command has ended"


@dataclass(frozen=True)
class Typed:
    """A block of `console`: commands, each with the lines that it printed."""

    commands: list[tuple[str, list[str]]]
    shown: re.Pattern[str] | None = None

    @classmethod
    def of(cls, body: str, shown: str | None) -> Typed:
        commands: list[tuple[str, list[str]]] = []
        for line in body.splitlines():
            if line.startswith("$ "):
                commands.append((line.removeprefix("$ "), []))
            elif commands and commands[-1][0].endswith("\\") and not commands[-1][1]:
                commands[-1] = (f"{commands[-1][0]}\n{line}", [])
            else:
                commands[-1][1].append(line)
        return cls(commands, re.compile(shown) if shown else None)

    def __str__(self) -> str:
        return "".join(f"$ {command}\n" + "".join(f"{line}\n" for line in out) for command, out in self.commands)


def shortened(lines: list[str], shown: re.Pattern[str] | None) -> list[str]:
    """Return the lines that `shown` finds, `…` for those between, and what is beyond WIDTH cut off."""
    kept: list[str] = []
    for line in lines:
        if shown is None or shown.search(line):
            kept.append(line.rstrip() if len(line) <= WIDTH else f"{line[: WIDTH - 1].rstrip()}…")
        elif line.strip() and kept[-1:] != ["…"]:
            kept.append("…")
    while kept and not kept[-1]:
        kept.pop()
    return kept


class Shell:
    """A shell in which commands run one after the other."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["bash"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(self, command: str) -> Iterator[str]:
        """Yield the lines that `command` prints. Raises EOFError if it ends the shell."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{{ {command}\n}} </dev/null\nprintf '\\n{END}\\n'\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.rstrip("\n") == END:
                return
            yield line.rstrip("\n")
        raise EOFError(command)


def recorded(text: str, data: str, shell: Shell) -> str:
    """Return the tutorial with what its commands print now."""

    def typed(block: re.Match[str]) -> str:
        if block["kind"] == "sh":
            for command in filter(VARIABLES.match, block["body"].splitlines()):
                list(shell.run(command))
            return block[0]
        found = Typed.of(block["body"], block["shown"])
        for command, out in found.commands:
            print(f"$ {command}", flush=True)
            started, lines = time.monotonic(), []
            for line in shell.run(command.replace(DATA, data)):
                print(line, flush=True)
                lines.append(line)
            print(f"  ({time.monotonic() - started:.0f} s)", flush=True)
            out[:] = shortened(lines, found.shown)
        return block[0].replace(block["body"], str(found))

    return BLOCK.sub(typed, text)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.tutorial", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", metavar="DATA", help="the sales: CSV, Excel or Parquet")
    parser.add_argument("--list", action="store_true", help="only list the commands")
    given = parser.parse_args()
    text = TUTORIAL.read_text()
    if given.list:
        for block in BLOCK.finditer(text):
            if block["kind"] == "console":
                print("\n".join(command for command, _ in Typed.of(block["body"], None).commands))
        return
    started = time.monotonic()
    TUTORIAL.write_text(recorded(text, given.data, Shell()))
    print(f"all of it took {(time.monotonic() - started) / 60:.1f} minutes", file=sys.stderr)


if __name__ == "__main__":
    main()
