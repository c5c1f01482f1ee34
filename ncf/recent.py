"""The part of a score that is made when a person asks, from the items that they chose last.

Everything else in a model stands still from one training to the next. Let s_u be the scores of such a model for user u
(the stored part), and let the person have chosen the items i_1 … i_n last, item k before l_k later interactions. Then

    score(j) = s_u(j) + gain · log(1 + x_j) + repeat_gain · log(1 + y_j)
    x_j      = Σ_k fading[l_k] · W[i_k, j]
    y_j      = Σ_{k: i_k = j} often_k · repeats[l_k] · again[j]

- W [items, items] are the neighbours of each item, a sparse matrix (CSR) of weights that are not negative;
- `fading` and `repeats` [last] weigh an interaction by the number of later ones; from `last` on it counts nothing;
- y is for what people choose again: only a list that does not leave out the person's items has it. often_k is how many
  times the person chose i_k, or what that is worth; `again` [items] how much an item is chosen now. An item that they
  chose several times has its last place;
- a stranger, of whom no training has seen an interaction, has `prior` [items] as stored part.

No x_j and no y_j is negative, so the best n items are among the best n of the stored part and the items with x_j or
y_j above 0. The weights are learned in a fit on a part of train: `ncf/fitting/recency.py`.

Sources: neighbours of decayed items, Jannach and Ludewig (RecSys 2017); repeats, Benson, Kumar and Tomkins, "Modeling
User Consumption Sequences" (WWW 2016); the sum of logits, a product of experts (Hinton 1999).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from contracts.values import is_integer, is_number, shown
from ncf.csr import cells
from ncf.interface import Model, Tensors

PREFIX = "recent."
"""Begin of the names of the part's tensors in a bundle; `recent` is its key in the description."""
MOST_LAST = 255
"""Greatest length of `fading` and `repeats`."""
_USERS_AT_ONCE = 64
_GAINS = ("gain", "repeat_gain")
_CSR = {"neighbour_indptr": ("neighbours", "weights"), "indptr": ("indices", "later", "often")}


@dataclass(frozen=True)
class Last:
    """The items that one person chose last, each once. All have the shape [n]."""

    items: Tensor  # int64, distinct
    later: Tensor  # int64, the number of interactions after the item's last one
    often: Tensor  # float32, the number of interactions with the item, or what they are worth

    def __len__(self) -> int:
        return self.items.numel()


@dataclass(frozen=True)
class Recent:
    """The tensors of the part, all on one device; the names are those in a bundle, after PREFIX."""

    gain: float
    """At least 0. With this and `repeat_gain` 0, the scores are those of the stored part."""
    repeat_gain: float
    """At least 0. With 0, items that the person chose before are ranked as others are."""
    neighbour_indptr: Tensor  # int64 [items + 1]
    neighbours: Tensor  # int32 [neighbours of all items]
    weights: Tensor  # float32 [neighbours of all items]
    fading: Tensor  # float32 [last]
    repeats: Tensor  # float32 [last]
    again: Tensor  # float32 [items]
    prior: Tensor  # float32 [items], logits
    indptr: Tensor  # int64 [users + 1], divides the following
    indices: Tensor  # int32 [last items of all users], oldest first
    later: Tensor  # uint8 [last items of all users]
    often: Tensor  # float32 [last items of all users]

    @property
    def items(self) -> int:
        return self.prior.shape[0]

    def last(self, user: int | None, history: Sequence[int] = (), ages: Sequence[float] | None = None) -> Last:
        """Return what a person chose last: what is stored of `user` (None: a stranger), and then `history`.

        `history` are indices of items, oldest first. `ages`, in any unit, say how long ago each was chosen: the
        history is sorted by them, and items of one age are one visit. Without ages each item is a visit. An item that
        is in both, or several times in `history`, counts at its last place, and as often as it is there.
        Raises ValueError for an index that is no item, and for ages that are negative, not finite or not as many.
        """
        _check(history, ages, self.items)
        fresh, later = in_order(history, ages)
        stored = slice(0, 0) if user is None else slice(int(self.indptr[user]), int(self.indptr[user + 1]))
        device = self.prior.device
        items = torch.cat([self.indices[stored].long(), torch.tensor(fresh, dtype=torch.int64, device=device)])
        after = torch.tensor(later, dtype=torch.int64, device=device)
        after = torch.cat([self.later[stored].long() + len(fresh), after])
        often = torch.cat([self.often[stored], torch.ones(len(fresh), device=device)])
        distinct, place = torch.unique(items, return_inverse=True)
        newest = torch.full_like(distinct, 1 << 62).scatter_reduce_(0, place, after, "amin")
        return Last(distinct, newest, torch.zeros(distinct.numel(), device=device).index_add_(0, place, often))

    def added(self, last: Last) -> Tensor:
        """Return what is added to the stored part for one person: [items], at least 0."""
        return self._gained(last.items, last.later, last.often, torch.zeros_like(last.items), 1)[0]

    def added_for(self, users: Tensor) -> Tensor:
        """Return what is added for `users` [users] with their stored items: [users, items], at least 0."""
        row, place = cells(self.indptr, users)
        items, later, often = self.indices[place].long(), self.later[place].long(), self.often[place]
        return self._gained(items, later, often, row, users.shape[0])

    def _gained(self, items: Tensor, later: Tensor, often: Tensor, row: Tensor, rows: int) -> Tensor:
        """Return [rows, items] of the items with these rows; all other arguments have one axis of the same length."""
        x = torch.zeros(rows, self.items, device=self.prior.device)
        counts = later < self.fading.shape[0]
        items, later, often, row = items[counts], later[counts], often[counts], row[counts]
        fades = self.fading[later] > 0
        which, cell = cells(self.neighbour_indptr, items[fades])
        place = row[fades][which] * self.items + self.neighbours[cell]
        x.view(-1).index_add_(0, place, self.weights[cell] * self.fading[later[fades]][which])
        x.log1p_().mul_(self.gain)
        own = torch.log1p(often * self.repeats[later] * self.again[items])  # an item is once in `items` of a row
        x.view(-1).index_add_(0, row * self.items + items, own, alpha=self.repeat_gain)
        return x

    def terms(self, last: Last, items: Tensor) -> Tensor:
        """Return what each of the last items adds to x of `items` [n], distinct indices: [last items, n]."""
        found = torch.zeros(len(last), items.numel(), device=self.prior.device)
        counts = torch.nonzero(last.later < self.fading.shape[0]).squeeze(1)
        later, ordered = last.later[counts], items.sort()
        which, cell = cells(self.neighbour_indptr, last.items[counts])
        neighbour = self.neighbours[cell].long()
        place = torch.searchsorted(ordered.values, neighbour).clamp(max=items.numel() - 1)
        is_one = ordered.values[place] == neighbour
        which, cell, place = which[is_one], cell[is_one], ordered.indices[place[is_one]]
        found[counts[which], place] = self.weights[cell] * self.fading[later][which]
        is_same = last.items[counts, None] == items
        found[counts] += is_same * (self.repeats[later] * last.often[counts])[:, None]
        return found

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by name, without PREFIX."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name not in _GAINS}

    def describe(self) -> dict[str, Any]:
        return {"gain": self.gain, "repeat_gain": self.repeat_gain, "last": self.fading.shape[0]}

    def to(self, device: torch.device) -> Recent:
        return Recent(
            self.gain, self.repeat_gain, **{name: tensor.to(device) for name, tensor in self.tensors().items()}
        )


class WithRecent:
    """A model whose scores have the recent part: `stored` is the model without it.

    It is an `ncf.interface.Model`, and has the name of `stored`. `pairs` and `catalogue` are for known users with the
    items that are stored of them.
    """

    def __init__(self, stored: Model, recent: Recent) -> None:
        self.stored, self.recent = stored, recent

    @property
    def name(self) -> str:
        return self.stored.name

    @property
    def device(self) -> torch.device:
        return self.stored.device

    def pairs(self, users: Tensor, items: Tensor) -> Tensor:
        scores = self.stored.pairs(users, items).clone()  # [users, n]
        distinct, counts = torch.unique_consecutive(users, return_counts=True)
        row = 0
        for some, rows in zip(distinct.split(_USERS_AT_ONCE), counts.split(_USERS_AT_ONCE), strict=True):
            own = torch.arange(some.numel(), device=users.device).repeat_interleave(rows)
            part = slice(row, row + own.numel())
            scores[part] += self.recent.added_for(some)[own].gather(1, items[part])
            row = part.stop
        return scores

    def catalogue(self, users: Tensor) -> Tensor:
        scores = self.stored.catalogue(users)  # [users, items]
        for begin in range(0, users.shape[0], _USERS_AT_ONCE):
            part = slice(begin, begin + _USERS_AT_ONCE)
            scores[part] += self.recent.added_for(users[part])
        return scores

    def scores_of(self, user: int | None, last: Last) -> Tensor:
        """Return the scores of every item [items] for a known user, or a stranger (None), who chose `last`."""
        if user is None:
            return self.recent.prior + self.recent.added(last)
        return self.stored.catalogue(torch.tensor([user], device=self.device))[0] + self.recent.added(last)

    def related(self, item: int) -> Tensor | None:
        return self.stored.related(item)

    def describe(self) -> dict[str, Any]:
        return self.stored.describe() | {"recent": self.recent.describe()}

    def state(self) -> dict[str, Tensor]:
        return self.stored.state() | {PREFIX + name: tensor for name, tensor in self.recent.tensors().items()}

    def to(self, device: torch.device) -> WithRecent:
        return WithRecent(self.stored.to(device), self.recent.to(device))


def _check(history: Sequence[int], ages: Sequence[float] | None, items: int) -> None:
    for place, item in enumerate(history):
        if not is_integer(item, 0, items - 1):
            raise ValueError(f"history[{place}] must be an index from 0 to {items - 1}, not {shown(item)}")
    if ages is not None and len(ages) != len(history):
        raise ValueError(f"ages must be as many as history, {len(history)}, not {len(ages)}")
    for place, age in enumerate(ages or ()):
        if not is_number(age) or age < 0:
            raise ValueError(f"ages[{place}] must be a number of at least 0, not {shown(age)}")


def in_order(history: Sequence[int], ages: Sequence[float] | None) -> tuple[list[int], list[int]]:
    """Return the items, oldest first, and the number of interactions in later visits than each one's. The arguments
    are those of `Recent.last`, and valid.
    """
    number = len(history)
    if ages is None:
        return list(history), list(range(number - 1, -1, -1))
    if (falling := sorted(ages, reverse=True)) != list(ages):
        order = sorted(range(number), key=ages.__getitem__, reverse=True)  # stable: equal ages keep their order
        history, ages = [history[place] for place in order], falling
    later, after = [0] * number, 0
    for place in range(number - 2, -1, -1):
        if ages[place] != ages[place + 1]:
            after = number - 1 - place
        later[place] = after
    return list(history), later


def split(description: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the description of the stored part, and that of the recent part or None. Raises ValueError for a
    description that `Recent.describe` never writes.
    """
    stored = {name: value for name, value in description.items() if name != "recent"}
    if "recent" not in description:
        return stored, None
    recent = description["recent"]
    if not isinstance(recent, dict) or set(recent) != {*_GAINS, "last"}:
        raise ValueError("recent must have exactly gain, repeat_gain and last")
    for name in _GAINS:
        if not is_number(recent[name]) or recent[name] < 0:
            raise ValueError(f"recent.{name} must be a number of at least 0, not {shown(recent[name])}")
    if not is_integer(recent["last"], 1, MOST_LAST):
        raise ValueError(f"recent.last must be an integer from 1 to {MOST_LAST}, not {shown(recent['last'])}")
    return stored, recent


def layout(description: Mapping[str, Any], users: int, items: int) -> dict[str, Tensors]:
    """Return the tensors of the recent part with this description (of `split`), with PREFIX."""
    last = description["last"]
    shapes: dict[str, tuple[torch.dtype, int]] = {
        "neighbour_indptr": (torch.int64, items + 1),
        "neighbours": (torch.int32, -1),
        "weights": (torch.float32, -1),
        "fading": (torch.float32, last),
        "repeats": (torch.float32, last),
        "again": (torch.float32, items),
        "prior": (torch.float32, items),
        "indptr": (torch.int64, users + 1),
        "indices": (torch.int32, -1),
        "later": (torch.uint8, -1),
        "often": (torch.float32, -1),
    }
    return {PREFIX + name: Tensors(dtype, (length,)) for name, (dtype, length) in shapes.items()}


def restore(description: Mapping[str, Any], state: Mapping[str, Tensor]) -> Recent:
    """Rebuild the part from its description and the tensors of a bundle. Raises ValueError if they do not fit."""
    tensors = {name.removeprefix(PREFIX): state[name] for name in state if name.startswith(PREFIX)}
    items = tensors["prior"].shape[0]
    for boundaries, parts in _CSR.items():
        indptr, indices = tensors[boundaries], tensors[parts[0]]
        for name in parts:
            entries = tensors[name].numel()
            if indptr[0] != 0 or indptr[-1] != entries or bool((indptr.diff() < 0).any()):
                raise ValueError(f"{PREFIX}{boundaries} does not divide {entries} entries of {PREFIX}{name}")
        if indices.numel() and (int(indices.min()) < 0 or int(indices.max()) >= items):
            raise ValueError(f"{PREFIX}{parts[0]} must be from 0 to {items - 1}")
    for name in ("weights", "fading", "repeats", "again", "often"):
        if bool((tensors[name] < 0).any()):
            raise ValueError(f"{PREFIX}{name} must not be negative")
    gain, repeat_gain = (float(description[name]) for name in _GAINS)
    return Recent(gain, repeat_gain, **tensors)
