"""`python -m benchmarks [scoring|preparation|recommend]`: print the tables; all when none is named."""

import argparse
import os
import platform

from rich.console import Console

from benchmarks import preparation, recommend, scoring

BENCHMARKS = {"scoring": scoring.table, "preparation": preparation.table, "recommend": recommend.table}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], metavar="|".join(BENCHMARKS))
    names = parser.parse_args().names or list(BENCHMARKS)
    console = Console()
    console.print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    )
    for name in names:
        console.print(BENCHMARKS[name]())
