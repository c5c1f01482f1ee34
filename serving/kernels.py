"""The loops over a catalogue, compiled by numba: logits of a prepared network, and the best of many scores.

numba keeps what it compiled beside this file, or in NUMBA_CACHE_DIR, for the next start on the same kind of processor;
where neither may be written it compiles at every start, which takes some seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

BLOCK = 256
"""Items that go through the layers together: their activations stay in the processor's first caches."""
_PART = 32
"""Of a block, what is looked through one by one where any of it is among the best; a divisor of BLOCK."""
_SAMPLED = 16
"""Of how many blocks one is looked at to expect what is among the greatest."""


def _compiled(function: Callable[..., Any]) -> Any:
    try:
        return numba.njit(function, nogil=True, fastmath=True, cache=True)
    except RuntimeError:  # no place for a cache
        return numba.njit(function, nogil=True, fastmath=True)


def compile_all() -> None:
    """Compile every loop for the types that it is called with, or read what was compiled before; but `shortlist`, which
    large catalogues alone need, and call at load.
    """
    none, one = np.empty(0, np.int32), np.zeros(1, np.float32)
    table, rows = np.zeros((4, 1), np.float32), np.empty(0, np.int64)
    network = (table, table, table, table, np.zeros(14, np.float32), np.full(1, 4))
    ranking(*network, 0, rows, True, one, none, np.zeros(1, np.int64), np.zeros(1, np.float64))
    sigmoid(one)
    for dtype in (np.float32, np.float64):
        best(np.zeros(1, dtype), none, 1)


# A network, as `logits.Fused` prepares it, is the first arguments of what follows, all float32:
#
#     logit = offset + Σ_k weight[k] users[user, k] factors[k, item] + headᵀ z_L
#     z_1 = ReLU(matrix inputs[user] + offsets + first[:, item]), then a layer for each further width, whose matrices
#     [widths[l], widths[l - 1]] and biases lie one after the other in `weights`, `biases`
#
# users [users, factors], inputs [users, d], factors [factors, items], first [widths[0], items]; `constants` has, one
# after the other, offset [1], weight [factors], offsets [widths[0]], matrix [widths[0], d], head [widths[-1]], biases
# and weights: each array more costs a call a tenth of a microsecond. Widths are multiples of 4. Without a product there
# are 0 factors, without layers 0 widths. The items meant are `rows` (sorted), or all where `whole`.


@_compiled
def _of_user(users, inputs, weight, matrix, offsets, user):  # type: ignore[no-untyped-def]
    """What of the logits depends on the user alone: the factors' coefficients, and the first layer's share."""
    own = offsets.copy()
    width = inputs.shape[1]
    for j in range(own.size):
        for k in range(width):
            own[j] += matrix[j * width + k] * inputs[user, k]
    return weight * users[user], own


@_compiled
def _gathered(table, rows):  # type: ignore[no-untyped-def]
    """table[:, rows]"""
    gathered = np.empty((table.shape[0], rows.size), table.dtype)
    for k in range(table.shape[0]):
        for t in range(rows.size):
            gathered[k, t] = table[k, rows[t]]
    return gathered


@_compiled
def _of_items(begin, coefficients, factors, offset, own, first, weights, biases, widths, head, here, there, logits):  # type: ignore[no-untyped-def]
    """Writes the `logits` (at most BLOCK of them) of the items from `begin` on. `here` and `there` [widest, BLOCK]
    are for the activations.
    """
    items, width, zero = logits.size, here.shape[1], np.float32(0.0)
    # Rows are taken out as arrays of one axis, and loops go over the whole block: so they become vector instructions. A
    # layer is rectified where it is read, and four of its rows are made at once of four of the layer before: the loop
    # is limited by loads and stores, not by products.
    for t in range(items):
        logits[t] = offset
    k = 0
    while k + 4 <= coefficients.size:
        f0, f1 = factors[k, begin : begin + items], factors[k + 1, begin : begin + items]
        f2, f3 = factors[k + 2, begin : begin + items], factors[k + 3, begin : begin + items]
        c0, c1, c2, c3 = coefficients[k], coefficients[k + 1], coefficients[k + 2], coefficients[k + 3]
        for t in range(items):
            logits[t] += c0 * f0[t] + c1 * f1[t] + c2 * f2[t] + c3 * f3[t]
        k += 4
    while k < coefficients.size:
        f0, c0 = factors[k, begin : begin + items], coefficients[k]
        for t in range(items):
            logits[t] += c0 * f0[t]
        k += 1
    for j in range(own.size):
        share, source, target = own[j], first[j, begin : begin + items], here[j]
        for t in range(items):
            target[t] = source[t] + share
    matrix, bias = 0, 0
    for layer in range(1, widths.size):
        above = widths[layer - 1]
        for j in range(0, widths[layer], 4):
            t0, t1, t2, t3 = there[j], there[j + 1], there[j + 2], there[j + 3]
            e0, e1, e2, e3 = biases[bias + j], biases[bias + j + 1], biases[bias + j + 2], biases[bias + j + 3]
            for t in range(width):
                t0[t] = e0
                t1[t] = e1
                t2[t] = e2
                t3[t] = e3
            for k in range(0, above, 4):
                z0, z1, z2, z3 = here[k], here[k + 1], here[k + 2], here[k + 3]
                row = matrix + j * above + k
                a0, a1, a2, a3 = weights[row], weights[row + 1], weights[row + 2], weights[row + 3]
                row += above
                b0, b1, b2, b3 = weights[row], weights[row + 1], weights[row + 2], weights[row + 3]
                row += above
                c0, c1, c2, c3 = weights[row], weights[row + 1], weights[row + 2], weights[row + 3]
                row += above
                d0, d1, d2, d3 = weights[row], weights[row + 1], weights[row + 2], weights[row + 3]
                for t in range(width):
                    x0, x1, x2, x3 = max(z0[t], zero), max(z1[t], zero), max(z2[t], zero), max(z3[t], zero)
                    t0[t] += a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
                    t1[t] += b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3
                    t2[t] += c0 * x0 + c1 * x1 + c2 * x2 + c3 * x3
                    t3[t] += d0 * x0 + d1 * x1 + d2 * x2 + d3 * x3
        matrix += widths[layer] * above
        bias += widths[layer]
        here, there = there, here
    for j in range(0, head.size, 4):
        z0, z1, z2, z3 = here[j], here[j + 1], here[j + 2], here[j + 3]
        h0, h1, h2, h3 = head[j], head[j + 1], head[j + 2], head[j + 3]
        for t in range(items):
            x0, x1, x2, x3 = max(z0[t], zero), max(z1[t], zero), max(z2[t], zero), max(z3[t], zero)
            logits[t] += h0 * x0 + h1 * x1 + h2 * x2 + h3 * x3


@_compiled
def _any_above(values, least):  # type: ignore[no-untyped-def]
    """Whether any of `values` is greater than `least`; their maximum would not become vector instructions."""
    found = False
    for position in range(values.size):
        found |= values[position] > least
    return found


@_compiled
def ranking(users, inputs, factors, first, constants, widths, user, rows, whole, logits, excluded, items, scores):  # type: ignore[no-untyped-def]
    """Writes the items of the greatest logits into `items`, best first and equal ones by item, without those in
    `excluded` (sorted, distinct), and σ of these logits into `scores`; as many as there is room for, or there are. How
    many that is. Writes all logits into `logits` as well, unless it has no room at all.

    One function for both: most of it would be compiled twice, which takes seconds.
    """
    offset, at = constants[0], 1
    weight, at = constants[at : at + users.shape[1]], at + users.shape[1]
    offsets, at = constants[at : at + first.shape[0]], at + first.shape[0]
    matrix, at = constants[at : at + offsets.size * inputs.shape[1]], at + offsets.size * inputs.shape[1]
    widest, last, later = 0, 0, -offsets.size
    for last in widths:
        widest, later = max(widest, last), later + last
    head, at = constants[at : at + last], at + last
    biases, weights = constants[at : at + later], constants[at + later :]
    coefficients, own = _of_user(users, inputs, weight, matrix, offsets, user)
    total = factors.shape[1]
    if not whole:
        factors, first, total = _gathered(factors, rows), _gathered(first, rows), rows.size
    width = min(BLOCK, (total + 7) // 8 * 8)
    here, there = np.zeros((widest, width), np.float32), np.zeros((widest, width), np.float32)
    number = min(items.size, total)
    block, values = np.empty(BLOCK, np.float32), np.empty(number, np.float32)
    found, passed = 0, 0
    for begin in range(0, total, BLOCK):
        size = min(BLOCK, total - begin)
        part = logits[begin : begin + size] if logits.size else block[:size]
        _of_items(begin, coefficients, factors, offset, own, first, weights, biases, widths, head, here, there, part)
        if number == 0:
            continue
        for inner in range(0, size, _PART):
            end = min(inner + _PART, size)
            if found == number and not _any_above(part[inner:end], values[number - 1]):
                continue
            for t in range(inner, end):
                if found == number and not part[t] > values[number - 1]:
                    continue
                item = begin + t if whole else rows[begin + t]
                while passed < excluded.size and excluded[passed] < item:
                    passed += 1
                if passed < excluded.size and excluded[passed] == item:
                    continue
                found = _put(items, values, found, item, part[t])
    for place in range(found):
        scores[place] = _sigma(values[place])
    return found


@_compiled
def _sigma(logit):  # type: ignore[no-untyped-def]
    """σ in float64, which keeps apart what float32 would round to 1."""
    return 1.0 / (1.0 + np.exp(min(-np.float64(logit), 700.0)))


@_compiled
def sigmoid(logits):  # type: ignore[no-untyped-def]
    """σ of each, in float64."""
    scores = np.empty(logits.size, np.float64)
    for position in range(logits.size):
        scores[position] = _sigma(logits[position])
    return scores


@_compiled
def _put(positions, values, found, position, value):  # type: ignore[no-untyped-def]
    """Puts what is greater than the last of `found` in its place among them, for whom there is room in `values`; how
    many there are then.
    """
    place = found if found < values.size else found - 1
    while place > 0 and values[place - 1] < value:
        values[place], positions[place] = values[place - 1], positions[place - 1]
        place -= 1
    values[place], positions[place] = value, position
    return min(found + 1, values.size)


@_compiled
def shortlist(factors, coefficients, items, excluded, number):  # type: ignore[no-untyped-def]
    """Positions, in no order, of the `number` greatest of factorsᵀ coefficients among the first `items`, without the
    positions in `excluded` (sorted, distinct). `factors` is int8 [blocks, rank, BLOCK], so that it is read from its
    begin to its end, rank a multiple of 4; `coefficients` float32 [rank].
    """
    number = min(number, items - excluded.size)
    positions, values = np.zeros(number, np.int64), np.empty(number, np.float32)
    if number == 0:
        return positions
    # What a part of the catalogue lets expect of all of it keeps most from being put among the greatest for a while. It
    # may keep too much away: then without.
    lowest = np.float32(-np.inf)
    share = number // _SAMPLED + 4 * int(np.sqrt(number / _SAMPLED)) + 1
    if share < number // 4:
        _greatest(factors, coefficients, items, excluded, _SAMPLED, lowest, positions[:share], values[:share])
        if _greatest(factors, coefficients, items, excluded, 1, values[0], positions, values) >= number:
            return positions
    _greatest(factors, coefficients, items, excluded, 1, lowest, positions, values)
    return positions


@_compiled
def _greatest(factors, coefficients, items, excluded, step, least, positions, values):  # type: ignore[no-untyped-def]
    """Writes the positions and values of the greatest above `least` of each `step`-th block, as many as there is room
    for. `values` is a heap: the least is at 0, and each at most its two successors. How many were ever put there.
    """
    values[:] = -np.inf
    sums, number = np.empty(BLOCK, np.float32), values.size
    found, passed = 0, 0
    for block in range(0, factors.shape[0], step):
        _weighted(factors[block], coefficients, sums)
        if not _any_above(sums, least):
            continue
        begin = block * BLOCK
        for inner in range(0, min(BLOCK, items - begin), _PART):
            end = min(inner + _PART, items - begin)
            if not _any_above(sums[inner:end], least):
                continue
            for t in range(inner, end):
                score = sums[t]
                if not score > least:
                    continue
                position = begin + t
                while passed < excluded.size and excluded[passed] < position:
                    passed += 1
                if passed < excluded.size and excluded[passed] == position:
                    continue
                found, place = found + 1, 0
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
                least = max(least, values[0])
    return found


@_compiled
def _weighted(factors, coefficients, sums):  # type: ignore[no-untyped-def]
    """Writes the sums of a block."""
    for k in range(0, coefficients.size, 4):
        f0, f1, f2, f3 = factors[k], factors[k + 1], factors[k + 2], factors[k + 3]
        c0, c1, c2, c3 = coefficients[k], coefficients[k + 1], coefficients[k + 2], coefficients[k + 3]
        if k == 0:
            for t in range(BLOCK):
                sums[t] = (
                    c0 * np.float32(f0[t]) + c1 * np.float32(f1[t]) + c2 * np.float32(f2[t]) + c3 * np.float32(f3[t])
                )
        else:
            for t in range(BLOCK):
                sums[t] += (
                    c0 * np.float32(f0[t]) + c1 * np.float32(f1[t]) + c2 * np.float32(f2[t]) + c3 * np.float32(f3[t])
                )


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
        found = _put(positions, values, found, position, score)
    return positions[:found]
