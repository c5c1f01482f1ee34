"""`python -m benchmarks.serving [table …]`: print the named tables of the model server, or all of them."""

import argparse
import sys

from rich.progress import Progress

from benchmarks import command
from benchmarks.serving import tables


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument(
        "--seconds", type=int, default=tables.SECONDS, help="duration of the table rate (default: %(default)s)"
    )
    parser.add_argument("names", nargs="*", metavar="|".join(tables.TABLES))
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in tables.TABLES]:
        parser.error(f"there is no table {unknown[0]}; there are {', '.join(tables.TABLES)}")
    if arguments.seconds < 1:
        parser.error(f"--seconds must be at least 1, not {arguments.seconds}")
    console = command.begin(width=140)
    for name in arguments.names or tables.TABLES:
        with Progress(console=console, transient=True) as progress:
            made = tables.rate(progress, arguments.seconds) if name == "rate" else tables.TABLES[name](progress)
        console.print(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
