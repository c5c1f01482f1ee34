"""Adds to the logits what follows from a person's last items, as defined in `ncf/recent.py`, in a compiled loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ncf.interface import Model
from ncf.recent import Recent, WithRecent, in_order
from serving import kernels
from serving.logits import Added


class Recency:
    """The recent part of a model, as arrays on the CPU."""

    def __init__(self, recent: Recent) -> None:
        def array(name: str) -> Any:
            return getattr(recent, name).cpu().numpy()

        self.prior: Added = array("prior")
        """Logits of a stranger, without what the history adds: [items]."""
        self._tensors = (
            (array("indptr"), array("indices"), array("later"), array("often")),
            (array("neighbour_indptr"), array("neighbours"), array("weights")),
            (array("fading"), array("repeats")),
            np.float32(recent.gain),
        )

    def of(self, user: int | None, history: Sequence[int] = (), ages: Sequence[float] | None = None) -> Added:
        """Return what is added for the user with index `user` (None: a stranger) with this history: [items]. The
        arguments are those of `ncf.recent.Recent.last`, and valid.
        """
        fresh, later = in_order(history, ages)
        added = np.zeros(self.prior.size, np.float32)
        index = -1 if user is None else user
        kernels.recency(*self._tensors, index, np.array(fresh, np.int64), np.array(later, np.int64), added)
        return added


def parts_of(model: Model) -> tuple[Model, Recency | None]:
    """The stored part of a model, and its recent part if it has one."""
    return (model.stored, Recency(model.recent)) if isinstance(model, WithRecent) else (model, None)
