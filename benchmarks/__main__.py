"""Tables of the benchmarks named, or of all: `python -m benchmarks [gate|scoring|histories|preparation|recommend|
events|trials|outcomes|counts]`.

`python -m benchmarks protocol --data <file>` compares protocols on real interactions.
`python -m benchmarks coming --referee <file>` measures what models foresee, by the rules and data of a referee.
`python -m benchmarks search --dataset <folder> --budget 3m` measures what a search of hyperparameters is worth.
`python -m benchmarks new-items --data ../shared/data` measures what items without interactions get.
`python -m benchmarks shop --rows 1000000` measures a whole training job on a generated shop.
`.envs/browser/bin/python -m benchmarks.console` measures how quickly the pages of the console are drawn;
`benchmarks.console_scale` with 10,000 runs and a million items.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from rich.console import RenderableType

from benchmarks import (
    coming,
    command,
    counts,
    events,
    gate,
    histories,
    new_items,
    outcomes,
    preparation,
    protocol,
    recommend,
    scoring,
    searched,
    trials,
)
from benchmarks.training import shop

BENCHMARKS: dict[str, Callable[[], RenderableType]] = {
    "gate": gate.tables,
    "scoring": scoring.table,
    "histories": histories.table,
    "preparation": preparation.table,
    "recommend": recommend.table,
    "events": events.table,
    "trials": trials.tables,
    "outcomes": outcomes.table,
    "counts": counts.table,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        choices=[[], *BENCHMARKS, "protocol", "coming", "new-items", "shop", "search"],
        metavar="|".join(BENCHMARKS),
    )
    parser.add_argument(
        "--data", type=Path, help="protocol: csv (.gz) or Parquet file with real times; new-items: the folder"
    )
    parser.add_argument("--columns", default="user_id,item_id,timestamp", help="protocol: of user, item and time")
    parser.add_argument("--moments", type=int, default=6, help="protocol: how many; each adds minutes")
    parser.add_argument("--days", type=int, default=30, help="protocol: days after each moment that are the truth")
    parser.add_argument(
        "--referee", type=Path, help="coming: the referee's file, such as ../shared/tools/time_ordered.py"
    )
    parser.add_argument("--sets", default=",".join(coming.SETS), help="coming: data sets of the referee")
    parser.add_argument("--seeds", type=int, default=1, help="coming: trainings of neumf; search: searches")
    parser.add_argument("--back", type=int, default=1, help="coming: 2 holds out the last item but one, for choices")
    parser.add_argument("--rows", default="1000000", help="shop: numbers of interactions, as 1000000,5000000")
    parser.add_argument("--dataset", type=Path, help="search: a dataset folder, which has a manifest.json")
    parser.add_argument("--models", default="neumf,als,cooccurrence", help="search: kinds of models")
    parser.add_argument("--budget", default="3m", help="search: processor time of each search")
    options = parser.parse_args()
    columns = tuple(options.columns.split(","))
    if "protocol" in options.names and (options.data is None or len(columns) != 3):
        parser.error("protocol needs --data FILE, and three names in --columns")
    if "new-items" in options.names and options.data is None:
        parser.error("new-items needs --data FOLDER")
    if "coming" in options.names and options.referee is None:
        parser.error("coming needs --referee FILE")
    if "search" in options.names and options.dataset is None:
        parser.error("search needs --dataset FOLDER")
    console = command.begin(200 if {"coming", "search", "trials"} & set(options.names) else None)
    for name in options.names or BENCHMARKS:
        if name == "protocol":
            console.print(protocol.table(options.data, columns, options.moments, options.days))
        elif name == "search":
            console.print(searched.table(options.dataset, options.models.split(","), options.budget, options.seeds))
        elif name == "new-items":
            console.print(new_items.table(options.data))
        elif name == "shop":
            console.print(shop.table(int(rows) for rows in options.rows.split(",")))
        elif name == "coming":
            console.print(coming.table(options.referee, options.sets.split(","), options.seeds, options.back))
        else:
            console.print(BENCHMARKS[name]())
