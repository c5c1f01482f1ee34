"""MovieLens-1M in the split of He et al. 2017: each user's last interaction is the test item, with 99 given negatives.

The folder has one of two pairs of files: `interactions.csv.gz` (user_id, item_id, timestamp; all interactions) and
`leave_one_out_test.csv.gz` (user_id, item_id, negative_1 … negative_99), or the authors' `ml-1m.train.rating` and
`ml-1m.test.negative` (https://github.com/hexiangnan/neural_collaborative_filtering, folder Data).

In the authors' file, 156 users have their test item among their negatives. The authors' program removes duplicates, so
this negative is left out here too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.csv as csv
import torch
from numpy.typing import NDArray

from ncf.dataset import Dataset, Pairs

FORMS = (
    ("interactions.csv.gz", "leave_one_out_test.csv.gz"),
    ("ml-1m.train.rating", "ml-1m.test.negative"),
)


class NoSplit(Exception):
    """The folder does not have the split; the message names the expected files."""


@dataclass(frozen=True)
class Split:
    """The dataset, and the negatives of each test user [test users, 99], -1 for a negative that is left out."""

    dataset: Dataset
    negatives: torch.Tensor


def load(folder: Path) -> Split:
    """Read the split in `folder`. Raises NoSplit if files are missing or do not fit together."""
    for names, read in zip(FORMS, (_ours, _authors), strict=True):
        if all((folder / name).is_file() for name in names):
            return read(*(folder / name for name in names))
    wanted = " or ".join(" and ".join(names) for names in FORMS)
    raise NoSplit(
        f"{folder} has neither {wanted}; the second pair is that of the paper, see benchmarks/training/split.py"
    )


def _ours(interactions: Path, test: Path) -> Split:
    table, held = csv.read_csv(interactions), csv.read_csv(test)
    user, item = table["user_id"].to_numpy(), table["item_id"].to_numpy()
    test_user, test_item = held["user_id"].to_numpy(), held["item_id"].to_numpy()
    negatives = np.stack([held[f"negative_{number}"].to_numpy() for number in range(1, 100)], axis=1)
    is_test = np.isin(_key(user, item), _key(test_user, test_item))
    return _split(user[~is_test], item[~is_test], test_user, test_item, negatives)


def _authors(train: Path, test: Path) -> Split:
    rows = np.loadtxt(train, dtype=np.int64, delimiter="\t", usecols=(0, 1))
    lines = [line.split("\t") for line in test.read_text().splitlines() if line.strip()]
    pairs = np.array([line[0].strip("()").split(",") for line in lines], dtype=np.int64)
    negatives = np.array([line[1:] for line in lines], dtype=np.int64)
    return _split(rows[:, 0], rows[:, 1], pairs[:, 0], pairs[:, 1], negatives)


def _key(user: NDArray[np.int64], item: NDArray[np.int64]) -> NDArray[np.int64]:
    return user.astype(np.int64) << 32 | item.astype(np.int64)


def _split(
    user: NDArray[np.int64],
    item: NDArray[np.int64],
    test_user: NDArray[np.int64],
    test_item: NDArray[np.int64],
    negatives: NDArray[np.int64],
) -> Split:
    user_ids, item_ids = np.unique(user), np.unique(np.concatenate([item, test_item]))
    for name, values, known in (("user", test_user, user_ids), ("negative", negatives, item_ids)):
        if not np.isin(values, known).all():
            raise NoSplit(f"the test set has a {name} that no interaction has")
    order = np.argsort(test_user)
    test_user, test_item, negatives = test_user[order], test_item[order], negatives[order]
    users, items = user_ids.size, item_ids.size
    train = Pairs.of(np.searchsorted(user_ids, user), np.searchsorted(item_ids, item), users, items)
    test = Pairs.of(np.searchsorted(user_ids, test_user), np.searchsorted(item_ids, test_item), users, items)
    given = np.where(negatives == test_item[:, None], -1, np.searchsorted(item_ids, negatives))
    dataset = Dataset(
        version="ml-1m",
        fingerprint="",
        user_ids=[str(user) for user in user_ids],
        item_ids=[str(item) for item in item_ids],
        train=train,
        test=test,
        popularity=np.bincount(train.item, minlength=items),
        latest=np.full(users, -1),
    )
    return Split(dataset, torch.as_tensor(given))
