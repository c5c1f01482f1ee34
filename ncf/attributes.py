"""Vectors of items that nobody has in train, from what the catalogue tells of them.

Let x_j be the attributes of item j, and q_j its vector in a fitted model. Over the items with n_j > 0 interactions,
with w_j = n_j / (n_j + EVIDENCE), because a vector of few interactions is mostly chance,

    B   = argmin Σ_j w_j ‖q_j - q̄ - (x_j - x̄) B‖² + λ ‖B‖²    ridge regression, in closed form
    q_j = q̄ + (x_j - x̄) B - c d                                for the items without interactions

q̄ and x̄ are means with the weights w. λ is chosen by generalized cross-validation (Golub, Heath and Wahba,
Technometrics 1979), which needs no second fit. Nothing is known of how good a new item is, so c d lowers the scores of
all of them: d is the vector with p_uᵀ d ≈ 1 for the vectors p_u of users, by least squares, and c the least of OFFSETS,
in standard deviations of a user's scores, with which new items have at most the share MOST_SHARE of the best places of
a sample of users, and at most their share of the catalogue. Their order for a user does not depend on c. If no c
suffices, or the score is no product of vectors, each of them is the mean item: q_j = q̄ - c d.

An attribute is a category, a word of the title, the value of another text or boolean column, or a tenth of the range
of a number. One that only one item with interactions has, or all, tells nothing, so an address or an identifier counts
for nothing. The FEATURES most frequent of the others count. An item without any of them is the mean item.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ncf.csr import cells
from ncf.dataset import Dataset
from ncf.interface import Model
from ncf.recent import WithRecent

FEATURES = 1024
"""Most attributes that count; the regression has a matrix of this size."""
LEAST_ITEMS = 2
EVIDENCE = 5.0
PARTS = 10
STRENGTHS = tuple(10.0 ** (power / 2) for power in range(-2, 9))
"""Choices of λ."""
OFFSETS = (0.0, 1.0, 2.0, 4.0, 8.0)
MOST_SHARE = 0.1
_PLACES = 10
_SAMPLE, _SAMPLE_OF_LEAST_SQUARES = 512, 4096
_USERS_AT_ONCE = 64
_ROWS_AT_ONCE = 512
_WORD = re.compile(r"\w+")


@runtime_checkable
class HasItemVectors(Protocol):
    """A model in which tables hold one row for each item."""

    def item_vectors(self) -> list[tuple[Tensor, Tensor | None]]:
        """The tables [items, n], whose rows the caller may overwrite before the model is asked for related items; with
        each the users' vectors [users, n], if their product with a row is a part of the score.
        """


@dataclass(frozen=True)
class Attributes:
    """The attributes of each item, as a sparse matrix: item i has indices[indptr[i]] to indices[indptr[i + 1]]."""

    names: list[str]
    indptr: NDArray[np.int64]  # [items + 1]
    indices: NDArray[np.int64]  # [attributes of all items]

    def rows(self, items: NDArray[np.int64]) -> Tensor:
        """Return x of `items` [items]: [items, attributes], each of length 1, or 0 without attributes."""
        row, place = cells(torch.as_tensor(self.indptr), torch.as_tensor(items))
        x = torch.zeros(items.size, len(self.names), dtype=torch.float64)
        x[row, torch.as_tensor(self.indices)[place]] = 1.0
        return x / x.sum(dim=1, keepdim=True).sqrt().clamp(min=1.0)


def attributes_of(dataset: Dataset) -> Attributes:
    """Return the attributes of all items that tell something about those with interactions."""
    learned = np.flatnonzero(dataset.popularity)
    edges = _edges(dataset, learned)
    found = [sorted(set(_names(dataset, item, edges))) for item in range(dataset.items)]
    counts = Counter(name for item in learned for name in found[item])
    useful = sorted((-count, name) for name, count in counts.items() if LEAST_ITEMS <= count < learned.size)
    place = {name: number for number, (_, name) in enumerate(useful[:FEATURES])}
    rows = [[place[name] for name in item if name in place] for item in found]
    indices = np.array([number for row in rows for number in row], dtype=np.int64)
    return Attributes(list(place), np.cumsum([0, *map(len, rows)]), indices)


def _edges(dataset: Dataset, items: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Return the inner edges of the parts of each column of numbers."""
    numbers: dict[str, list[float]] = {}
    for item in items if len(dataset.fields) else ():
        for name, value in dataset.fields.of(int(item)).items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                numbers.setdefault(name, []).append(float(value))
    inner = np.linspace(0.0, 1.0, PARTS + 1)[1:-1]
    return {name: np.unique(np.quantile(values, inner)) for name, values in numbers.items()}


def _names(dataset: Dataset, item: int, edges: Mapping[str, NDArray[np.float64]]) -> Iterator[str]:
    if dataset.categories:
        yield from (f"category={name}" for name in dataset.categories[item])
    for name, value in dataset.fields.of(item).items() if len(dataset.fields) else ():
        if name == "title":
            yield from (f"title~{word}" for word in _WORD.findall(str(value).casefold()))
        elif isinstance(value, str | bool):
            if name != "category":  # `categories` has it in parts
                yield f"{name}={value}"
        elif name in edges:
            yield f"{name}#{int(np.searchsorted(edges[name], value, side='right'))}"


@dataclass(frozen=True)
class Ridge:
    """A fitted regression, in float64."""

    mean: Tensor  # [factors]
    centre: Tensor  # [attributes]
    coefficients: Tensor  # [attributes, factors]
    strength: float

    def of(self, x: Tensor) -> Tensor:
        """Return the vectors of items with the attributes x [items, attributes]: [items, factors]."""
        is_described = (x != 0).any(dim=1, keepdim=True)
        return self.mean + is_described * ((x - self.centre) @ self.coefficients)


class Regression:
    """Ridge regressions on the attributes of the items that have interactions, which all tables share; float64."""

    def __init__(self, attributes: Attributes, interactions: NDArray[np.int64]) -> None:
        """`interactions` [items]."""
        items = np.flatnonzero(interactions)
        self._items = torch.as_tensor(items)
        self._weight = torch.as_tensor(interactions[items] / (interactions[items] + EVIDENCE))
        indptr, size = torch.as_tensor(attributes.indptr), len(attributes.names)
        # The entries of x, of which almost all are 0: the row, the attribute and the value.
        self._row, place = cells(indptr, self._items)
        counts = indptr[self._items + 1] - indptr[self._items]
        self._attribute = torch.as_tensor(attributes.indices)[place]
        self._value = counts.double().rsqrt()[self._row]
        self._size = size
        gram = torch.zeros(size * size, dtype=torch.float64)
        for begin in range(0, items.size, _ROWS_AT_ONCE):
            part = slice(begin, begin + _ROWS_AT_ONCE)
            row, place = cells(indptr, self._items[part])
            one, other = cells(indptr, self._items[part][row])  # each entry with each of its row
            pairs = torch.as_tensor(attributes.indices)[torch.stack([place[one], other])]
            shares = self._weight[part] / counts[part]
            gram.index_add_(0, pairs[0] * size + pairs[1], shares[row[one]])
        gram = gram.view(size, size)
        self._centre = self._moments(self._weight[:, None])[:, 0]
        gram -= torch.outer(self._centre, self._centre) / self._weight.sum()
        self._squares, self._basis = torch.linalg.eigh(gram)
        self._squares.clamp_(min=0.0)

    def of(self, vectors: Tensor) -> Ridge:
        """Regress `vectors` [all items, factors] on the attributes."""
        weight, values = self._weight, self._squares
        y = vectors.detach().cpu()[self._items].double()
        mean = weight @ y / weight.sum()
        turned = self._basis.T @ self._moments(weight[:, None] * (y - mean))
        squares, whole = turned.square().sum(dim=1), float(weight @ (y - mean).square().sum(dim=1))

        def loss(strength: float) -> float:
            shrunk = values + strength
            explained = float((squares * (shrunk + strength) / shrunk.square()).sum())
            return (whole - explained) / (1.0 - float((values / shrunk).sum()) / (weight.numel() + 1.0)) ** 2

        strength = min(STRENGTHS, key=loss)
        coefficients = self._basis @ (turned / (values + strength)[:, None])
        return Ridge(mean, self._centre / weight.sum(), coefficients, strength)

    def _moments(self, y: Tensor) -> Tensor:
        """Return xᵀ y for y [items with interactions, n]: [attributes, n]."""
        found = torch.zeros(self._size, y.shape[1], dtype=torch.float64)
        return found.index_add_(0, self._attribute, self._value[:, None] * y[self._row])


@dataclass(frozen=True)
class Given:
    """What `give_vectors` did. items: without interactions; described: of these, with an attribute; attributes: those
    that count; offset: c; share: of the best places of a sample of users, those that these items have; is_personal:
    false if each of them is the mean item.
    """

    items: int
    described: int
    attributes: int
    offset: float
    share: float
    is_personal: bool = True

    def __str__(self) -> str:
        of = f"{self.attributes} attributes" if self.is_personal else "the mean item, because they would rank too high"
        return (
            f"note: {self.described} of {self.items} items without interactions have a vector from {of}; "
            f"they have {self.share:.1%} of the first {_PLACES} places"
        )


@torch.no_grad()
def give_vectors(dataset: Dataset, model: Model) -> Given | None:
    """Overwrite the vectors of the items that nobody has in `dataset.train`. None if there is no such item, or if the
    model, without its recent part, has no vectors of items.
    """
    stored = model.stored if isinstance(model, WithRecent) else model
    new = np.flatnonzero(dataset.popularity == 0)
    if not new.size or not isinstance(stored, HasItemVectors):
        return None
    attributes = attributes_of(dataset)
    x, places = attributes.rows(new), torch.as_tensor(new, device=model.device)
    users = _sample(dataset, _SAMPLE_OF_LEAST_SQUARES).to(model.device)
    regression = Regression(attributes, dataset.popularity)
    tables = [
        (table, regression.of(table), None if p is None else _lowering(p[users])) for table, p in stored.item_vectors()
    ]
    described = int((x != 0).any(dim=1).sum())
    sample = users[torch.linspace(0, users.numel() - 1, min(_SAMPLE, users.numel()), device=model.device).long()]
    spread = float(stored.catalogue(sample[:_USERS_AT_ONCE]).std(dim=1).mean())
    most = min(MOST_SHARE, new.size / dataset.items)
    choices = [(c, True) for c in OFFSETS if c == 0 or any(lowering is not None for _, _, lowering in tables)]
    for offset, is_personal in (*choices, (choices[-1][0], False)):
        for table, ridge, lowering in tables:
            vectors = ridge.of(x if is_personal else torch.zeros_like(x)).to(table)
            table[places] = vectors if lowering is None else vectors - offset * spread * lowering
        share = _share(dataset, model, places, sample)
        if share <= most:
            break
    return Given(new.size, described, len(attributes.names), offset, share, is_personal)


def _sample(dataset: Dataset, most: int) -> Tensor:
    """Return users with interactions, at most `most`."""
    known = torch.as_tensor(np.flatnonzero(np.diff(dataset.train.indptr)))
    return known[torch.linspace(0, known.numel() - 1, min(most, known.numel())).long()]


def _lowering(p: Tensor) -> Tensor:
    """Return d with p d ≈ 1, by least squares with a little regularization, for p [users, n]."""
    gram = p.T.double() @ p.double()
    gram.diagonal().add_(1e-3 * gram.diagonal().mean() + 1e-12)
    found: Tensor = torch.linalg.solve(gram, p.double().sum(dim=0)).to(p)
    return found


def _share(dataset: Dataset, model: Model, items: Tensor, sample: Tensor) -> float:
    """Return the share of `items` in the best unseen places of the users in `sample`."""
    train = dataset.train
    indptr, item = torch.as_tensor(train.indptr).to(sample), torch.as_tensor(train.item).to(sample)
    is_one = torch.zeros(dataset.items, dtype=torch.bool, device=model.device).index_fill_(0, items, True)
    number, found = min(_PLACES, dataset.items), 0
    for users in sample.split(_USERS_AT_ONCE):
        scores = model.catalogue(users)
        row, place = cells(indptr, users)
        scores[row, item[place]] = -math.inf
        best = scores.topk(number, dim=1)
        found += int((is_one[best.indices] & (best.values > -math.inf)).sum())
    return found / (sample.numel() * number)
