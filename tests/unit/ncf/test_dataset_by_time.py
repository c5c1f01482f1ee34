"""Reading a dataset that is split at one moment."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ncf import dataset_files
from ncf.dataset import BrokenDataset, Split
from tests.unit.ncf.datasets import write_manifest
from tests.unit.ncf.test_dataset_files import ROWS, edit

MOMENT = 1_000
U, V, W = 0, 1, 2
A, B, C = 0, 1, 2


@pytest.fixture
def dataset(tmp_path: Path, write: Callable[..., Path]) -> Path:
    return write(tmp_path / "dataset", ROWS)


@pytest.fixture
def by_time(dataset: Path, table: Callable[..., pa.Table]) -> Callable[..., Path]:
    """Replaces the tables of `dataset`: u has a and b, v has b and c; w is new, and u takes c and again a."""

    def make(
        train: Any = ((U, A, 1), (U, B, 999), (V, B, 3), (V, C, 4)),
        test: Any = ((U, C, 1_000), (W, A, 2_000), (W, B, 2_000)),
        repeats: Any = ((U, A, 1_500),),
        moment: Any = MOMENT,
        protocol: str = "global-time",
    ) -> Path:
        popularity = np.bincount([row[1] for row in train], minlength=3)
        tables = {name: table([(*row, 1.0) for row in rows]) for name, rows in
                  (("train", train), ("test", test), ("repeats", repeats))}  # fmt: skip
        tables["popularity"] = pa.table(
            {"item_index": pa.array(range(3), pa.int32()), "interactions": pa.array(popularity, pa.int64())}
        )
        for folder, rows in tables.items():
            (dataset / folder).mkdir(exist_ok=True)
            pq.write_table(rows, dataset / folder / "part-00000.parquet")
        write_manifest(dataset)
        edit(dataset, lambda m: m.update(split={"protocol": protocol, "moment": moment, "seed": 1}))
        return dataset

    return make


def test_reads_a_dataset_split_at_one_moment(by_time: Callable[..., Path]) -> None:
    loaded = dataset_files.load(by_time())
    assert loaded.split == Split("global-time", MOMENT, 1)
    assert list(zip(loaded.test.user, loaded.test.item, strict=True)) == [(U, C), (W, A), (W, B)]
    assert list(zip(loaded.repeats.user, loaded.repeats.item, strict=True)) == [(U, A)]
    assert loaded.test.indptr.tolist() == [0, 1, 1, 3]
    validation = loaded.validation()
    assert (validation.split.protocol, len(validation.repeats)) == ("leave-last-out", 0)
    assert validation.test.user.size == np.unique(validation.test.user).size


def test_a_dataset_by_time_needs_no_repeats(by_time: Callable[..., Path]) -> None:
    path = by_time(repeats=())
    (path / "repeats" / "part-00000.parquet").unlink()
    write = json.loads((path / "manifest.json").read_text())
    write["files"] = [file for file in write["files"] if not file["path"].startswith("repeats/")]
    write["counts"].pop("repeats")
    (path / "manifest.json").write_text(json.dumps(write))
    assert len(dataset_files.load(path).repeats) == 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"test": ((U, C, 999), (W, A, 1))},
            "test/: has 2 interactions that are older than the moment of the split, 1000",
        ),
        ({"test": ((U, C, 1), (W, A, 1), (W, B, 1))}, "test/: has 3 interactions that are older"),
        ({"repeats": ((U, A, 5),)}, "repeats/: has 1 interactions that are older than the moment of the split"),
        (
            {"train": ((U, A, 1), (U, B, 1000), (V, B, 3))},
            "train/: has 1 interactions at or after the moment of the split",
        ),
        ({"repeats": ((V, A, 1_500),)}, "repeats/: has 1 interactions that are not in train: they belong to test"),
        ({"test": ((U, A, 1_500),)}, "test/: has 1 interactions that are also in train"),
        ({"test": ((W, A, 1_500), (W, A, 1_600))}, r"test/: has a \(user, item\) more than once"),
        ({"test": ()}, "test/: has no interaction"),
        ({"protocol": "leave-last-out", "moment": None}, "test/: has more than one interaction of a user"),
        (
            {"protocol": "leave-last-out", "moment": None, "test": ((U, C, 1_000),)},
            "repeats/: has 1 interactions, but the split is leave-last-out",
        ),
    ],
)
@pytest.mark.fault("D22")
def test_a_dataset_by_time_that_would_mislead_is_refused(
    changed: dict[str, Any], message: str, by_time: Callable[..., Path]
) -> None:
    path = by_time(**changed)
    with pytest.raises(BrokenDataset, match=message):
        dataset_files.load(path)


def test_a_pair_was_bought_unless_all_that_is_known_of_it_are_other_events(by_time: Callable[..., Path]) -> None:
    loaded = dataset_files.load(by_time())
    assert loaded.everything_bought().tolist() == [True] * 7
    # In train a, b of u and b, c of v: u bought b, v bought c. u takes a again after the moment, nobody knows how.
    loaded = replace(loaded, is_bought=np.array([False, True, False, True]))
    pairs = loaded.everything()
    others = [(U, A), (U, B), (U, C), (V, C), (W, A), (W, B)]
    bought = dict(
        zip(zip(pairs.user.tolist(), pairs.item.tolist(), strict=True), loaded.everything_bought(), strict=True)
    )
    assert bought == {(V, B): False} | dict.fromkeys(others, True)
