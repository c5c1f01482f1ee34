"""Compressed sparse matrices (CSR): access to several rows without a loop, and the check of one from a bundle."""

from __future__ import annotations

import torch
from torch import Tensor


def cells(indptr: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the entries of `rows` [n] of a matrix with row boundaries `indptr` [all rows + 1].

    Two tensors, int64 [entries] each: the position of the entry's row in `rows`, and the position of the entry among
    all entries of the matrix.
    """
    begin, lengths = indptr[rows], indptr[rows + 1] - indptr[rows]
    row = torch.arange(rows.numel(), device=rows.device).repeat_interleave(lengths)
    place = torch.arange(row.numel(), device=rows.device) - (lengths.cumsum(0) - lengths)[row]
    return row, begin[row] + place


def check(indptr: Tensor, indices: Tensor, columns: int) -> None:
    """Raise ValueError unless `indptr` [rows + 1] divides `indices` among the rows, each from 0 to columns - 1.

    A model's `restore` calls it, because a tensor of any length may be cut off in a bundle.
    """
    if indptr[0] != 0 or indptr[-1] != indices.numel() or bool((indptr.diff() < 0).any()):
        raise ValueError(f"indptr does not divide {indices.numel()} interactions among {indptr.numel() - 1} users")
    if indices.numel() and (int(indices.min()) < 0 or int(indices.max()) >= columns):
        raise ValueError(f"indices must be from 0 to {columns - 1}")
