"""`python -m delivery.assembly` writes the generated files; with `--check` it writes nothing, names those that are not
current, and exits with 1 if there are any."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from delivery.assembly import template
from delivery.assembly.text import SourceError

ROOT = Path(__file__).resolve().parents[2]
GENERATED = {"template.yaml": template.assemble}
"""Path of each generated file → the function that returns its text for a repository's root."""


def main(root: Path = ROOT, arguments: list[str] | None = None) -> int:
    """Write or check every generated file below `root`; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m delivery.assembly", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file is not current")
    check = parser.parse_args(arguments).check
    stale = []
    for name, assemble in GENERATED.items():
        path, text = root / name, assemble(root)
        if not path.exists() or path.read_text("utf-8") != text:
            stale.append(name)
            if not check:
                path.write_text(text, "utf-8")
    for name in stale:
        print(f"{name} is not current: run `make template`" if check else f"{name} written", file=sys.stderr)
    return 1 if check and stale else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SourceError as error:
        sys.exit(f"error: {error}")
