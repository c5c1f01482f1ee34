"""The preparation on Spark, compared with DuckDB at two sizes. The growth of the cost matters more than the cost.

DuckDB does the core of the work (latest row of each pair, dense indices, leave-last-out split, Parquet). Spark does the
same and the rest of `emr/preprocess.py` (validation, quarantine, hashes, manifest), and its time includes the start of
the JVM. Every run is a separate process; the runs of the sizes alternate.
"""

import csv
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.progress import track
from rich.table import Table

PROJECT_ROOT = Path(__file__).resolve().parent.parent
SIZES, REPEATS = (100_000, 1_000_000), 3
VERSION = "v20260101t000000z-00000000"
JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
SUBMIT = f"--master local[2] --driver-memory 2g --driver-java-options '{JVM}' pyspark-shell"
DUCKDB = """
import duckdb, sys
source, target = sys.argv[1:]
con = duckdb.connect(config={"threads": 2})
con.execute(f'''
create table latest as select user_id, item_id, max(timestamp) as timestamp from read_csv('{source}', all_varchar=true) group by all;
create table users as select user_id, row_number() over (order by user_id) - 1 as user_index from (select distinct user_id from latest);
create table items as select item_id, row_number() over (order by item_id) - 1 as item_index from (select distinct item_id from latest);
create table placed as select user_index, item_index, timestamp::bigint as timestamp,
    row_number() over (partition by user_index order by timestamp::bigint desc, item_id desc) as place
    from latest join users using (user_id) join items using (item_id);
copy (select * exclude place from placed where place > 1 order by user_index, timestamp, item_index) to '{target}/train.parquet';
copy (select * exclude place from placed where place = 1 order by user_index) to '{target}/test.parquet';
copy users to '{target}/users.parquet';
copy items to '{target}/items.parquet';
copy (select item_index, count(*) as n from placed where place > 1 group by 1 order by 2 desc, 1) to '{target}/popularity.parquet';
''')
"""  # noqa: E501


def interactions(path: Path, rows: int) -> None:
    """Write a generated CSV of `rows` interactions: uniform users, and items of different popularity. No randomness
    between runs.
    """
    generator = random.Random(rows)
    users, items = rows // 50, rows // 100
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["user_id", "item_id", "timestamp"])
        for _ in range(rows):
            item = int(items * generator.random() ** 2)
            writer.writerow([f"u{generator.randrange(users)}", f"p{item}", 1_700_000_000 + generator.randrange(10**7)])


def seconds(*command: str) -> float:
    environment = os.environ | {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_SUBMIT_ARGS": SUBMIT}
    started = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, env=environment, capture_output=True)
    return time.perf_counter() - started


def spark(source: Path, target: Path) -> float:
    output, quarantine = str(target / "datasets"), str(target / "quarantine")
    arguments = ["--source", str(source.parent), "--output", output, "--quarantine", quarantine]
    return seconds(
        str(PROJECT_ROOT / "emr" / "preprocess.py"), *arguments, "--dataset-version", VERSION, "--code-version", "bench"
    )


def table() -> Table:
    """Return a table with one row per size: the median seconds of both, and their ratio."""
    result = Table(title=f"Preparation, 2 threads, median of {REPEATS} runs, process start included")
    for heading in ("rows", "DuckDB s", "Spark s", "ratio", "Spark µs a row"):
        result.add_column(heading, justify="right")
    with tempfile.TemporaryDirectory() as folder:
        sources = {}
        for rows in SIZES:
            sources[rows] = Path(folder) / str(rows) / "interactions.csv"
            sources[rows].parent.mkdir()
            interactions(sources[rows], rows)
        peer: dict[int, list[float]] = {rows: [] for rows in SIZES}
        ours: dict[int, list[float]] = {rows: [] for rows in SIZES}
        for number, rows in track(
            [(number, rows) for number in range(REPEATS) for rows in SIZES], "preparation", transient=True
        ):
            target = Path(folder) / f"run-{number}-{rows}"
            target.mkdir()
            peer[rows].append(seconds("-c", DUCKDB, str(sources[rows]), str(target)))
            ours[rows].append(spark(sources[rows], target))
        for rows in SIZES:
            a, b = statistics.median(peer[rows]), statistics.median(ours[rows])
            result.add_row(f"{rows:,}", f"{a:.1f}", f"{b:.1f}", f"{b / a:.1f}x", f"{b / rows * 1e6:.0f}")
    return result
