"""The loops over a catalogue, compiled by numba: the MLP's hidden layers, and the best of many scores.

numba keeps what it compiled beside this file, or in NUMBA_CACHE_DIR, for the next start on the same kind of processor;
where neither may be written it compiles at every start, which takes some seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

_BLOCK = 128
"""Items that go through the layers together: their activations stay in the processor's first cache."""


def _compiled(function: Callable[..., Any]) -> Any:
    try:
        return numba.njit(function, nogil=True, fastmath=True, cache=True)
    except RuntimeError:  # no place for a cache
        return numba.njit(function, nogil=True, fastmath=True)


def compile_all() -> None:
    """Compile every loop for the types that it is called with, or read what was compiled before."""
    none, one = np.empty(0, np.int32), np.zeros(1, np.float32)
    perceptron(np.zeros((1, 1), np.float32), one, one, one, np.ones(1, np.int64), one, one)
    shortlist(np.zeros((4, 1), np.int8), np.zeros(4, np.float32), none, 1)
    for dtype in (np.float32, np.float64):
        best(np.zeros(1, dtype), none, 1)


@_compiled
def perceptron(first, from_user, weights, biases, widths, head, logits):  # type: ignore[no-untyped-def]
    """Adds headᵀ z_L to `logits` [items] for one user, all float32.

    z_1 = ReLU(first + from_user), with `first` [widths[0], items] and `from_user` [widths[0]]; then a layer for each
    further width, whose matrices [widths[l], widths[l - 1]] and biases lie one after the other in `weights`, `biases`.
    """
    widest = widths.max()
    here = np.zeros((widest, _BLOCK), np.float32)
    there = np.zeros((widest, _BLOCK), np.float32)
    zero = np.float32(0.0)
    # Rows are taken out as arrays of one axis, and loops go over the whole block: so they become vector instructions.
    for begin in range(0, logits.size, _BLOCK):
        items = min(_BLOCK, logits.size - begin)
        for j in range(widths[0]):
            own, source, target = from_user[j], first[j, begin : begin + items], here[j]
            for t in range(items):
                z = source[t] + own
                target[t] = z if z > zero else zero
        matrix, bias = 0, 0
        for layer in range(1, widths.size):
            above = widths[layer - 1]
            for j in range(widths[layer]):
                row, target = weights[matrix + j * above : matrix + (j + 1) * above], there[j]
                target[:] = biases[bias + j]
                k = 0
                while k + 4 <= above:
                    z0, z1, z2, z3 = here[k], here[k + 1], here[k + 2], here[k + 3]
                    w0, w1, w2, w3 = row[k], row[k + 1], row[k + 2], row[k + 3]
                    for t in range(_BLOCK):
                        target[t] += w0 * z0[t] + w1 * z1[t] + w2 * z2[t] + w3 * z3[t]
                    k += 4
                while k < above:
                    z0, w0 = here[k], row[k]
                    for t in range(_BLOCK):
                        target[t] += w0 * z0[t]
                    k += 1
                for t in range(_BLOCK):
                    z = target[t]
                    target[t] = z if z > zero else zero
            matrix += widths[layer] * above
            bias += widths[layer]
            here, there = there, here
        out = logits[begin : begin + items]
        for j in range(widths[-1]):
            weight, source = head[j], here[j]
            for t in range(items):
                out[t] += weight * source[t]


@_compiled
def shortlist(factors, coefficients, excluded, number):  # type: ignore[no-untyped-def]
    """Positions, in no order, of the `number` greatest of factorsᵀ coefficients, without the positions in `excluded`
    (sorted, distinct). `factors` is int8 [rank, items], rank a multiple of 4, `coefficients` float32 [rank].
    """
    rank, items = factors.shape
    number = min(number, items - excluded.size)
    positions = np.empty(number, np.int64)
    if number == 0:
        return positions
    values = np.full(number, -np.inf, np.float32)  # a heap: the least is at 0, and each at most its two successors
    sums = np.empty(_BLOCK, np.float32)
    passed = 0
    for begin in range(0, items, _BLOCK):
        width = min(_BLOCK, items - begin)
        sums[:] = np.float32(0.0)
        for k in range(0, rank, 4):
            f0, f1 = factors[k, begin : begin + width], factors[k + 1, begin : begin + width]
            f2, f3 = factors[k + 2, begin : begin + width], factors[k + 3, begin : begin + width]
            c0, c1, c2, c3 = coefficients[k], coefficients[k + 1], coefficients[k + 2], coefficients[k + 3]
            for t in range(width):
                sums[t] += (
                    c0 * np.float32(f0[t]) + c1 * np.float32(f1[t]) + c2 * np.float32(f2[t]) + c3 * np.float32(f3[t])
                )
        greatest = sums[0]
        for t in range(1, width):
            greatest = max(greatest, sums[t])
        if not greatest > values[0]:
            continue
        for t in range(width):
            score = sums[t]
            if not score > values[0]:
                continue
            position = begin + t
            while passed < excluded.size and excluded[passed] < position:
                passed += 1
            if passed < excluded.size and excluded[passed] == position:
                continue
            place = 0
            while True:  # the new one in the place of the least, and down to where it belongs
                below = 2 * place + 1
                if below >= number:
                    break
                if below + 1 < number and values[below + 1] < values[below]:
                    below += 1
                if not values[below] < score:
                    break
                values[place], positions[place] = values[below], positions[below]
                place = below
            values[place], positions[place] = score, position
    return positions


@_compiled
def best(scores, excluded, number):  # type: ignore[no-untyped-def]
    """Positions of the `number` greatest of `scores`, best first and equal ones by position, without the positions in
    `excluded` (sorted, distinct). Fewer where there are fewer.
    """
    number = min(number, scores.size)
    positions = np.empty(number, np.int64)
    if number == 0:
        return positions
    values = np.empty(number, scores.dtype)
    found, passed = 0, 0
    for position in range(scores.size):
        score = scores[position]
        if found == number and not score > values[number - 1]:
            continue
        while passed < excluded.size and excluded[passed] < position:
            passed += 1
        if passed < excluded.size and excluded[passed] == position:
            continue
        place = found if found < number else number - 1
        while place > 0 and values[place - 1] < score:
            values[place] = values[place - 1]
            positions[place] = positions[place - 1]
            place -= 1
        values[place] = score
        positions[place] = position
        if found < number:
            found += 1
    return positions[:found]
