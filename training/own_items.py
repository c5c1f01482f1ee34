"""The user's own items as a baseline, for a test in which people come back to what they had."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ncf.csr import cells
from ncf.dataset import Dataset
from ncf.models.cooccurrence import pairs_of


class OwnItems:
    """First the user's items in train, those with the most events first, of as many the latest first, and of one time
    the most popular first; then popular items.
    """

    name = "own_items"

    def __init__(self, dataset: Dataset, device: torch.device) -> None:
        history, train = dataset.history, dataset.train
        visit = np.cumsum(~history.is_tied)  # [pairs in train]
        keys = train.user * dataset.items + train.item
        events = dataset.events[np.searchsorted(keys, train.user * dataset.items + history.item)]  # as in history
        order = np.lexsort((visit, events, train.user))
        is_next = (np.diff(events[order], prepend=0) != 0) | (np.diff(visit[order], prepend=0) != 0)
        ranks, first = np.cumsum(is_next), np.minimum(train.indptr[train.user], len(train) - 1)
        rank = np.empty(len(train), np.float32)
        rank[order] = ranks - ranks[first] + 1  # of each user from 1
        self._rank = torch.as_tensor(rank, device=device)  # [pairs in train]
        self._items = torch.as_tensor(history.item, device=device)
        self._indptr = torch.as_tensor(train.indptr, device=device)  # [users + 1]
        share = dataset.popularity / (dataset.popularity.max() + 1)  # below 1
        self._popularity = torch.as_tensor(share.astype(np.float32), device=device)  # [items]

    def pairs(self, users: Tensor, items: Tensor) -> Tensor:
        return pairs_of(self.catalogue, users, items)  # [users, n]

    def catalogue(self, users: Tensor) -> Tensor:
        scores = self._popularity.repeat(users.shape[0], 1)  # [users, items]
        row, place = cells(self._indptr, users)  # [interactions]
        scores[row, self._items[place].long()] += self._rank[place]
        return scores
