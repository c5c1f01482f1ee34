"""The hidden layers of a perceptron in explicit vector instructions: LLVM code, as numba intrinsics.

LLVM vectorizes a loop over items by itself. If there is also a loop over terms, inside or around it, LLVM writes every
sum to memory and reads it again after a few terms. The code here keeps the sums of a tile of items in registers until
the last term. docs/decisions/0022 compares its speed with plain numba. Code for which plain numba is fast enough is in
`kernels`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

BLOCK = 256
"""Number of items that go through the layers together: their activations stay in the first-level cache."""
TILE = 64
"""Number of items whose sums are in registers together; divides BLOCK. Tables of items are padded to a multiple."""
_LANES = TILE if llvmlite.binding.get_host_cpu_features().get("avx512f") else 16
"""The same for four rows of a layer: AVX-512 has 32 registers of 16 float32; AVX2 has 16 registers of 8."""
_FAST = ("fast",)
"""LLVM may reorder sums, and fuse a product with a sum without rounding between them."""


class _Vectors:
    """Emits code by `builder` that works on vectors of `lanes` float32."""

    def __init__(self, context: Any, builder: Any, lanes: int) -> None:
        self._context, self._builder = context, builder
        self.type = ir.VectorType(ir.FloatType(), lanes)
        self.zeros = ir.Constant(self.type, [0.0] * lanes)
        self._undefined = ir.Constant(self.type, ir.Undefined)
        self._first_lane = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)

    def arguments(self, signature: Any, values: Any) -> list[Any]:
        """The values of the arguments; for an array, the pointer to its first element."""
        return [
            self._context.make_array(kind)(self._context, self._builder, value).data
            if isinstance(kind, types.Array)
            else value
            for kind, value in zip(signature.args, values, strict=True)
        ]

    @contextmanager
    def loop(self, end: Any, step: int) -> Iterator[Any]:
        """A loop over 0, step, 2 step, … below `end`."""
        first, by = ir.Constant(end.type, 0), ir.Constant(end.type, step)
        with cgutils.for_range_slice(self._builder, first, end, by, intp=end.type) as (index, _):
            yield index

    def plus(self, index: Any, other: Any) -> Any:
        return self._builder.add(index, ir.Constant(index.type, other) if isinstance(other, int) else other)

    def times(self, index: Any, other: Any) -> Any:
        return self._builder.mul(index, ir.Constant(index.type, other) if isinstance(other, int) else other)

    def pointer(self, numbers: Any, index: Any) -> Any:
        """Pointer to the vector that begins at numbers[index]."""
        return self._builder.bitcast(self._builder.gep(numbers, [index]), self.type.as_pointer())

    def variable(self) -> Any:
        """A pointer to a local vector, which LLVM turns into registers."""
        return cgutils.alloca_once(self._builder, self.type)

    def load(self, pointer: Any) -> Any:
        return self._builder.load(pointer, align=4)

    def store(self, vector: Any, pointer: Any) -> None:
        self._builder.store(vector, pointer, align=4)

    def broadcast(self, numbers: Any, index: Any) -> Any:
        """numbers[index] in every lane."""
        number = self._builder.load(self._builder.gep(numbers, [index]))
        one = self._builder.insert_element(self._undefined, number, ir.Constant(ir.IntType(32), 0))
        return self._builder.shuffle_vector(one, self._undefined, self._first_lane)

    def sum(self, vector: Any, other: Any) -> Any:
        return self._builder.fadd(vector, other, flags=_FAST)

    def product(self, vector: Any, other: Any) -> Any:
        return self._builder.fmul(vector, other, flags=_FAST)

    def relu(self, vector: Any) -> Any:
        return self._builder.select(self._builder.fcmp_ordered(">", vector, self.zeros), vector, self.zeros)


def rectified_sums(lanes: int, rows: int, *, accumulate: bool) -> Any:
    """A function for compiled code. For each j below `outputs` and t below `items` it computes

        targets[j, t] = Σ_k weights[j, k] ReLU(sources[k, begin + t] + shifts[k])

    or adds the sum to targets[j, t] with `accumulate`. All arrays are float32 and contiguous: targets [outputs, BLOCK],
    sources [inputs, stride], shifts [inputs], weights [outputs, inputs]. `items` is a multiple of `lanes`, `outputs` of
    `rows`: the sums of `rows` times `lanes` are in registers.
    """

    @intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
    def compute(typing, targets, sources, begin, stride, shifts, weights, inputs, outputs, items):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
            code = _Vectors(context, builder, lanes)
            targets, sources, begin, stride, shifts, weights, inputs, outputs, items = code.arguments(signature, values)
            with code.loop(items, lanes) as t, code.loop(outputs, rows) as j:
                output_rows = [code.plus(j, row) for row in range(rows)]
                pointers = [code.pointer(targets, code.plus(code.times(row, BLOCK), t)) for row in output_rows]
                totals = [code.variable() for _ in output_rows]
                for pointer, total in zip(pointers, totals, strict=True):
                    code.store(code.load(pointer) if accumulate else code.zeros, total)
                with code.loop(inputs, 1) as k:
                    x = code.load(code.pointer(sources, code.plus(code.times(k, stride), code.plus(begin, t))))
                    x = code.relu(code.sum(x, code.broadcast(shifts, k)))
                    for row, total in zip(output_rows, totals, strict=True):
                        weight = code.broadcast(weights, code.plus(code.times(row, inputs), k))
                        code.store(code.sum(code.load(total), code.product(weight, x)), total)
                for pointer, total in zip(pointers, totals, strict=True):
                    code.store(code.load(total), pointer)
            return context.get_dummy_value()

        count = types.intp
        return types.void(targets, sources, count, count, shifts, weights, count, count, count), generate

    return compute


add_rectified = rectified_sums(TILE, 1, accumulate=True)
layer = rectified_sums(_LANES, 4, accumulate=False)
