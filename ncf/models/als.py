"""ALS: matrix factorization of implicit feedback by alternating least squares.

Hu, Koren and Volinsky, "Collaborative Filtering for Implicit Feedback Datasets" (ICDM 2008), in the form of Rendle,
Krichene, Zhang and Koren, "Revisiting the Performance of iALS on Item Recommendation Benchmarks" (RecSys 2022):

    Σ_{(u,i) ∈ S} (1 - p_uᵀq_i)² + α Σ_u Σ_i (p_uᵀq_i)² + λ (Σ_u (|S_u| + α I) ‖p_u‖² + Σ_i (|S_i| + α U) ‖q_i‖²)

Users' and items' factors are solved in turn. If one side is fixed, each row of the other side is the exact solution of
a linear system: `ncf/fitting/least_squares.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from contracts.values import is_integer
from ncf import parameters
from ncf.dataset import Dataset, Pairs
from ncf.interface import CannotFit, Context, Kind, Stopped, Tensors, require_keys
from ncf.parameters import Between, integer, number, parameter
from ncf.seeds import stream
from ncf.similarity import ItemSimilarity, by_scores

NAME = "als"
CHOICE_ITERATIONS = 3
"""Iterations of each fit by which als_unobserved_weight is chosen."""


@dataclass(frozen=True, kw_only=True)
class Parameters(parameters.Parameters):
    factors: int = parameter(
        "Width of the embeddings of gmf, neumf and als, 1 to 4096. He et al. tried 8 to 64.",
        integer(1, 4096),
        64,
        search=Between(8, 128, log=True),
    )
    als_unobserved_weight: float = parameter(
        "Weight of the pairs without interaction in als, 0 to 10 (α in ncf/models/als.py). 0: the best of some powers "
        "of ten, chosen on a part of train (ncf/fitting/unobserved_weight.py); 1 on dense data.",
        number("a number from 0 to 10", lambda value: 0 <= value <= 10),
        0.0,
    )
    als_regularization: float = parameter(
        "Regularization of als per interaction, above 0 and at most 10 (λ in ncf/models/als.py).",
        number("a number above 0 and at most 10", lambda value: 0 < value <= 10),
        0.003,
        search=Between(0.0003, 0.1, log=True),
    )
    als_iterations: int = parameter(
        "Iterations of als, 1 to 100; each solves for the factors of all users and all items.",
        integer(1, 100),
        6,
    )


class Als:
    """A fitted ALS: factors of users [users, factors] and items [items, factors]. A score is their product."""

    name = NAME

    def __init__(self, users: Tensor, items: Tensor) -> None:
        self._users, self._items = users, items

    @property
    def device(self) -> torch.device:
        return self._users.device

    def pairs(self, users: Tensor, items: Tensor) -> Tensor:
        return (self._users[users][:, None] * self._items[items]).sum(dim=-1)  # [users, n]

    def catalogue(self, users: Tensor) -> Tensor:
        return self._users[users] @ self._items.T  # [users, items]

    def related(self, item: int) -> Tensor | None:
        return self._similarity.of(item)  # [items]

    @cached_property
    def _similarity(self) -> ItemSimilarity:
        return by_scores(self._users, self._items)

    def describe(self) -> dict[str, Any]:
        return {"model": NAME, "factors": self._users.shape[1]}

    def state(self) -> dict[str, Tensor]:
        return {"users": self._users, "items": self._items}

    def to(self, device: torch.device) -> Als:
        return Als(self._users.to(device), self._items.to(device))


def factorize(train: Pairs, items: int, parameters: Parameters, context: Context) -> tuple[Tensor, Tensor]:
    """Return p [users, factors] and q [items, factors] on the CPU, scaled to equal mean squares.

    The same pairs and parameters are factorized once for each `context`. Raises CannotFit if the regularization is too
    small for a solution, and Stopped.
    """
    found: tuple[Tensor, Tensor] = context.once(
        (NAME, *_values(parameters)), train, lambda: _factorize(train, items, parameters, context)
    )
    return found


def _factorize(train: Pairs, items: int, parameters: Parameters, context: Context) -> tuple[Tensor, Tensor]:
    # Imported here, because the server loads this file, but needs no code for fitting.
    from ncf.fitting.least_squares import Rows, solve

    if parameters.als_unobserved_weight == 0:
        parameters = replace(parameters, als_unobserved_weight=_chosen_weight(train, items, parameters, context))
    users, factors = train.indptr.size - 1, parameters.factors
    weight, regularization = parameters.als_unobserved_weight, parameters.als_regularization
    transposed = Pairs.of(train.item, train.user, items, users)
    by_user, by_item = Rows(train.item, train.indptr), Rows(transposed.item, transposed.indptr)
    generator = torch.Generator().manual_seed(stream(parameters.seed, "als"))
    q = torch.randn(items, factors, generator=generator) * (0.1 / factors**0.5)
    try:
        for _ in range(parameters.als_iterations):
            if context.stop():
                raise Stopped("stopped while factorizing")
            p = solve(q, by_user, weight, regularization)
            q = solve(p, by_item, weight, regularization)
        p = solve(q, by_user, weight, regularization)
    except torch.linalg.LinAlgError as error:
        raise CannotFit(
            f"als cannot be solved with als_regularization {regularization:g}: choose a greater value ({error})"
        ) from error
    balance = (p.square().mean() / q.square().mean().clamp(min=1e-12)).clamp(min=1e-12) ** 0.25
    return p / balance, q * balance


def _chosen_weight(train: Pairs, items: int, parameters: Parameters, context: Context) -> float:
    """Return the weight of pairs without interaction that is best on a part of `train`; chosen once for a context."""
    from ncf.fitting.unobserved_weight import choose

    brief = replace(parameters, als_iterations=min(CHOICE_ITERATIONS, parameters.als_iterations))

    def factorized(pairs: Pairs, weight: float) -> tuple[Tensor, Tensor]:
        return _factorize(pairs, items, replace(brief, als_unobserved_weight=weight), context)

    def chosen() -> float:
        choice = choose(train, items, stream(parameters.seed, "als weight"), factorized)
        if choice.weight != 1.0:
            tried = ", ".join(f"{figure:.4f} with {weight:g}" for weight, figure in choice.figures.items())
            context.warn(
                f"note: als_unobserved_weight is {choice.weight:g}; full-catalogue NDCG on validation: {tried}"
            )
        return choice.weight

    # Not by `train`: a cut of the dataset for validation has the same weight.
    found: float = context.once((NAME, "weight", *_values(parameters)), None, chosen)
    return found


def _values(parameters: Parameters) -> tuple[Any, ...]:
    return tuple(getattr(parameters, declared.name) for declared in dataclasses.fields(Parameters))


def fit(dataset: Dataset, parameters: Parameters, context: Context) -> Als:
    users, items = factorize(dataset.train, dataset.items, parameters, context)
    return Als(users, items).to(context.device)


def layout(description: Mapping[str, Any], users: int, items: int) -> dict[str, Tensors]:
    require_keys(description, "factors")
    factors = description["factors"]
    if not is_integer(factors, 1, 4096):
        raise ValueError(f"factors must be an integer from 1 to 4096, not {factors!r}")
    return {"users": Tensors(torch.float32, (users, factors)), "items": Tensors(torch.float32, (items, factors))}


def restore(description: Mapping[str, Any], state: Mapping[str, Tensor], users: int, items: int) -> Als:
    return Als(state["users"], state["items"])


KINDS = (Kind(NAME, Parameters, fit, layout, restore),)
