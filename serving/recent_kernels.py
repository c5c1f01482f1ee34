"""The loops of the recent part of a score, as defined in `ncf/recent.py`; `compiled` says how they are compiled.

numba infers the types of a loop from its arguments, so the loops have no annotations: this is the reason of every
`type: ignore` here.
"""

from __future__ import annotations

import numpy as np

from serving.compiled import compiled
from serving.vectors import BLOCK

_NO_TIMES = np.empty(0, np.float32)
_FEW = 4
"""So many neighbours of the last items are a few of the items: only their scores are turned into logarithms."""


def compile_all() -> None:
    """Compile every loop for its argument types, or load the saved code."""
    one, no_items = np.zeros(1, np.float32), np.empty(0, np.int64)
    index, bounds = np.zeros(1, np.int32), np.zeros(2, np.int64)
    stored, gains = (bounds, index, np.zeros(1, np.uint8), one), (np.float32(1), np.float32(1))
    recency(stored, (bounds, index, one), (one, one, one), gains, -1, no_items, no_items, one.copy())


@compiled
def recency(stored, neighbours, weights, gains, user, fresh, after, added):  # type: ignore[no-untyped-def]
    """Write what `ncf/recent.py` adds to the stored part into `added` [items], which holds zeros.

    Of the tensors of that module, `stored` is indptr, indices, later and often, `neighbours` is neighbour_indptr,
    neighbours and weights, and `weights` is fading, repeats and again. `gains` are both gains. `user` is -1 for a
    stranger. `fresh` and `after` (int64) are the items of the request, oldest first, and the number of interactions
    after each. An item counts at its last place, as often as it is there.
    """
    indptr, indices, later, often = stored
    begin, end = (indptr[user], indptr[user + 1]) if user >= 0 else (0, 0)
    fading, repeats, again = weights
    items, last, own = np.empty(fresh.size + end - begin, np.int64), 0, np.empty(fresh.size + end - begin, np.float32)
    ages = np.empty(items.size, np.int64)
    for place in range(fresh.size):
        item = fresh[place]
        if not _times(fresh[place + 1 :], _NO_TIMES, item) and after[place] < fading.size:
            times = 1 + _times(fresh[:place], _NO_TIMES, item) + _times(indices[begin:end], often[begin:end], item)
            items[last], ages[last], own[last] = item, after[place], times * repeats[after[place]] * again[item]
            last += 1
    for place in range(begin, end):
        item, age = indices[place], later[place] + fresh.size
        if age < fading.size and not _times(fresh, _NO_TIMES, item):
            items[last], ages[last], own[last] = item, age, often[place] * repeats[age] * again[item]
            last += 1
    _add_neighbours(neighbours, items[:last], fading[ages[:last]], gains[0], added)
    _log1p_times(gains[1], own[:last])
    for place in range(last):
        added[items[place]] += own[place]


@compiled
def _add_neighbours(neighbours, items, fades, gain, added):  # type: ignore[no-untyped-def]
    """Write gain · log(1 + x) into `added`, where x are the neighbours of the last items, each times its fading."""
    indptr, other, weights = neighbours
    cells = 0
    for place in range(items.size):
        cells += indptr[items[place] + 1] - indptr[items[place]]
    # In a large catalogue most of x is 0, and so is its logarithm.
    is_few, found = _FEW * cells < added.size, 0
    touched = np.empty(cells if is_few else 0, np.int64)
    for place in range(items.size):
        fade = fades[place]
        if fade > 0:
            for cell in range(indptr[items[place]], indptr[items[place] + 1]):
                if is_few:
                    touched[found] = other[cell]
                    found += 1
                added[other[cell]] += fade * weights[cell]
    if is_few:
        x = added[touched[:found]]
        _log1p_times(gain, x)
        for place in range(found):
            added[touched[place]] = x[place]
    else:
        _log1p_times(gain, added)


@compiled
def _log1p_times(gain, values):  # type: ignore[no-untyped-def]
    """Replace each value, at least 0, by gain · log(1 + value), to 5e-7 · gain; 0 stays 0.

    1 + value is 2^exponent · (1 + f) with f from √½ - 1 to √2 - 1. The polynomial in f is that of `logf` in Cephes
    (Moshier, "Methods and Programs for Mathematical Functions", 1989). LLVM makes vectors of these loops, which have
    neither a call nor a branch: an eighth of the time of np.log1p.
    """
    one, half, root_half = np.float32(1), np.float32(0.5), np.int32(0x3F3504F3)
    powers = np.empty(BLOCK, np.float32)
    for begin in range(0, values.size, BLOCK):
        block = values[begin : begin + BLOCK]
        bits = block.view(np.int32)
        for place in range(block.size):
            block[place] += one
        for place in range(block.size):
            above = bits[place] - root_half
            powers[place] = np.float32(above >> np.int32(23))
            bits[place] = (above & np.int32(0x7FFFFF)) + root_half
        for place in range(block.size):
            f = block[place] - one
            term = np.float32(0.070376836292) * f - np.float32(0.1151461031)
            term = term * f + np.float32(0.11676998740)
            term = term * f - np.float32(0.12420140846)
            term = term * f + np.float32(0.14249322787)
            term = term * f - np.float32(0.16668057665)
            term = term * f + np.float32(0.20000714765)
            term = term * f - np.float32(0.24999993993)
            term = term * f + np.float32(0.33333331174)
            logarithm = term * f * f * f - half * f * f + f
            block[place] = gain * (logarithm + np.float32(0.6931471805599453) * powers[place])


@compiled
def _times(items, often, item):  # type: ignore[no-untyped-def]
    """How often `item` is in `items`, where each counts `often` (empty: 1)."""
    times = np.float32(0)
    for place in range(items.size):
        if items[place] == item:
            times += often[place] if often.size else np.float32(1)
    return times
