"""Files that a function cannot write again lose the rows of forgotten people, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from contracts.forgotten import Forgotten, digest

KEY = "3c" * 32
GONE = "jané doe"
HEADER = "user_id,item_id,timestamp\n"
TEXT = f'{HEADER}u1,a,1\n{GONE},a,2\n"{GONE}","a,b",3\nu2,{GONE},4\n {GONE} ,b,5\nx,{GONE},1,2,3\nu3,b,6\n'
KEPT = f"{HEADER}u1,a,1\nu2,{GONE},4\nu3,b,6\n"


@pytest.fixture
def erase(spark: Any, tmp_path: Path) -> Any:
    import erasing

    def run(files: dict[str, str | None], *people: str) -> Any:
        forgotten = Forgotten(KEY, frozenset(digest(KEY, user) for user in people))
        (tmp_path / "forgotten.json").write_text(json.dumps(forgotten.to_document()))
        wanted = {
            "schemaVersion": "1.0",
            "files": [{"path": path, "userColumn": named} for path, named in files.items()],
        }
        (tmp_path / "wanted.json").write_text(json.dumps(wanted))
        places = {"--erase": "wanted.json", "--receipt": "done.json", "--drops": "raw", "--forgotten": "forgotten.json"}
        words = [word for option, name in places.items() for word in (option, str(tmp_path / name))]
        assert erasing.main(words) == 0
        return json.loads((tmp_path / "done.json").read_text())["files"]

    return run


def test_parquet_and_zstd_lose_the_rows_and_keep_the_others(erase: Any, tmp_path: Path) -> None:
    drop = tmp_path / "raw" / "d"
    drop.mkdir(parents=True)
    table = pyarrow.table(
        {"Kunde": ["u1", GONE, None, f" {GONE}"], "item_id": ["a", "b", GONE, "c"], "n": [1, 2, 3, 4]}
    )
    pyarrow.parquet.write_table(table, drop / "a.parquet")
    numbers = pyarrow.table({"user_id": [7.0, 8.0, None], "item_id": [1, 2, 7], "timestamp": [1, 2, 3]})
    pyarrow.parquet.write_table(numbers, drop / "n.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"x": ["u1"], "y": ["a"]}), drop / "odd.parquet")
    lines = json.dumps({"user_id": GONE, "item_id": "a", "timestamp": 1}) + '\n{"user_id": "u1", "item_id": "b"}\n'
    for name, text in (("b.csv.zst", TEXT), ("c.jsonl.zst", lines)):
        with pyarrow.output_stream(str(drop / name), compression="zstd") as stream:
            stream.write(text.encode())
    (drop / "broken.parquet").write_bytes(b"PAR1")
    found = erase(
        {"d/a.parquet": "Kunde", "d/n.parquet": None, "d/b.csv.zst": None, "d/c.jsonl.zst": None, "d/odd.parquet": None,
         "d/broken.parquet": None}, GONE, "7",
    )  # fmt: skip
    assert found == [
        {"path": "d/a.parquet", "rows": 4, "removed": 2},
        {"path": "d/n.parquet", "rows": 3, "removed": 1},
        {"path": "d/b.csv.zst", "rows": 8, "removed": 4},
        {"path": "d/c.jsonl.zst", "rows": 2, "removed": 1},
        {"path": "d/odd.parquet", "problem": "is not sure to have a column of users"},
        {"path": "d/broken.parquet", "problem": "cannot be read as rows"},
    ]
    left = pyarrow.parquet.read_table(drop / "a.parquet")
    assert left.to_pydict() == {"Kunde": ["u1", None], "item_id": ["a", GONE], "n": [1, 3]}
    assert pyarrow.parquet.read_table(drop / "n.parquet").to_pydict()["user_id"] == [8.0, None]
    with pyarrow.input_stream(str(drop / "b.csv.zst"), compression="zstd") as stream:
        assert stream.read().decode() == KEPT
    names = sorted(path.name for path in drop.iterdir() if not path.name.endswith(".crc"))
    assert names == ["a.parquet", "b.csv.zst", "broken.parquet", "c.jsonl.zst", "n.parquet", "odd.parquet"]


def test_files_in_latin_1_lose_the_rows_too_and_keep_their_bytes(erase: Any, tmp_path: Path) -> None:
    drop = tmp_path / "raw" / "d"
    drop.mkdir(parents=True)
    contents = {
        "windows.csv.zst": TEXT.encode("latin-1").replace(b"\n", b"\r\n"),
        "late.csv.zst": HEADER.encode() + b"u1,a,1\n" * 12_000 + f"{GONE},a,2\n".encode("latin-1"),
        "returns.csv.zst": f"{HEADER}u1,a,1\n{GONE},a,2\n".encode().replace(b"\n", b"\r"),
    }
    for name, content in contents.items():
        with pyarrow.output_stream(str(drop / name), compression="zstd") as stream:
            stream.write(content)
    clock = pyarrow.array([1, 2], pyarrow.int64()).cast(pyarrow.time64("us"))
    odd = pyarrow.table({"user_id": [GONE, "u1"], "item_id": ["a", "b"], "timestamp": [1, 2], "clock": clock})
    pyarrow.parquet.write_table(odd, drop / "clock.parquet")
    assert erase(dict.fromkeys([*(f"d/{name}" for name in contents), "d/clock.parquet"]), GONE) == [
        {"path": "d/windows.csv.zst", "rows": 8, "removed": 4},
        {"path": "d/late.csv.zst", "rows": 12_002, "removed": 1},
        {"path": "d/returns.csv.zst", "problem": "has lines that end with a carriage return alone"},
        {"path": "d/clock.parquet", "problem": "has a column of a type that Spark cannot write again"},
    ]
    with pyarrow.input_stream(str(drop / "windows.csv.zst"), compression="zstd") as stream:
        assert stream.read() == KEPT.encode("latin-1").replace(b"\n", b"\r\n")
