"""The three models of He et al., "Neural Collaborative Filtering" (WWW 2017), https://arxiv.org/abs/1708.05031.

With p_u, q_i the embeddings of user u and item i:

    GMF     φ = p_u ⊙ q_i                                        (8)
    MLP     z_1 = [p_u ; q_i],  z_l = ReLU(W_l z_{l-1} + b_l)    (10)
            φ = z_L
    NeuMF   φ = [φ_GMF ; φ_MLP], each with embeddings of its own (12)

    logit = hᵀ φ + b,    score = σ(logit)

b is the bias that the authors' program has and the paper's equations leave out. As in that program, the first width in
`mlp_layers` is that of [p_u ; q_i], so each embedding of the MLP has half of it; embeddings start from N(0, 0.01²) and
the other weights from LeCun's uniform distribution.

Every model returns logits: the loss wants them, and the sigmoid keeps their order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

MODELS = ("gmf", "mlp", "neumf")

# The hidden layer of a whole catalogue is made for as many users at a time as fit in this many floats (64 MiB).
_CATALOGUE_FLOATS = 1 << 24


@dataclass(frozen=True)
class Architecture:
    """What must be known, besides the number of users and items, to rebuild a model from its weights.

    Raises ValueError, naming the field, for a value that describes no model.
    """

    model: str
    """`gmf`, `mlp` or `neumf`."""
    factors: int
    """Width of φ_GMF: the size of GMF's embeddings. The MLP alone does not use it."""
    mlp_layers: tuple[int, ...]
    """Widths of z_1 … z_L; the first is even. GMF alone does not use them."""

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise ValueError(f"model must be one of {', '.join(MODELS)}, not {self.model!r}")
        if not _is_width(self.factors):
            raise ValueError(f"factors must be an integer from 1 to 4096, not {self.factors!r}")
        if not 1 <= len(self.mlp_layers) <= 16 or not all(_is_width(width) for width in self.mlp_layers):
            raise ValueError(f"mlp_layers must be 1 to 16 integers from 1 to 4096, not {list(self.mlp_layers)!r}")
        if self.mlp_layers[0] % 2:
            raise ValueError(f"mlp_layers must begin with an even number (two embeddings), not {self.mlp_layers[0]}")

    def to_dict(self) -> dict[str, Any]:
        return {"model": self.model, "factors": self.factors, "mlpLayers": list(self.mlp_layers)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Architecture:
        """Read what `to_dict` wrote; raises ValueError for anything else."""
        if not isinstance(values, dict) or set(values) != {"model", "factors", "mlpLayers"}:
            raise ValueError("must have exactly model, factors and mlpLayers")
        if not isinstance(values["mlpLayers"], list):
            raise ValueError(f"mlpLayers must be a list, not {values['mlpLayers']!r}")
        return cls(values["model"], values["factors"], tuple(values["mlpLayers"]))


def _is_width(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 4096


class ProductTower(nn.Module):
    """φ = p_u ⊙ q_i."""

    def __init__(self, users: int, items: int, factors: int) -> None:
        super().__init__()
        self.user = nn.Embedding(users, factors)
        self.item = nn.Embedding(items, factors)
        self.width = factors

    def forward(self, users: Tensor, items: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.user(users) * self.item(items)  # [..., factors]

    def catalogue(self, users: Tensor, weight: Tensor) -> Tensor:
        """weightᵀ φ for each user and every item, as one matrix product."""
        return (self.user(users) * weight) @ self.item.weight.T  # [users, items]


class PerceptronTower(nn.Module):
    """φ = z_L, after z_1 = [p_u ; q_i] and ReLU layers that narrow it."""

    def __init__(self, users: int, items: int, layers: Sequence[int], dropout: float = 0.0) -> None:
        super().__init__()
        self.user = nn.Embedding(users, layers[0] // 2)
        self.item = nn.Embedding(items, layers[0] // 2)
        self.hidden = nn.ModuleList(nn.Linear(above, below) for above, below in pairwise(layers))
        self.dropout = dropout
        self.width = layers[-1]

    def forward(self, users: Tensor, items: Tensor, generator: torch.Generator | None = None) -> Tensor:
        z = torch.cat([self.user(users), self.item(items)], dim=-1)  # [..., layers[0]]
        for layer in self.hidden:
            if generator is not None and self.dropout > 0:
                kept = torch.empty_like(z).bernoulli_(1.0 - self.dropout, generator=generator)
                z = z * kept / (1.0 - self.dropout)
            z = torch.relu(layer(z))  # [..., layers[l]]
        return z  # [..., layers[-1]]

    def catalogue(self, users: Tensor, weight: Tensor) -> Tensor:
        """weightᵀ φ for each user and every item.

        W_1 [p ; q] = W_1p p + W_1q q, so the first layer costs one product per user and one per item, not one per pair.
        """
        p, q = self.user(users), self.item.weight  # [users, d], [items, d]
        if not self.hidden:
            own, other = weight.split(p.shape[-1])
            return (p @ own)[:, None] + q @ other  # [users, items]
        first, *rest = self.hidden
        assert isinstance(first, nn.Linear)
        weight_p, weight_q = first.weight.split(p.shape[-1], dim=1)
        from_users = p @ weight_p.T + first.bias  # [users, layers[1]]
        from_items = q @ weight_q.T  # [items, layers[1]]
        at_once = max(1, _CATALOGUE_FLOATS // max(1, from_items.numel()))
        logits = []
        for chunk in from_users.split(at_once):
            z = torch.relu(chunk[:, None] + from_items)  # [chunk, items, layers[1]]
            for layer in rest:
                z = torch.relu(layer(z))  # [chunk, items, layers[l]]
            logits.append(z @ weight)  # [chunk, items]
        return torch.cat(logits)  # [users, items]


class Recommender(nn.Module):
    """One or two towers that make φ, and the layer h that weighs it into a logit."""

    def __init__(self, *towers: ProductTower | PerceptronTower) -> None:
        super().__init__()
        self.towers = nn.ModuleList(towers)
        self.widths = [tower.width for tower in towers]
        self.output = nn.Linear(sum(self.widths), 1)

    def forward(self, users: Tensor, items: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Logits of (user, item) pairs; `users` and `items` are int64 indices of one shape.

        `generator` draws the dropout while training; without one nothing is dropped.
        """
        phi = torch.cat([tower(users, items, generator) for tower in self.towers], dim=-1)  # [..., widths]
        return self.output(phi).squeeze(-1)  # [...]

    def catalogue(self, users: Tensor) -> Tensor:
        """Logits of every item for each of `users` (int64 indices, one axis), without dropout."""
        weights = self.output.weight.squeeze(0).split(self.widths)
        logits: Tensor = self.output.bias  # [1]
        for tower, weight in zip(self.towers, weights, strict=True):
            assert isinstance(tower, (ProductTower, PerceptronTower))
            logits = logits + tower.catalogue(users, weight)
        return logits  # [users, items]

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw every weight anew from `generator` (which must be on the parameters' device)."""
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, nn.Embedding):
                    module.weight.normal_(0.0, 0.01, generator=generator)
                elif isinstance(module, nn.Linear):
                    bound = math.sqrt(3.0 / module.in_features)
                    module.weight.uniform_(-bound, bound, generator=generator)
                    module.bias.zero_()


class GMF(Recommender):
    """Generalized matrix factorization."""

    def __init__(self, users: int, items: int, factors: int) -> None:
        super().__init__(ProductTower(users, items, factors))


class MLP(Recommender):
    """Multi-layer perceptron over the concatenated embeddings."""

    def __init__(self, users: int, items: int, layers: Sequence[int], dropout: float = 0.0) -> None:
        super().__init__(PerceptronTower(users, items, layers, dropout))


class NeuMF(Recommender):
    """GMF and MLP, fused in the last layer."""

    def __init__(self, users: int, items: int, factors: int, layers: Sequence[int], dropout: float = 0.0) -> None:
        super().__init__(ProductTower(users, items, factors), PerceptronTower(users, items, layers, dropout))


def build(architecture: Architecture, users: int, items: int, dropout: float = 0.0) -> Recommender:
    """The model that `architecture` describes, for so many users and items; `reset_parameters` then starts it."""
    if architecture.model == "gmf":
        return GMF(users, items, architecture.factors)
    if architecture.model == "mlp":
        return MLP(users, items, architecture.mlp_layers, dropout)
    return NeuMF(users, items, architecture.factors, architecture.mlp_layers, dropout)
