"""`python -m delivery.assembly` writes every assembled file; with `--check` it writes nothing and exits with status 1
if one of them is not current."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from delivery import costs
from delivery.assembly import documents, files, machines, reference, template

ROOT = Path(__file__).resolve().parents[2]
# In this order: the template reads the definitions of the state machines, and costs and reference the template.
ASSEMBLIES = (machines.assemble, template.assemble, documents.assemble, costs.assemble, reference.assemble)


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Write or check the files below `root`; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m delivery.assembly", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with status 1 if a file is not current"
    )
    check = parser.parse_args(arguments).check
    outdated: list[str] = []
    for assemble in ASSEMBLIES:
        texts = assemble(root)
        outdated += files.outdated(root, texts) if check else files.write(root, texts)
    for path in outdated:
        if check:
            print(f"{path} is not current: run `make assemble`", file=sys.stderr)
        else:
            print(f"{path} written")
    return 1 if check and outdated else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except files.SourceError as error:
        sys.exit(str(error))
