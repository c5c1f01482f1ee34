"""What pairs are worth, as weights of a model's data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GREATEST_RATIO = 1000.0
"""A pair counts as worth at most so many times the median, and at least the median divided by it."""


def relative(worth: NDArray[np.float32], power: float) -> NDArray[np.float32] | None:
    """Return (worth / median)^power for each pair; None if all are 1, because all are worth the same or `power` is 0.

    `worth` is finite and above 0, as in `ncf.dataset.Dataset`.
    """
    if power == 0 or not worth.size or bool((worth == worth[0]).all()):
        return None
    ratio = worth.astype(np.float64) / np.median(worth.astype(np.float64))
    found: NDArray[np.float32] = (np.clip(ratio, 1 / GREATEST_RATIO, GREATEST_RATIO) ** power).astype(np.float32)
    return found
