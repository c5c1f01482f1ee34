"""The neighbours of items in histories, counted in closed form; `ncf/models/cooccurrence.py` has the equations.

`beta` is the exponent of the popularity of a neighbour in the normalization, 0 to 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ncf.dataset import Dataset

BACKWARD = 0.5
"""Weight of the earlier of two neighbours for the later one, as a share of the other direction."""
LAST_ITEMS = 50
"""The last interactions of a user that have a part in the scores."""
_OCCURRENCES = 1 << 16
"""Maximum number of interactions that are counted together; of an item with more, evenly spaced ones are counted."""


def neighbours_of(dataset: Dataset, window: int, number: int, beta: float) -> dict[str, NDArray[Any]]:
    """Return the neighbours of each item, at most `number`: `neighbour_indptr` [items + 1], `neighbours` and their
    `weights` [neighbours of all items].
    """
    found = list(_neighbours(dataset, window, number, beta))
    return {
        "neighbour_indptr": np.concatenate([[0], np.cumsum(np.concatenate([sizes for sizes, _, _ in found]))]),
        "neighbours": np.concatenate([items for _, items, _ in found]),
        "weights": np.concatenate([weights for _, _, weights in found]),
    }


def last_interactions(
    dataset: Dataset, number: int = LAST_ITEMS
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.uint8]]:
    """Return boundaries [users + 1], items, and numbers of later interactions, of each user's `number` last ones, at
    most 255.
    """
    history, train = dataset.history, dataset.train
    end = train.indptr[train.user + 1]  # [pairs in train]
    visit = np.cumsum(~history.is_tied) - 1
    visit_end = np.append(np.flatnonzero(~history.is_tied)[1:], len(train))
    kept = np.flatnonzero(end - np.arange(len(train)) <= number)
    indptr = np.searchsorted(kept, train.indptr)
    return indptr, history.item[kept], (end[kept] - visit_end[visit[kept]]).astype(np.uint8)


def _neighbours(
    dataset: Dataset, window: int, number: int, beta: float
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]]:
    """Yield the neighbours of some items after those before: how many each has, which, and their weights."""
    history, user, items = dataset.history, dataset.train.user, dataset.items
    visit = np.cumsum(~history.is_tied)  # [pairs in train]
    by_item = np.argsort(history.item, kind="stable")
    begin = np.searchsorted(history.item, np.arange(items + 1), sorter=by_item)
    size = np.diff(begin)  # [items]
    # The weight of a neighbour is looked up by the last digits of its key.
    distance = np.arange(1, window + 1)
    table = np.concatenate([[1.0], 1.0 / distance, BACKWARD / distance])
    penalty = (size + 1.0) ** -beta  # [items]
    for first, last in _groups(np.minimum(size, _OCCURRENCES)):
        places = [_spaced(by_item[begin[item] : begin[item + 1]]) for item in range(first, last)]
        counted = np.array([place.size for place in places])
        row = np.repeat(np.arange(last - first), counted)  # [occurrences]
        place = np.concatenate(places)
        keys = []
        for code in range(1, 2 * window + 1):
            step = code if code <= window else window - code
            other = np.clip(place + step, 0, user.size - 1)
            is_own = np.flatnonzero((user[other] == user[place]) & (other == place + step))
            codes = np.where(visit[other[is_own]] == visit[place[is_own]], 0, code)
            keys.append((row[is_own] * items + history.item[other[is_own]]) * table.size + codes)
        cell, value = _summed(np.concatenate(keys), table)
        row, item = np.divmod(cell, items)
        # The counted interactions of an item stand for all of them.
        scale = size[first:last] / np.maximum(counted, 1) * (size[first:last] + 1.0) ** (beta - 1)
        value *= scale[row] * penalty[item]
        kept = _greatest(np.searchsorted(row, np.arange(last - first + 1)), value, number)
        sizes = np.bincount(row[kept], minlength=last - first)
        yield sizes, item[kept].astype(np.int32), value[kept].astype(np.float32)


def _groups(sizes: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield the first and the end of groups of consecutive items with at most _OCCURRENCES interactions together."""
    total = np.cumsum(sizes)
    first = 0
    while first < sizes.size:
        before = total[first] - sizes[first]
        last = max(first + 1, int(np.searchsorted(total, before + _OCCURRENCES, side="right")))
        yield first, last
        first = last


def _spaced(places: NDArray[np.int64]) -> NDArray[np.int64]:
    if places.size <= _OCCURRENCES:
        return places
    return places[np.arange(_OCCURRENCES) * places.size // _OCCURRENCES]


def _summed(keys: NDArray[np.int64], table: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the distinct keys without their last digit, ascending, and the sum of `table` at the digits of each."""
    keys.sort()
    cell, code = np.divmod(keys, table.size)
    first = np.flatnonzero(np.diff(cell, prepend=-1))
    sums = np.add.reduceat(table[code], first) if first.size else np.empty(0)
    return cell[first], sums


def _greatest(indptr: NDArray[np.int64], values: NDArray[np.float64], number: int) -> NDArray[np.int64]:
    """Return the places of the `number` greatest values of each row, ascending."""
    is_kept = np.ones(values.size, dtype=bool)
    for row in np.flatnonzero(np.diff(indptr) > number):
        own = slice(indptr[row], indptr[row + 1])
        is_kept[own] = False
        is_kept[indptr[row] + np.argpartition(-values[own], number)[:number]] = True
    return np.flatnonzero(is_kept)
