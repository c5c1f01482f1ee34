"""The loops over a catalogue, compiled by numba: logits of a prepared network, and the best of many scores.

numba keeps what it compiled beside this file, or in NUMBA_CACHE_DIR, for the next start on the same kind of processor;
where neither may be written it compiles at every start, which takes some seconds. Whether what it kept is current it
knows by the date of this file alone, so all that is compiled is in here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

BLOCK = 256
"""Items that go through the layers together: their activations stay in the processor's first caches."""
TILE = 64
"""Items whose sums are made together in registers; a divisor of BLOCK. Tables are filled up to a multiple of it."""
_LANES = TILE if llvmlite.binding.get_host_cpu_features().get("avx512f") else 16
"""And that of four rows of a layer: what 16 registers of 8 numbers hold, or 32 of 16 numbers."""
_SAMPLED = 16
"""Of how many blocks one is looked at to expect what is among the greatest."""
_FAST = ("fast",)
"""Of sums: their order is free, and a product may be added without being rounded first."""


def _compiled(function: Callable[..., Any]) -> Any:
    try:
        return numba.njit(function, nogil=True, fastmath=True, cache=True)
    except RuntimeError:  # no place for a cache
        return numba.njit(function, nogil=True, fastmath=True)


def _generated(function: Callable[..., Any]) -> Any:
    """`function` is told the types of arguments, and says what generates the code for them."""
    return intrinsic(function)


def compile_all() -> None:
    """Compile every loop for the types that it is called with, or read what was compiled before; but `shortlist`, which
    large catalogues alone need, and call at load.
    """
    none, one = np.empty(0, np.int32), np.zeros(1, np.float32)
    users, items = np.zeros((4, 1), np.float32), np.zeros((4, TILE), np.float32)
    network, rows = (users, users, items, items, np.zeros(14, np.float32), np.array([1, 4])), np.empty(0, np.int64)
    ranking(*network, 0, rows, True, one, none, np.zeros(1, np.int64), np.zeros(1, np.float64))
    sigmoid(one)
    for dtype in (np.float32, np.float64):
        best(np.zeros(1, dtype), none, 1)


# LLVM makes vector instructions of a loop over items, but where there is a loop over terms within it, or around it, it
# writes and reads every sum again for each term, which takes longer than to multiply. So sums are kept in registers by
# code that says to LLVM which vectors to make. It makes them of the processor's own, whatever their width.


class _Code:
    """What the code that `builder` makes consists of: vectors of `lanes` float32, and the places where they lie."""

    def __init__(self, context: Any, builder: Any, lanes: int) -> None:
        self._context, self._builder = context, builder
        self.vector = ir.VectorType(ir.FloatType(), lanes)
        self.zeros = ir.Constant(self.vector, [0.0] * lanes)
        self._undefined = ir.Constant(self.vector, ir.Undefined)
        self._first = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)

    def arguments(self, signature: Any, values: Any) -> list[Any]:
        """Of an array, where its numbers begin."""
        return [
            self._context.make_array(kind)(self._context, self._builder, value).data
            if isinstance(kind, types.Array)
            else value
            for kind, value in zip(signature.args, values, strict=True)
        ]

    @contextmanager
    def steps(self, end: Any, step: int) -> Iterator[Any]:
        """A loop over 0, step, 2 step, … below `end`."""
        first, by = ir.Constant(end.type, 0), ir.Constant(end.type, step)
        with cgutils.for_range_slice(self._builder, first, end, by, intp=end.type) as (index, _):
            yield index

    def plus(self, index: Any, more: Any) -> Any:
        return self._builder.add(index, ir.Constant(index.type, more) if isinstance(more, int) else more)

    def times(self, index: Any, factor: Any) -> Any:
        return self._builder.mul(index, ir.Constant(index.type, factor) if isinstance(factor, int) else factor)

    def place(self, numbers: Any, index: Any) -> Any:
        return self._builder.bitcast(self._builder.gep(numbers, [index]), self.vector.as_pointer())

    def register(self) -> Any:
        """A place that LLVM will make a register of."""
        return cgutils.alloca_once(self._builder, self.vector)

    def read(self, place: Any) -> Any:
        return self._builder.load(place, align=4)

    def write(self, values: Any, place: Any) -> None:
        self._builder.store(values, place, align=4)

    def everywhere(self, number: Any) -> Any:
        one = self._builder.insert_element(self._undefined, number, ir.Constant(ir.IntType(32), 0))
        return self._builder.shuffle_vector(one, self._undefined, self._first)

    def number(self, numbers: Any, index: Any) -> Any:
        """One of them, everywhere."""
        return self.everywhere(self._builder.load(self._builder.gep(numbers, [index])))

    def sum(self, values: Any, others: Any) -> Any:
        return self._builder.fadd(values, others, flags=_FAST)

    def product(self, values: Any, others: Any) -> Any:
        return self._builder.fmul(values, others, flags=_FAST)

    def are_above(self, values: Any, others: Any) -> Any:
        return self._builder.fcmp_ordered(">", values, others)

    def rectified(self, values: Any) -> Any:
        return self._builder.select(self.are_above(values, self.zeros), values, self.zeros)


def _sums(lanes: int, rows: int, *, rectified: bool, onto: bool) -> Any:
    """A function for compiled code: writes for each j below `below` and t below `items`

        targets[j, t] = Σ_k weights[j, k] g(sources[k, begin + t])

    where g(x) = ReLU(x + shifts[k]) if `rectified`, else x; `onto` what is there, or anew. All float32: targets [below,
    BLOCK], sources [above, stride], shifts [above], weights [below, above]. `items` is filled up to a multiple of
    `lanes`, and `below` is a multiple of `rows`: of so many rows and lanes the sums are in registers together.
    """

    @_generated
    def sums(typing, targets, sources, begin, stride, shifts, weights, above, below, items):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
            code = _Code(context, builder, lanes)
            targets, sources, begin, stride, shifts, weights, above, below, items = code.arguments(signature, values)
            with code.steps(items, lanes) as t, code.steps(below, rows) as j:
                own = [code.plus(j, row) for row in range(rows)]
                places = [code.place(targets, code.plus(code.times(row, BLOCK), t)) for row in own]
                totals = [code.register() for _ in own]
                for place, total in zip(places, totals, strict=True):
                    code.write(code.read(place) if onto else code.zeros, total)
                with code.steps(above, 1) as k:
                    x = code.read(code.place(sources, code.plus(code.times(k, stride), code.plus(begin, t))))
                    if rectified:
                        x = code.rectified(code.sum(x, code.number(shifts, k)))
                    for row, total in zip(own, totals, strict=True):
                        weight = code.number(weights, code.plus(code.times(row, above), k))
                        code.write(code.sum(code.read(total), code.product(weight, x)), total)
                for place, total in zip(places, totals, strict=True):
                    code.write(code.read(total), place)
            return context.get_dummy_value()

        count = types.intp
        return types.void(targets, sources, count, count, shifts, weights, count, count, count), generate

    return sums


_add_product = _sums(TILE, 1, rectified=False, onto=True)
_add_rectified = _sums(TILE, 1, rectified=True, onto=True)
_layer = _sums(_LANES, 4, rectified=True, onto=False)


@_generated
def _above(typing, values, begin, least):  # type: ignore[no-untyped-def]
    """Which of the TILE float32 `values` from `begin` on are greater than `least`: a bit for each, the lowest first."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        code = _Code(context, builder, TILE)
        values, begin, least = code.arguments(signature, arguments)
        above = code.are_above(code.read(code.place(values, begin)), code.everywhere(least))
        return builder.bitcast(above, ir.IntType(TILE))

    return types.int64(values, types.intp, types.float32), generate


@_generated
def _lowest(typing, bits):  # type: ignore[no-untyped-def]
    """Which is the lowest bit set, of an int64 that is not 0."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate


# A network, as `logits.Fused` prepares it, is the first arguments of what follows, all float32:
#
#     logit = offset + Σ_k weight[k] users[user, k] factors[k, item] + headᵀ z_L
#     z_1 = ReLU(matrix inputs[user] + offsets + first[:, item]), then a layer for each further width, whose matrices
#     [widths[l], widths[l - 1]] and biases lie one after the other in `weights`, `biases`
#
# users [users, factors], inputs [users, d], factors [factors, stride], first [widths[0], stride]: their columns are the
# items, filled up with zeros to a multiple of TILE. `constants` has, one after the other, offset [1], weight [factors],
# offsets [widths[0]], matrix [widths[0], d], head [widths[-1]], biases and weights: an array more costs a call a tenth
# of a microsecond. `shape` has the number of items and then the widths, which are multiples of 4. Without a product
# there are 0 factors, without layers 0 widths. The items meant are `rows` (sorted), or all where `whole`.


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
    """table[:, rows], filled up with zeros to a multiple of TILE."""
    gathered = np.zeros((table.shape[0], _filled_up(rows.size)), table.dtype)
    for k in range(table.shape[0]):
        for t in range(rows.size):
            gathered[k, t] = table[k, rows[t]]
    return gathered


@_compiled
def _filled_up(items):  # type: ignore[no-untyped-def]
    return (items + TILE - 1) // TILE * TILE


@_compiled
def _of_block(begin, items, stride, coefficients, factors, own, first, weights, biases, shape, head, layers, block):  # type: ignore[no-untyped-def]
    """Adds what of the logits depends on the item, of `items` items from `begin` on, to what is in `block`. `layers`
    [2, widest, BLOCK] is for the activations.
    """
    here, there = layers[0], layers[1]
    _add_product(block, factors, begin, stride, own, coefficients, coefficients.size, 1, items)
    if shape.size == 2:
        _add_rectified(block, first, begin, stride, own, head, head.size, 1, items)
    elif shape.size > 2:
        _layer(here, first, begin, stride, own, weights, shape[1], shape[2], items)
        bias, matrix = 0, shape[1] * shape[2]
        for layer in range(2, shape.size - 1):
            shifts, width, next_width = biases[bias:], shape[layer], shape[layer + 1]
            _layer(there, here, 0, BLOCK, shifts, weights[matrix:], width, next_width, items)
            bias, matrix = bias + width, matrix + width * next_width
            here, there = there, here
        _add_rectified(block, here, 0, BLOCK, biases[bias:], head, head.size, 1, items)


@_compiled
def ranking(users, inputs, factors, first, constants, shape, user, rows, whole, logits, excluded, items, scores):  # type: ignore[no-untyped-def]
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
    for last in shape[1:]:
        widest, later = max(widest, last), later + last
    head, at = constants[at : at + last], at + last
    biases, weights = constants[at : at + later], constants[at + later :]
    coefficients, own = _of_user(users, inputs, weight, matrix, offsets, user)
    total = shape[0]
    if not whole:
        factors, first, total = _gathered(factors, rows), _gathered(first, rows), rows.size
    stride = _filled_up(total)
    layers = np.empty((2, widest, BLOCK), np.float32)
    number = min(items.size, total)
    block, values = np.empty(BLOCK, np.float32), np.empty(number, np.float32)
    found, passed = 0, 0
    for begin in range(0, total, BLOCK):
        size = min(BLOCK, total - begin)
        filled = _filled_up(size)
        block[:] = offset
        _of_block(begin, filled, stride, coefficients, factors, own, first, weights, biases, shape, head, layers, block)
        if logits.size:
            logits[begin : begin + size] = block[:size]
        if number == 0:
            continue
        for tile in range(0, size, TILE):
            above = _above(block, tile, values[number - 1]) if found == number else -1
            if size - tile < TILE:
                above &= (1 << (size - tile)) - 1
            while above != 0:
                place, above = tile + _lowest(above), above & (above - 1)
                logit, item = block[place], begin + place
                if found == number and not logit > values[number - 1]:
                    continue
                if not whole:
                    item = rows[item]
                while passed < excluded.size and excluded[passed] < item:
                    passed += 1
                if passed < excluded.size and excluded[passed] == item:
                    continue
                found = _put(items, values, found, item, logit)
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
        begin = block * BLOCK
        for tile in range(0, min(BLOCK, items - begin), TILE):
            above = _above(sums, tile, least)
            if items - begin - tile < TILE:
                above &= (1 << (items - begin - tile)) - 1
            while above != 0:
                place, above = tile + _lowest(above), above & (above - 1)
                score, position = sums[place], begin + place
                if not score > least:
                    continue
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
