"""The three models of He et al., "Neural Collaborative Filtering" (WWW 2017), https://arxiv.org/abs/1708.05031.

With p_u, q_i the embeddings of user u and item i:

    GMF     φ = p_u ⊙ q_i                                        (8)
    MLP     z_1 = [p_u ; q_i],  z_l = ReLU(W_l z_{l-1} + b_l)    (10)
            φ = z_L
    NeuMF   φ = [φ_GMF ; φ_MLP], each with its own embeddings    (12)

    logit = hᵀ φ + b,    score = σ(logit)

The bias b is in the authors' program, but not in the paper's equations. As in that program, the first width in
`mlp_layers` is the width of [p_u ; q_i], so each embedding of the MLP has half of it. Embeddings start from N(0, 0.01²)
and the other weights from LeCun's uniform distribution.

Every model returns logits: the loss is computed from them, and the sigmoid does not change their order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from contracts.values import is_integer
from ncf.similarity import ItemSimilarity, by_scores

MODELS = ("gmf", "mlp", "neumf")
MAXIMUM_WIDTH = 4096
"""Maximum width of an embedding or a layer."""

# A hidden layer of a grid is computed in chunks of at most this many floats: 1 MiB stays in the cache.
_GRID_FLOATS = 1 << 18


@dataclass(frozen=True)
class Architecture:
    """The shape of a model: with the numbers of users and items, it is enough to rebuild the model from its weights.

    Raises ValueError, with the field's name, for a value out of range.
    """

    model: str
    """`gmf`, `mlp` or `neumf`."""
    factors: int
    """Width of φ_GMF: the size of GMF's embeddings. `mlp` does not use it."""
    mlp_layers: tuple[int, ...]
    """Widths of z_1 … z_L; the first is even. `gmf` does not use them."""

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
        """Read the output of `to_dict`. Raises ValueError for anything else."""
        if not isinstance(values, dict) or set(values) != {"model", "factors", "mlpLayers"}:
            raise ValueError("must have exactly model, factors and mlpLayers")
        if not isinstance(values["mlpLayers"], list):
            raise ValueError(f"mlpLayers must be a list, not {values['mlpLayers']!r}")
        return cls(values["model"], values["factors"], tuple(values["mlpLayers"]))


def _is_width(value: object) -> bool:
    return is_integer(value, 1, MAXIMUM_WIDTH)


class ProductTower(nn.Module):
    """φ = p_u ⊙ q_i."""

    def __init__(self, users: int, items: int, factors: int) -> None:
        super().__init__()
        self.user = nn.Embedding(users, factors)
        self.item = nn.Embedding(items, factors)
        self.width = factors

    def forward(self, users: Tensor, items: Tensor, generator: torch.Generator | None = None) -> Tensor:
        found: Tensor = self.user(users) * self.item(items)  # [..., factors]
        return found

    def grid(
        self, users: Tensor, items: Tensor | None, weight: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return weightᵀ φ of each of `users` with each of `items` (None: all items), by one matrix product."""
        q = self.item.weight if items is None else self.item(items)
        found: Tensor = (self.user(users) * weight) @ q.T  # [users, items]
        return found

    def pairs(self, users: Tensor, items: Tensor, weight: Tensor) -> Tensor:
        """Return weightᵀ φ of `items` [users, n] for `users` [users]."""
        found: Tensor = (self.item(items) @ (self.user(users) * weight)[:, :, None]).squeeze(-1)  # [users, n]
        return found


class _SumOfRelu(torch.autograd.Function):
    """Σ_k w_k ReLU(a_k + b_k) of a [users, n] and b [items, n], each with each, for w [n]: [users, items].

    It goes through the n numbers one by one. So the array [users, items, n] is never made, and nothing of that size is
    kept for the backward pass: a third of the time of the same in three operations.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(a, b, w)
        found = torch.zeros(a.shape[0], b.shape[0], dtype=a.dtype, device=a.device)
        for own, other, weight in zip(a.T.contiguous(), b.T.contiguous(), w.tolist(), strict=True):
            found.add_((own[:, None] + other).clamp_(min=0.0), alpha=weight)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (gradient,), (a, b, w) = gradients, ctx.saved_tensors
        of_a, of_b, of_w = a.new_empty(a.shape[::-1]), b.new_empty(b.shape[::-1]), torch.empty_like(w)
        z = torch.empty_like(gradient)
        ones, more_ones = gradient.new_ones(z.shape[1]), gradient.new_ones(z.shape[0])
        for k, (own, other) in enumerate(zip(a.T.contiguous(), b.T.contiguous(), strict=True)):
            torch.add(own[:, None], other, out=z)
            torch.ops.aten.threshold_backward.grad_input(gradient, z, 0, grad_input=z)
            by_user, by_item = z @ ones, more_ones @ z
            of_w[k] = by_user @ own + by_item @ other
            torch.mul(by_user, w[k], out=of_a[k])
            torch.mul(by_item, w[k], out=of_b[k])
        return of_a.T, of_b.T, of_w


class PerceptronTower(nn.Module):
    """φ = z_L: z_1 = [p_u ; q_i], followed by ReLU layers."""

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
            z = torch.relu(layer(self._dropped(z, generator)))  # [..., layers[l]]
        return z  # [..., layers[-1]]

    def grid(
        self, users: Tensor, items: Tensor | None, weight: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return weightᵀ φ of each of `users` with each of `items` (None: all items).

        W_1 [p ; q] = W_1p p + W_1q q, so the first layer costs one product per user and one per item, not one per pair.
        The first layer's dropout applies to the embeddings, so a user has the same dropout for every item.
        """
        p = self._dropped(self.user(users), generator)  # [users, d]
        q = self._dropped(self.item.weight if items is None else self.item(items), generator)  # [items, d]
        if not self.hidden:
            own, other = weight.split(p.shape[-1])
            found: Tensor = (p @ own)[:, None] + q @ other  # [users, items]
            return found
        weight_p, weight_q, bias, rest = self._factored()
        from_users = p @ weight_p.T + bias  # [users, layers[1]]
        from_items = q @ weight_q.T  # [items, layers[1]]
        if not rest and from_users.device.type == "cpu":
            found = _SumOfRelu.apply(from_users.float(), from_items.float(), weight.float())  # type: ignore[no-untyped-call]
            return found
        chunk_size = max(1, _GRID_FLOATS // max(1, from_items.numel()))
        logits = []
        for chunk in from_users.split(chunk_size):
            z = torch.relu(chunk[:, None] + from_items)  # [chunk, items, layers[1]]
            for layer in rest:
                z = torch.relu(layer(self._dropped(z, generator)))  # [chunk, items, layers[l]]
            logits.append(z @ weight)  # [chunk, items]
        return torch.cat(logits)  # [users, items]

    def pairs(self, users: Tensor, items: Tensor, weight: Tensor) -> Tensor:
        """Return weightᵀ φ of `items` [users, n] for `users` [users]. The first layer is factored as in `grid`."""
        p, all_q = self.user(users), self.item.weight  # [users, d], [items, d]
        if not self.hidden:
            own, other = weight.split(p.shape[-1])
            found: Tensor = (p @ own)[:, None] + self.item(items) @ other  # [users, n]
            return found
        weight_p, weight_q, bias, rest = self._factored()
        # The cheaper of the two: one product per pair, or one per item of the catalogue.
        is_few = items.numel() < all_q.shape[0]
        from_items = self.item(items) @ weight_q.T if is_few else (all_q @ weight_q.T)[items]  # [users, n, layers[1]]
        z = torch.relu((p @ weight_p.T + bias)[:, None] + from_items)
        for layer in rest:
            z = torch.relu(layer(z))  # [users, n, layers[l]]
        return z @ weight  # [users, n]

    def _factored(self) -> tuple[Tensor, Tensor, Tensor, list[nn.Module]]:
        """Return W_1p, W_1q, b_1, and the layers after the first."""
        first, *rest = self.hidden
        assert isinstance(first, nn.Linear)
        weight_p, weight_q = first.weight.chunk(2, dim=1)
        return weight_p, weight_q, first.bias, rest

    def _dropped(self, z: Tensor, generator: torch.Generator | None) -> Tensor:
        if generator is None or self.dropout == 0:
            return z
        return z * torch.empty_like(z).bernoulli_(1.0 - self.dropout, generator=generator) / (1.0 - self.dropout)


class Recommender(nn.Module):
    """GMF, MLP or NeuMF: one or two towers compute φ, and the output layer h computes the logit from it.

    It is an `ncf.interface.Model`.
    """

    def __init__(self, architecture: Architecture, users: int, items: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.architecture = architecture
        towers: list[ProductTower | PerceptronTower] = []
        if architecture.model in ("gmf", "neumf"):
            towers.append(ProductTower(users, items, architecture.factors))
        if architecture.model in ("mlp", "neumf"):
            towers.append(PerceptronTower(users, items, architecture.mlp_layers, dropout))
        self.towers = nn.ModuleList(towers)
        self.widths = [tower.width for tower in towers]
        self.output = nn.Linear(sum(self.widths), 1)

    @property
    def name(self) -> str:
        return self.architecture.model

    @property
    def device(self) -> torch.device:
        return self.output.weight.device

    def forward(self, users: Tensor, items: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the logits of (user, item) pairs; `users` and `items` are int64 indices of the same shape.

        `generator` draws the dropout during training; without a generator there is no dropout.
        """
        phi = torch.cat([tower(users, items, generator) for tower in self.towers], dim=-1)  # [..., widths]
        found: Tensor = self.output(phi).squeeze(-1)  # [...]
        return found

    def pairs(self, users: Tensor, items: Tensor) -> Tensor:
        logits: Tensor = self.output.bias  # [1]
        for tower, weight in zip(self.towers, self._weights(), strict=True):
            assert isinstance(tower, (ProductTower, PerceptronTower))
            logits = logits + tower.pairs(users, items, weight)
        return logits  # [users, n]

    def catalogue(self, users: Tensor) -> Tensor:
        return self.grid(users)  # [users, items]

    def grid(self, users: Tensor, items: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Return the logits of each of `users` with each of `items` (int64 indices, one axis each; None: all items)."""
        logits: Tensor = self.output.bias  # [1]
        for tower, weight in zip(self.towers, self._weights(), strict=True):
            assert isinstance(tower, (ProductTower, PerceptronTower))
            logits = logits + tower.grid(users, items, weight, generator)
        return logits  # [users, items]

    def _weights(self) -> tuple[Tensor, ...]:
        """Return h, split into one part for each tower."""
        found: tuple[Tensor, ...] = self.output.weight.squeeze(0).split(self.widths)
        return found

    def item_vectors(self) -> list[tuple[Tensor, Tensor | None]]:
        """As of `ncf.attributes.HasItemVectors`."""
        found: list[tuple[Tensor, Tensor | None]] = []
        for tower, weight in zip(self.towers, self._weights(), strict=True):
            assert isinstance(tower, (ProductTower, PerceptronTower))
            users = tower.user.weight.detach() * weight.detach() if isinstance(tower, ProductTower) else None
            found.append((tower.item.weight.detach(), users))
        return found

    def related(self, item: int) -> Tensor | None:
        """The similarity by the scores of the GMF half, or for `mlp` by the items' part of the first layer."""
        return self._similarity.of(item)  # [items]

    @cached_property
    @torch.no_grad()
    def _similarity(self) -> ItemSimilarity:
        tower = self.towers[0]
        assert isinstance(tower, (ProductTower, PerceptronTower))
        if isinstance(tower, ProductTower):
            return by_scores(tower.user.weight * self._weights()[0], tower.item.weight)
        from_items = tower.item.weight @ tower._factored()[1].T if tower.hidden else tower.item.weight
        return ItemSimilarity(from_items - from_items.mean(dim=0))

    def describe(self) -> dict[str, Any]:
        return self.architecture.to_dict()

    def state(self) -> dict[str, Tensor]:
        return self.state_dict()

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw all weights from `generator`, which must be on the parameters' device."""
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, nn.Embedding):
                    module.weight.normal_(0.0, 0.01, generator=generator)
                elif isinstance(module, nn.Linear):
                    bound = math.sqrt(3.0 / module.in_features)
                    module.weight.uniform_(-bound, bound, generator=generator)
                    module.bias.zero_()

    @torch.no_grad()
    def scaled(self, factor: float, shift: float) -> Recommender:
        """Multiply all logits by `factor`, then add `shift`, in place."""
        self.output.weight.mul_(factor)
        self.output.bias.mul_(factor).add_(shift)
        return self

    def start_product(self, p: Tensor, q: Tensor) -> None:
        """Set the GMF half to the product of p [users, factors] and q [items, factors]: h is 1 on it, and 0 on the MLP
        half.
        """
        tower = self.towers[0]
        assert isinstance(tower, ProductTower)
        with torch.no_grad():
            tower.user.weight.copy_(p)
            tower.item.weight.copy_(q)
            self.output.weight.zero_()
            self.output.weight[:, : tower.width] = 1.0


class _WithoutValues(TorchFunctionMode):
    """Skips the start of weights. On the device meta it would have no effect, and torch imports its compiler for it."""

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        if getattr(function, "__module__", None) == "torch.nn.init":
            return arguments[0] if arguments else named["tensor"]
        return function(*arguments, **(named or {}))


def without_values(architecture: Architecture, users: int, items: int) -> Recommender:
    """Return a model on the device meta: its weights have shapes and types, and no values."""
    with torch.device("meta"), _WithoutValues():
        return Recommender(architecture, users, items)
