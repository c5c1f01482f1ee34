"""The loops over a catalogue: logits of a prepared network, and the best of many scores; `compiled` says how they are
compiled.

numba infers the types of a loop from its arguments, so the loops have no annotations: this is the reason of every
`type: ignore` here.
"""

from __future__ import annotations

import numpy as np

from serving import recent_kernels
from serving.compiled import compiled
from serving.vectors import BLOCK as BLOCK
from serving.vectors import TILE as TILE
from serving.vectors import add_rectified, layer

_SAMPLED = 16
"""A shortlist first reads every 16th block, to estimate a lower bound of the greatest values."""


def compile_all() -> None:
    """Compile every function for its argument types, or load the saved code. `shortlist` is not included: only large
    catalogues need it, and they call it at load.
    """
    none, one = np.empty(0, np.int32), np.zeros(1, np.float32)
    users, items = np.zeros((4, 1), np.float32), np.zeros((4, TILE), np.float32)
    network, rows = (users, users, items, items, np.zeros(14, np.float32), np.array([1, 4])), np.empty(0, np.int64)
    ranking(*network, 0, rows, True, one, none, np.zeros(1, np.int64), np.zeros(1, np.float64), np.zeros(4, np.float32))
    recent_kernels.compile_all()
    sigmoid(one)
    for dtype in (np.float32, np.float64):
        best(np.zeros(1, dtype), none, 1)


# The first six arguments of `ranking` are a network from `logits.Fused`. All arrays except `shape` are float32:
#
#     logit = offset + Σ_k weight[k] users[user, k] factors[k, item] + headᵀ z_L
#     z_1 = ReLU(matrix inputs[user] + offsets + first[:, item]), then a layer for each further width. The matrices
#     [widths[l], widths[l - 1]] of these layers follow each other in `weights`, their biases in `biases`
#
# users [users, factors], inputs [users, d], factors [factors, stride], first [widths[0], stride]: a column is an item,
# and zeros pad the items to a multiple of TILE. `constants` holds, in this order, offset [1], weight [factors],
# offsets [widths[0]], matrix [widths[0], d], head [widths[-1]], biases and weights. It is one array, because each array
# argument adds 0.1 µs to a call. `shape` holds the number of items and then the widths, which are multiples of 4.
# A network without a product has 0 factors; one without layers has 0 widths. `rows` (sorted) are the items to rank; if
# `whole` is true, all items are ranked.


@compiled
def _constants(constants, factors, width, inputs, shape):  # type: ignore[no-untyped-def]
    """The parts of `constants`: offset, weight, offsets, matrix, head, biases, weights."""
    last, later = 0, -width
    for last in shape[1:]:
        later += last
    offsets = 1 + factors
    matrix = offsets + width
    head = matrix + width * inputs
    biases = head + last
    weights = biases + later
    return (
        constants[0],
        constants[1:offsets],
        constants[offsets:matrix],
        constants[matrix:head],
        constants[head:biases],
        constants[biases:weights],
        constants[weights:],
    )


@compiled
def _user_part(users, inputs, weight, matrix, offsets, user):  # type: ignore[no-untyped-def]
    """The user's part of the logits: the coefficients of the factors, and this user's biases of the first layer."""
    user_bias = offsets.copy()
    width = inputs.shape[1]
    for j in range(user_bias.size):
        for k in range(width):
            user_bias[j] += matrix[j * width + k] * inputs[user, k]
    return weight * users[user], user_bias


@compiled
def _gathered(table, rows):  # type: ignore[no-untyped-def]
    """table[:, rows], padded with zeros to a multiple of TILE."""
    gathered = np.zeros((table.shape[0], _padded(rows.size)), table.dtype)
    for k in range(table.shape[0]):
        for t in range(rows.size):
            gathered[k, t] = table[k, rows[t]]
    return gathered


@compiled
def _padded(items):  # type: ignore[no-untyped-def]
    return (items + TILE - 1) // TILE * TILE


@compiled
def _add_product(sums, table, begin, weights, items):  # type: ignore[no-untyped-def]
    """sums[t] += Σ_k weights[k] table[k, begin + t], four terms at a time: `sums` is read and written for each four."""
    four = weights.size // 4 * 4
    for k in range(0, four, 4):
        f0, f1, f2, f3 = table[k, begin:], table[k + 1, begin:], table[k + 2, begin:], table[k + 3, begin:]
        w0, w1, w2, w3 = weights[k], weights[k + 1], weights[k + 2], weights[k + 3]
        for t in range(items):
            sums[t] += w0 * f0[t] + w1 * f1[t] + w2 * f2[t] + w3 * f3[t]
    for k in range(four, weights.size):
        row, weight = table[k, begin:], weights[k]
        for t in range(items):
            sums[t] += weight * row[t]


@compiled
def _add_item_part(  # type: ignore[no-untyped-def]
    begin, items, stride, coefficients, factors, user_bias, first, weights, biases, shape, head, layers, block
):
    """Add the items' part of the logits to `block`, for `items` items from `begin` on. `layers` [2, widest, BLOCK] is
    the buffer of the activations.
    """
    source, target = layers[0], layers[1]
    _add_product(block, factors, begin, coefficients, items)
    if shape.size == 2:
        add_rectified(block, first, begin, stride, user_bias, head, head.size, 1, items)
    elif shape.size > 2:
        layer(source, first, begin, stride, user_bias, weights, shape[1], shape[2], items)
        bias, matrix = 0, shape[1] * shape[2]
        for number in range(2, shape.size - 1):
            shifts, width, next_width = biases[bias:], shape[number], shape[number + 1]
            layer(target, source, 0, BLOCK, shifts, weights[matrix:], width, next_width, items)
            bias, matrix = bias + width, matrix + width * next_width
            source, target = target, source
        add_rectified(block, source, 0, BLOCK, biases[bias:], head, head.size, 1, items)


@compiled
def ranking(  # type: ignore[no-untyped-def]
    users, inputs, factors, first, constants, shape, user, rows, whole, logits, excluded, items, scores, added
):
    """Rank items for `user`: write the items with the greatest logits into `items` (int64), and σ of these logits into
    `scores` (float64). The order is best first; equal ones are ordered by item. Items in `excluded` (sorted, distinct)
    are left out. Returns the number of items: the size of `items`, or fewer if there are fewer. Also writes all logits
    into `logits` (float32), unless its size is 0. `added` (float32 [items of the catalogue], or empty) is part of the
    logits.

    One function does both, because two functions would compile the same code twice, which takes seconds.
    """
    offset, weight, offsets, matrix, head, biases, weights = _constants(
        constants, users.shape[1], first.shape[0], inputs.shape[1], shape
    )
    coefficients, user_bias = _user_part(users, inputs, weight, matrix, offsets, user)
    total, widest = shape[0], 0
    for width in shape[1:]:
        widest = max(widest, width)
    if not whole:
        factors, first, total = _gathered(factors, rows), _gathered(first, rows), rows.size
    stride = _padded(total)
    layers = np.empty((2, widest, BLOCK), np.float32)
    block, values = np.empty(BLOCK, np.float32), np.empty(min(items.size, total), np.float32)
    found, passed = 0, 0
    for begin in range(0, total, BLOCK):
        size = min(BLOCK, total - begin)
        padded = _padded(size)
        block[:] = offset
        _add_item_part(
            begin, padded, stride, coefficients, factors, user_bias, first, weights, biases, shape, head, layers, block
        )
        if added.size:
            _add(block, added, begin, rows, whole, size)
        if logits.size:
            logits[begin : begin + size] = block[:size]
        if values.size:
            found, passed = _keep_best(block[:size], begin, rows, whole, excluded, passed, items, values, found)
    for place in range(found):
        scores[place] = _sigma(values[place])
    return found


@compiled
def _add(block, added, begin, rows, whole, items):  # type: ignore[no-untyped-def]
    """Add the values of `items` items (or `rows`) from `begin` on to `block`."""
    if whole:
        for t in range(items):
            block[t] += added[begin + t]
    else:
        for t in range(items):
            block[t] += added[rows[begin + t]]


@compiled
def _sigma(logit):  # type: ignore[no-untyped-def]
    """σ in float64: float32 would round different values to 1."""
    return 1.0 / (1.0 + np.exp(min(-np.float64(logit), 700.0)))


@compiled
def sigmoid(logits):  # type: ignore[no-untyped-def]
    """σ of each, in float64."""
    scores = np.empty(logits.size, np.float64)
    for position in range(logits.size):
        scores[position] = _sigma(logits[position])
    return scores


@compiled
def _any_above(values, least):  # type: ignore[no-untyped-def]
    """True if any of `values` is greater than `least`. LLVM vectorizes this loop, but not a maximum."""
    found = False
    for place in range(values.size):
        found |= values[place] > least
    return found


@compiled
def _first_not_below(excluded, passed, item):  # type: ignore[no-untyped-def]
    """The first place from `passed` on where `excluded` (sorted) is at least `item`."""
    while passed < excluded.size and excluded[passed] < item:
        passed += 1
    return passed


@compiled
def _keep_best(scores, begin, rows, whole, excluded, passed, positions, values, found):  # type: ignore[no-untyped-def]
    """Merge `scores` of the items (or `rows`) from `begin` on into the best so far: the first `found` of `positions`
    and `values`, best first. `passed` entries of `excluded` are below `begin`. Returns the new `found` and `passed`.
    """
    for tile in range(0, scores.size, TILE):
        if found == values.size and not _any_above(scores[tile : tile + TILE], values[values.size - 1]):
            continue
        for place in range(tile, min(tile + TILE, scores.size)):
            score = scores[place]
            if found == values.size and not score > values[values.size - 1]:
                continue
            item = begin + place if whole else rows[begin + place]
            passed = _first_not_below(excluded, passed, item)
            if passed == excluded.size or excluded[passed] != item:
                found = _insert(positions, values, found, item, score)
    return found, passed


@compiled
def _insert(positions, values, found, position, value):  # type: ignore[no-untyped-def]
    """Insert `value` in order among the first `found`, best first; if `values` is full, the last one is dropped.
    Returns the new `found`.
    """
    place = found if found < values.size else found - 1
    while place > 0 and values[place - 1] < value:
        values[place], positions[place] = values[place - 1], positions[place - 1]
        place -= 1
    values[place], positions[place] = value, position
    return min(found + 1, values.size)


@compiled
def best(scores, excluded, number):  # type: ignore[no-untyped-def]
    """Positions of the `number` greatest `scores`, best first and equal ones by position, without the positions in
    `excluded` (sorted, distinct). Fewer if fewer scores are left.
    """
    positions = np.empty(min(number, scores.size), np.int64)
    if positions.size == 0:
        return positions
    values = np.empty(positions.size, scores.dtype)
    found, _ = _keep_best(scores, 0, positions, True, excluded, 0, positions, values, 0)
    return positions[:found]


@compiled
def shortlist(factors, coefficients, items, excluded, number, added):  # type: ignore[no-untyped-def]
    """Positions, in no order, of the `number` greatest of factorsᵀ coefficients + `added` among the first `items`,
    without the positions in `excluded` (sorted, distinct). `factors` is int8 [blocks, rank, BLOCK], so that memory is
    read in order; rank is a multiple of 4. `coefficients` is float32 [rank], `added` float32 [items], or empty.
    """
    number = min(number, items - excluded.size)
    positions, values = np.zeros(number, np.int64), np.empty(number, np.float32)
    if number == 0:
        return positions
    # A sample of the blocks gives a lower bound that keeps most items out of the heap. If too few items are above the
    # bound, the search runs again without it.
    lowest = np.float32(-np.inf)
    share = number // _SAMPLED + 4 * int(np.sqrt(number / _SAMPLED)) + 1
    if share < number // 4:
        _greatest(factors, coefficients, items, excluded, _SAMPLED, lowest, positions[:share], values[:share], added)
        if _greatest(factors, coefficients, items, excluded, 1, values[0], positions, values, added) >= number:
            return positions
    _greatest(factors, coefficients, items, excluded, 1, lowest, positions, values, added)
    return positions


@compiled
def _greatest(factors, coefficients, items, excluded, step, least, positions, values, added):  # type: ignore[no-untyped-def]
    """Write the positions and values of the greatest above `least` in each `step`-th block into `positions` and
    `values`, a heap with the least value at 0. Returns the number of insertions.
    """
    values[:] = -np.inf
    sums = np.empty(BLOCK, np.float32)
    found, passed = 0, 0
    for block in range(0, factors.shape[0], step):
        _weighted(factors[block], coefficients, sums)
        begin = block * BLOCK
        size = min(BLOCK, items - begin)
        if added.size:
            for t in range(size):
                sums[t] += added[begin + t]
        for tile in range(0, size, TILE):
            if not _any_above(sums[tile : tile + TILE], least):
                continue
            for place in range(tile, min(tile + TILE, size)):
                if not sums[place] > least:
                    continue
                passed = _first_not_below(excluded, passed, begin + place)
                if passed == excluded.size or excluded[passed] != begin + place:
                    _replace_least(positions, values, begin + place, sums[place])
                    found, least = found + 1, max(least, values[0])
    return found


@compiled
def _replace_least(positions, values, position, value):  # type: ignore[no-untyped-def]
    """Replace the least value of a heap by `value`, and move it down to its place."""
    place, child = 0, 1
    while child < values.size:
        if child + 1 < values.size and values[child + 1] < values[child]:
            child += 1
        if not values[child] < value:
            break
        values[place], positions[place] = values[child], positions[child]
        place, child = child, 2 * child + 1
    values[place], positions[place] = value, position


@compiled
def _weighted(factors, coefficients, sums):  # type: ignore[no-untyped-def]
    """Write factorsᵀ coefficients of a block into `sums`."""
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
