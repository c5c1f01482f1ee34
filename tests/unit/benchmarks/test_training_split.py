"""The two file formats of the paper's split give the same result; a negative that equals the test item is left out."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from benchmarks.training import split

TRAIN = [(1, 10), (1, 11), (2, 11), (2, 12), (3, 10)]
TEST = {1: 12, 2: 10, 3: 11}


def negatives(user: int) -> list[int]:
    return [TEST[user] if user == 2 and number == 1 else 13 + number % 2 for number in range(99)]


def ours(folder: Path) -> Path:
    rows = [*TRAIN, *TEST.items(), (1, 13), (1, 14)]
    lines = ["user_id,item_id,timestamp", *(f"{user},{item},{place}" for place, (user, item) in enumerate(rows))]
    with gzip.open(folder / "interactions.csv.gz", "wt") as file:
        file.write("\n".join(lines) + "\n")
    names = ",".join(f"negative_{number}" for number in range(1, 100))
    lines = [f"user_id,item_id,{names}"]
    lines += [",".join(map(str, [user, item, *negatives(user)])) for user, item in TEST.items()]
    with gzip.open(folder / "leave_one_out_test.csv.gz", "wt") as file:
        file.write("\n".join(lines) + "\n")
    return folder


def authors(folder: Path) -> Path:
    rows = [*TRAIN, (1, 13), (1, 14)]
    (folder / "ml-1m.train.rating").write_text("".join(f"{user}\t{item}\t5\t978300000\n" for user, item in rows))
    lines = ["\t".join([f"({user},{item})", *map(str, negatives(user))]) for user, item in TEST.items()]
    (folder / "ml-1m.test.negative").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize("form", [ours, authors])
def test_the_split_is_read(form: Any, tmp_path: Path) -> None:
    loaded = split.load(form(tmp_path))
    dataset = loaded.dataset
    assert dataset.user_ids == ["1", "2", "3"]
    assert dataset.item_ids == ["10", "11", "12", "13", "14"]
    pairs = {(int(user) + 1, int(item) + 10) for user, item in zip(dataset.train.user, dataset.train.item, strict=True)}
    assert pairs == {*TRAIN, (1, 13), (1, 14)}
    assert [int(item) + 10 for item in dataset.test.item] == [12, 10, 11]
    assert dataset.popularity.sum() == len(dataset.train)
    assert loaded.negatives.shape == (3, 99)
    assert (loaded.negatives[1] == -1).nonzero().squeeze(1).tolist() == [1], "a user's own test item is no negative"
    assert set(loaded.negatives[0].tolist()) == {3, 4}


def test_a_folder_without_the_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(split.NoSplit, match=r"has neither interactions\.csv\.gz and leave_one_out_test\.csv\.gz"):
        split.load(tmp_path)
