"""`python -m benchmarks.training --data FOLDER [table …]`: print the named tables, or all of them."""

import argparse
import sys
from pathlib import Path

from rich.progress import Progress

from benchmarks import command
from benchmarks.training import split, tables


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with MovieLens-1M in the split of He et al. 2017"
    )
    parser.add_argument("names", nargs="*", metavar="|".join(tables.TABLES))
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in tables.TABLES]:
        parser.error(f"there is no table {unknown[0]}; there are {', '.join(tables.TABLES)}")
    try:
        split.load(arguments.data)
    except (split.NoSplit, OSError, ValueError) as error:
        parser.error(str(error))
    console = command.begin(width=140)
    for name in arguments.names or tables.TABLES:
        with Progress(console=console, transient=True) as progress:
            table = tables.TABLES[name](arguments.data, progress)
        console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
