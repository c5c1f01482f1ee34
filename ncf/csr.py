"""Access to several rows of a compressed sparse matrix (CSR) without a loop."""

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
