"""Reading a dataset that is split at one moment."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ncf import dataset_files
from ncf.dataset import BrokenDataset, Dataset, History, Pairs, Split
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
    assert loaded.learned_until == MOMENT
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
    loaded = dataclasses.replace(loaded, is_bought=np.array([False, True, False, True]))
    everything = loaded.everything()
    others = [(U, A), (U, B), (U, C), (V, C), (W, A), (W, B)]
    bought = dict(zip(pairs(everything), loaded.everything_bought(), strict=True))
    assert bought == {(V, B): False} | dict.fromkeys(others, True)


HOUR = 3600


def interactions(rows: list[tuple[int, int, int]]) -> Any:
    """A dataset by time from user, item and hour of each pair in train."""
    rows = sorted(rows, key=lambda row: (row[0], row[2]))
    user, item, hour = (np.array(column) for column in zip(*rows, strict=True))
    users, items = int(user.max()) + 1, int(item.max()) + 1
    tied = (np.diff(user, prepend=-1) == 0) & (np.diff(hour, prepend=-1) == 0)
    return Dataset(
        "v", "f", [f"u{index}" for index in range(users)], [f"i{index}" for index in range(items)],
        Pairs.of(user, item, users, items), Pairs.none(users), np.bincount(item, minlength=items),
        np.full(users, -1), split=Split("global-time", 1_000 * HOUR),
        history=History(item.astype(np.int32), tied, hour.astype(np.int32)),
    )  # fmt: skip


def pairs(found: Pairs) -> list[tuple[int, int]]:
    return list(zip(found.user.tolist(), found.item.tolist(), strict=True))


def test_a_dataset_by_time_is_split_again_at_a_moment() -> None:
    old = [(user, item, user * 30 + item) for user in range(4) for item in range(10)]
    cut = interactions([*old, (0, 10, 500), (4, 1, 500), (4, 11, 600)]).split_again()
    assert pairs(cut.test) == [(4, 1)], "of a new user; nothing of u0, because the rest has neither i10 nor i11"
    assert cut.split == Split("global-time", 500 * HOUR)
    assert pairs(cut.train) == [(user, item) for user in range(4) for item in range(10)]
    assert cut.popularity.tolist() == [4] * 10 + [0, 0]
    assert cut.latest.tolist() == [9, 9, 9, 9, -1]
    assert cut.recent[7].sum() == 40, "of 168 hours before the newest one of the rest"


def test_a_repeated_pair_of_the_newest_part_is_in_neither_part() -> None:
    data = interactions([*[(user, item, item) for user in range(4) for item in range(10)], (0, 10, 3), (1, 10, 500)])
    events = np.where((data.train.user == 1) & (data.train.item == 10), 2, 1).astype(np.int32)
    with pytest.raises(BrokenDataset, match="no new pair of known items"):
        dataclasses.replace(data, events=events).split_again()
    assert pairs(data.split_again().test) == [(1, 10)]


def test_what_cannot_be_split_again_is_refused() -> None:
    with pytest.raises(BrokenDataset, match="one hour"):
        interactions([(0, 0, 5), (0, 1, 5), (1, 0, 5)]).split_again()


def test_without_times_it_is_split_by_users(by_time: Callable[..., Path]) -> None:
    data = dataset_files.load(by_time())
    assert data.history.hour.tolist() == [0, 0, 0, 0]
    with pytest.raises(BrokenDataset, match="one hour"):
        data.split_again()
    cut = dataclasses.replace(data, split=Split()).split_again()
    assert pairs(cut.test) == pairs(data.validation().test)


def test_the_history_of_a_part_keeps_what_is_one_visit() -> None:
    history = History(np.arange(6, dtype=np.int32), np.array([False, True, True, False, False, True]))
    part = history.at(np.array([False, True, True, True, False, True]))
    assert part.item.tolist() == [1, 2, 3, 5]
    assert part.is_tied.tolist() == [False, True, False, False], "i5 was with i4, which is gone"
    assert part.hour.size == 0
