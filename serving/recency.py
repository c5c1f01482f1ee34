"""Adds to the logits what follows from a person's last items, as defined in `ncf/recent.py`, in a compiled loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from contracts.limits import REASONS
from ncf.interface import Model
from ncf.recent import Recent, WithRecent, in_order
from serving import recent_kernels
from serving.logits import Added


class Recency:
    """The recent part of a model, as arrays on the CPU."""

    def __init__(self, recent: Recent) -> None:
        self._recent = recent

        def array(name: str) -> Any:
            return getattr(recent, name).cpu().numpy()

        self.prior: Added = array("prior")
        """Logits of a stranger, without what the history adds: [items]."""
        self._tensors = (
            (array("indptr"), array("indices"), array("later"), array("often")),
            (array("neighbour_indptr"), array("neighbours"), array("weights")),
            (array("fading"), array("repeats"), array("again")),
            (np.float32(recent.gain), np.float32(recent.repeat_gain)),
        )

    def of(self, user: int | None, history: Sequence[int] = (), ages: Sequence[float] | None = None) -> Added:
        """Return what is added for the user with index `user` (None: a stranger) with this history: [items]. The
        arguments are those of `ncf.recent.Recent.last`, and valid.
        """
        fresh, later = in_order(history, ages)
        added = np.zeros(self.prior.size, np.float32)
        index = -1 if user is None else user
        recent_kernels.recency(*self._tensors, index, np.array(fresh, np.int64), np.array(later, np.int64), added)
        return added

    def reasons(
        self, user: int | None, history: Sequence[int], ages: Sequence[float] | None, items: Sequence[int]
    ) -> list[list[int]]:
        """For each of `items`, the items of the person's history that add most to its score, the first one most; at
        most REASONS, those that add something. The other arguments are those of `of`.
        """
        last = self._recent.last(user, history, ages)
        if not len(last) or not items:
            return [[] for _ in items]
        terms = self._recent.terms(last, torch.tensor(items, device=last.items.device))
        most = terms.topk(min(REASONS, len(last)), dim=0)
        chosen = last.items[most.indices]
        return [
            [int(item) for item, term in zip(own, added, strict=True) if term > 0]
            for own, added in zip(chosen.T.tolist(), most.values.T.tolist(), strict=True)
        ]


def parts_of(model: Model) -> tuple[Model, Recency | None]:
    """The stored part of a model, and its recent part if it has one."""
    return (model.stored, Recency(model.recent)) if isinstance(model, WithRecent) else (model, None)
