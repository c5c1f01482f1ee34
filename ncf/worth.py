"""Weights of the pairs in a model's data, from what they are worth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ncf.dataset import Dataset

GREATEST_RATIO = 1000.0
"""A pair counts as worth at most so many times the median, and at least the median divided by it."""


def relative(dataset: Dataset, power: float) -> NDArray[np.float32] | None:
    """Return (worth / median)^power for each pair in train. None if all count the same: `power` is 0, all are worth the
    same, or the data say no more than how many events a pair has, which does not pay as a weight (decision 0039).
    """
    worth = dataset.worth.astype(np.float64)
    if power == 0 or not worth.size or bool((worth == worth[0]).all()) or np.array_equal(worth, dataset.events):
        return None
    ratio = worth / np.median(worth)
    found: NDArray[np.float32] = (np.clip(ratio, 1 / GREATEST_RATIO, GREATEST_RATIO) ** power).astype(np.float32)
    return found
