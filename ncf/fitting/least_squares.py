"""One half of an ALS iteration: the factors of every row of a sparse matrix, given those of its columns.

Row r with columns j ∈ S_r of confidence c_j has the factors x that minimise (`ncf/models/als.py` has the whole
objective)

    Σ_j c_j (1 - xᵀf_j)² + α Σ_i (xᵀf_i)² + μ_r ‖x‖²

With G = α FᵀF, and the vectors √c_j f_j as rows of V, x = (G + μ_r I + VᵀV)⁻¹ Vᵀ√c. G = Q Λ Qᵀ is the same for all,
and in its eigenbasis D = Λ + μ_r I is diagonal. So a row with n < factors entries needs no system of `factors`
unknowns: by Woodbury's identity x = D⁻¹Vᵀ (I + V D⁻¹ Vᵀ)⁻¹ √c, a system of n unknowns. In a shop most rows are short.
Rows of similar length are solved together; the shorter ones are filled up with zeros, which change nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_FLOATS = 1 << 18
"""Maximum number of floats of the vectors V that are solved at once: 1 MiB stays in the cache."""

T = TypeVar("T")
R = TypeVar("R")


class Rows:
    """A sparse matrix: the columns of each row, and their confidence (1 without `confidence`)."""

    def __init__(self, columns: NDArray[Any], indptr: NDArray[Any], confidence: NDArray[Any] | None = None) -> None:
        self._columns = torch.as_tensor(columns)  # [entries]
        self._roots = (
            None if confidence is None else torch.as_tensor(confidence, dtype=torch.float32).sqrt()
        )  # [entries]
        self._indptr = torch.as_tensor(indptr)  # [rows + 1]
        self._lengths = np.diff(indptr)  # [rows]
        sums = self._lengths if confidence is None else np.bincount(_row_of(indptr), confidence, self._lengths.size)
        self.weights = torch.as_tensor(sums, dtype=torch.float32)  # [rows], the confidence of each row together

    def __len__(self) -> int:
        return self._lengths.size

    def batches(self, factors: int) -> Iterator[tuple[Tensor, int]]:
        """Yield the numbers of some rows of similar length, and the greatest length; rows without entry are omitted."""
        order = np.argsort(self._lengths, kind="stable")
        lengths = self._lengths[order]
        begin = int(np.searchsorted(lengths, 1))
        while begin < order.size:
            longest = int(lengths[begin])
            longest += longest // 8
            end = int(np.searchsorted(lengths, longest, side="right"))
            size = max(1, _FLOATS // (longest * factors))
            for first in range(begin, end, size):
                part = slice(first, min(first + size, end))
                yield torch.as_tensor(order[part]), int(lengths[part][-1])
            begin = end

    def entries(self, rows: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Return the columns of `rows` and the roots of their confidence, 0 behind the last: [rows, length] each."""
        begin, end = self._indptr[rows], self._indptr[rows + 1]
        where = begin[:, None] + torch.arange(length)
        is_own = where < end[:, None]
        where = torch.where(is_own, where, begin[:, None])
        roots = is_own.float() if self._roots is None else self._roots[where] * is_own
        return self._columns[where], roots


def _row_of(indptr: NDArray[Any]) -> NDArray[Any]:
    return np.repeat(np.arange(indptr.size - 1), np.diff(indptr))


def solve(fixed: Tensor, rows: Rows, unobserved_weight: float, regularization: float) -> Tensor:
    """Return the factors of `rows` [rows, factors], given those of the columns, `fixed` [columns, factors].

    Raises torch.linalg.LinAlgError if the regularization is too small for a solution.
    """
    columns, factors = fixed.shape
    values, basis = torch.linalg.eigh(unobserved_weight * (fixed.T @ fixed).double())
    values, basis = values.clamp(min=0.0).float(), basis.float()  # [factors], [factors, factors]
    rotated = fixed @ basis  # [columns, factors]
    ridge = regularization * (rows.weights + unobserved_weight * columns)  # [rows], μ
    solved = torch.zeros(len(rows), factors)

    def solve_batch(batch: tuple[Tensor, int]) -> None:
        which, length = batch
        own, roots = rows.entries(which, length)  # [batch, length] each
        diagonal = values + ridge[which, None]  # [batch, factors], D
        vectors = rotated[own] * roots[:, :, None]  # [batch, length, factors]
        if length < factors:
            scale = diagonal.rsqrt()
            vectors *= scale[:, None]
            triangles = torch.linalg.cholesky(_with_ones(vectors @ vectors.mT))
            found = (vectors.mT @ torch.cholesky_solve(roots[:, :, None], triangles)).squeeze(2) * scale
        else:
            left = vectors.mT @ vectors
            left.diagonal(dim1=1, dim2=2).add_(diagonal)
            right = vectors.mT @ roots[:, :, None]
            found = torch.cholesky_solve(right, torch.linalg.cholesky(left)).squeeze(2)
        solved[which] = found

    in_threads(solve_batch, rows.batches(factors))
    found: Tensor = solved @ basis.T
    return found


def _with_ones(matrices: Tensor) -> Tensor:
    matrices.diagonal(dim1=1, dim2=2).add_(1.0)
    return matrices


def in_threads(work: Callable[[T], R], parts: Iterator[T]) -> list[R]:
    """Return what `work` returns for each of `parts`, computed in a thread for each core (OMP_NUM_THREADS, if set)."""
    threads = int(os.environ.get("OMP_NUM_THREADS", 0)) or len(os.sched_getaffinity(0))
    if threads == 1:
        return [work(part) for part in parts]
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(work, parts))
    finally:
        torch.set_num_threads(before)
