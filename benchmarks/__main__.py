"""`python -m benchmarks [gate|scoring|preparation|recommend]`: print the named tables, or all of them.

`python -m benchmarks protocol --data <file>` compares protocols on real interactions.
"""

import argparse
from pathlib import Path

from benchmarks import command, gate, preparation, protocol, recommend, scoring

BENCHMARKS = {
    "gate": gate.table,
    "scoring": scoring.table,
    "preparation": preparation.table,
    "recommend": recommend.table,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS, "protocol"], metavar="|".join(BENCHMARKS))
    parser.add_argument("--data", type=Path, help="protocol: csv (.gz) or Parquet file with real times")
    parser.add_argument("--columns", default="user_id,item_id,timestamp", help="protocol: of user, item and time")
    parser.add_argument("--moments", type=int, default=6, help="protocol: how many; each adds minutes")
    parser.add_argument("--days", type=int, default=30, help="protocol: days after each moment that are the truth")
    options = parser.parse_args()
    columns = tuple(options.columns.split(","))
    if "protocol" in options.names and (options.data is None or len(columns) != 3):
        parser.error("protocol needs --data FILE, and three names in --columns")
    console = command.begin()
    for name in options.names or BENCHMARKS:
        if name == "protocol":
            console.print(protocol.table(options.data, columns, options.moments, options.days))
        else:
            console.print(BENCHMARKS[name]())
