"""`python -m benchmarks [gate|scoring|preparation|recommend]`: print the named tables, or all of them."""

import argparse

from benchmarks import command, gate, preparation, recommend, scoring

BENCHMARKS = {
    "gate": gate.table,
    "scoring": scoring.table,
    "preparation": preparation.table,
    "recommend": recommend.table,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], metavar="|".join(BENCHMARKS))
    names = parser.parse_args().names or list(BENCHMARKS)
    console = command.begin()
    for name in names:
        console.print(BENCHMARKS[name]())
