"""The similarity of two items to a model: the answer to "related items".

The cosine of two embeddings says little, because factors can be scaled in many ways without any change of scores
(Steck, Ekanadham and Kallus, "Is Cosine-Similarity of Embeddings Really About Similarity?", 2024). The correlation,
over all users, of the scores of two items does not depend on such a scaling: with s = p qᵀ and C the covariance of p,

    similarity(i, j) = q_iᵀ C q_j / √(q_iᵀ C q_i · q_jᵀ C q_j)

C is [factors, factors], so only one norm per item is kept.
"""

from __future__ import annotations

import torch
from torch import Tensor

_ROWS_AT_ONCE = 65_536


class ItemSimilarity:
    """The similarity of items with factors `q` [items, factors]. The default `covariance` [factors, factors] is the
    identity.
    """

    def __init__(self, q: Tensor, covariance: Tensor | None = None) -> None:
        self._q = q
        self._covariance = covariance
        squares = [(self._times_covariance(rows) * rows).sum(dim=1) for rows in q.split(_ROWS_AT_ONCE)]
        self._norms = torch.cat(squares).clamp(min=0.0).sqrt()  # [items]

    def of(self, item: int) -> Tensor:
        """Return the similarity of every item to `item`, -1 to 1: [items].

        An item that has the same score for all users has the similarity 0.
        """
        products = self._q @ self._times_covariance(self._q[item])  # [items]
        return (products / (self._norms * self._norms[item]).clamp(min=1e-12)).clamp(-1.0, 1.0)

    def _times_covariance(self, rows: Tensor) -> Tensor:
        return rows if self._covariance is None else rows @ self._covariance


def by_scores(p: Tensor, q: Tensor) -> ItemSimilarity:
    """Return the similarity by the scores p qᵀ, p [users, factors], q [items, factors]."""
    return ItemSimilarity(q, torch.cov(p.T, correction=0).reshape(q.shape[1], q.shape[1]))
