"""Popularity: the same order for everyone, as a baseline that every recommender has to beat.

The score of an item is the log-odds that a user has interacted with it, log((n + ½) / (U - n + ½)), so σ of the score
is about the share of these users. Scores are float64, so that different counts always have different scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ncf.dataset import Dataset
from ncf.interface import Context, Kind, Tensors, require_keys
from ncf.parameters import Parameters

NAME = "popularity"


class Popularity:
    """A fitted popularity: scores [items], the same for every user."""

    name = NAME

    def __init__(self, scores: Tensor) -> None:
        self._scores = scores

    @property
    def device(self) -> torch.device:
        return self._scores.device

    def pairs(self, users: Tensor, items: Tensor) -> Tensor:
        return self._scores[items]  # [users, n]

    def catalogue(self, users: Tensor) -> Tensor:
        return self._scores.repeat(users.shape[0], 1)  # [users, items]

    def related(self, item: int) -> Tensor | None:
        return None

    def describe(self) -> dict[str, Any]:
        return {"model": NAME}

    def state(self) -> dict[str, Tensor]:
        return {"scores": self._scores}

    def to(self, device: torch.device) -> Popularity:
        return Popularity(self._scores.to(device))


def fit(dataset: Dataset, parameters: Parameters | None = None, context: Context | None = None) -> Popularity:
    counts = torch.as_tensor(dataset.popularity, dtype=torch.float64)  # [items]
    others = (dataset.users - counts).clamp(min=0.0)  # repeated interactions may give more counts than users
    model = Popularity(torch.log((counts + 0.5) / (others + 0.5)))
    return model if context is None else model.to(context.device)


def layout(description: Mapping[str, Any], users: int, items: int) -> dict[str, Tensors]:
    require_keys(description)
    return {"scores": Tensors(torch.float64, (items,))}


def restore(description: Mapping[str, Any], state: Mapping[str, Tensor], users: int, items: int) -> Popularity:
    return Popularity(state["scores"])


KINDS = (Kind(NAME, Parameters, fit, layout, restore),)
