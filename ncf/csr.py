"""Rows of a compressed sparse matrix, several at once and without a loop."""

from __future__ import annotations

import torch
from torch import Tensor


def cells(indptr: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The entries of `rows` [n] of the matrix whose rows begin at `indptr` [all rows + 1]: int64 [entries] each.

    For each entry, which of the n rows it is in, and where it lies among the entries of the whole matrix.
    """
    begin, lengths = indptr[rows], indptr[rows + 1] - indptr[rows]
    row = torch.arange(rows.numel(), device=rows.device).repeat_interleave(lengths)
    place = torch.arange(row.numel(), device=rows.device) - (lengths.cumsum(0) - lengths)[row]
    return row, begin[row] + place
