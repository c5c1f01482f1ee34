"""Reading a bundle. Names, sizes, hashes, types, shapes, finite values and cardinalities are checked.

Any error raises `BrokenBundle` with the member's name; a damaged bundle never gives a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError

from contracts import documents, schemas
from contracts import seen as kinds
from contracts.documents import Unfit
from contracts.values import is_integer
from ncf.bundle.format import (
    BOUGHT,
    CATEGORIES,
    FIELDS,
    GOLDEN,
    HELD_OUT,
    ITEMS,
    MANIFEST,
    POPULARITY,
    SEEN,
    USERS,
    WEIGHTS,
    WITHDRAWN,
    BrokenBundle,
    digest,
    encode_json,
    measure,
)
from ncf.interface import Model
from ncf.item_fields import ItemFields
from ncf.registry import kind_named

MAXIMUM_MANIFEST_BYTES = 1 << 20
"""Maximum size of bundle.json, in bytes."""


@dataclass
class Bundle:
    """A bundle in memory. The index of a user or item is its position in the ids and its row in the model's tensors."""

    model: Model
    """The model, on the device that `load` received."""
    user_index: dict[str, int]
    item_ids: list[str]
    item_index: dict[str, int]
    seen_indptr: NDArray[np.int64]  # [users + 1]
    seen_indices: NDArray[np.int32]  # [interactions], sorted within each user
    popularity: NDArray[np.int64]  # [items], interactions in train
    golden: list[dict[str, Any]]
    """The golden requests: `{"request": …, "response": …}` as of `ncf.ranking.rank`."""
    manifest: dict[str, Any]
    """The content of `bundle.json`."""
    held_out_user: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))  # [held-out pairs]
    held_out_item: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))  # [held-out pairs]
    """The pairs that the model was not trained on; empty in bundles that do not tell them."""
    category_names: list[str] = field(default_factory=list)
    item_categories: list[list[int]] = field(default_factory=list)
    """For each item, positions in `category_names`; an empty list if no item has a category."""
    fields: ItemFields = field(default_factory=ItemFields)
    """What an answer may show of each item; without any, if the catalogue tells nothing."""
    withdrawn: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))  # [withdrawn items], sorted
    """The items that are not recommended, because the shop no longer offers them."""
    is_bought: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))  # [interactions]
    """Which of `seen_indices` are purchases; empty if all are, as far as the data tell."""

    @property
    def run_id(self) -> str:
        return str(self.manifest["runId"])

    @property
    def dataset_version(self) -> str:
        return str(self.manifest["datasetVersion"])

    @property
    def event_types(self) -> dict[str, int]:
        """Rows of the data by event type; empty in bundles that do not tell them."""
        return dict(self.manifest.get("eventTypes", {}))

    def has_vector(self, item: int) -> bool:
        """Return whether the model knows the item with this index: from interactions, or from its attributes."""
        if self.popularity[item]:
            return True
        is_described = bool(self.item_categories and self.item_categories[item]) or self.fields.text(item) != "{}"
        return is_described and "describedItems" in self.manifest

    @property
    def code_version(self) -> str:
        return str(self.manifest["codeVersion"])

    @property
    def digest(self) -> str:
        """The sha256 of `bundle.json`, which has the sha256 of every member: equal digests are equal bundles."""
        return str(self.manifest["digest"])

    def seen(self, user: int) -> NDArray[np.int32]:
        """Return the sorted indices of the items that the user with index `user` has in train or test."""
        return self.seen_indices[self.seen_indptr[user] : self.seen_indptr[user + 1]]

    def left_out(self, user: int | None, exclude_seen: str) -> NDArray[np.int32]:
        """Return the sorted indices of a user's items that a list leaves out, by a kind of `contracts/seen.py`; a
        stranger (None) has none.
        """
        if user is None or exclude_seen == kinds.NONE:
            return self.seen_indices[:0]
        own = slice(self.seen_indptr[user], self.seen_indptr[user + 1])
        items = self.seen_indices[own]
        return items[self.is_bought[own]] if exclude_seen == kinds.BOUGHT and self.is_bought.size else items

    def unlearned(self, user: int | None, items: Sequence[int], ages: Sequence[float] | None, now: float) -> list[int]:
        """Return the positions in `items`, what a person chose `ages` seconds before `now` (epoch seconds), of what the
        model has not learned: all that is not both older than the end of its data and a learned pair of `user`.
        Everything is new without ages, of a stranger (None), and of a bundle that does not tell the end of its data.
        """
        until = self.manifest.get("learnedUntil")
        if user is None or ages is None or until is None or now - max(ages, default=0.0) >= until:
            return list(range(len(items)))
        chosen = np.array(items, np.int64)
        is_learned = now - np.array(ages, np.float64) < until
        is_learned &= _is_in(chosen, self.seen(user)) & ~_is_in(user * len(self.item_ids) + chosen, self._held_out)
        return np.flatnonzero(~is_learned).tolist()

    @cached_property
    def _held_out(self) -> NDArray[np.int64]:
        """The held-out pairs as user × items + item, sorted."""
        return np.sort(self.held_out_user.astype(np.int64) * len(self.item_ids) + self.held_out_item)

    def excluded(self, seen: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return `seen` (sorted) and the withdrawn items, sorted."""
        if not self.withdrawn.size or not seen.size:
            return seen if seen.size else self.withdrawn
        places = np.searchsorted(self.withdrawn, seen)
        is_sold = self.withdrawn[np.minimum(places, self.withdrawn.size - 1)] != seen
        return np.insert(self.withdrawn, places[is_sold], seen[is_sold])

    def learned(self) -> NDArray[np.int64]:
        """Return the pairs that the model was trained on as user × items + item, sorted.

        These are the seen pairs without the held-out ones. All seen pairs count if the bundle does not tell which were
        held out.
        """
        items = len(self.item_ids)
        users = np.repeat(np.arange(self.seen_indptr.size - 1), np.diff(self.seen_indptr))
        return np.setdiff1d(users * items + self.seen_indices, self._held_out, assume_unique=True)


def _is_in(values: NDArray[np.int64], members: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which of `values` are among the sorted `members`."""
    if not members.size:
        return np.zeros(values.size, np.bool_)
    found: NDArray[np.bool_] = members[np.minimum(np.searchsorted(members, values), members.size - 1)] == values
    return found


def load(directory: Path | str, device: torch.device | str = "cpu") -> Bundle:
    """Read and check the bundle in `directory`, with its model on `device`.

    Raises BrokenBundle, with the member and the reason, for a missing, additional, changed or inconsistent file.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise BrokenBundle(MANIFEST, f"there is no directory {directory}")
    manifest = _read_manifest(directory)
    for path in sorted(directory.iterdir()):
        if path.name not in (*manifest["members"], MANIFEST):
            raise BrokenBundle(path.name, "is no member of a bundle")
    for name in manifest["members"]:
        path, expected = directory / name, manifest["members"][name]
        if path.is_symlink() or not path.is_file():
            raise BrokenBundle(name, "is missing")
        if (size := path.stat().st_size) != expected["size"]:
            raise BrokenBundle(name, f"has {size} bytes, bundle.json says {expected['size']}")
        if (measured := measure(path)) != expected:
            raise BrokenBundle(name, f"has sha256 {measured['sha256']}, bundle.json says {expected['sha256']}")
    return read_members(directory, manifest, golden=_read_golden(directory), device=device)


def _read_json(directory: Path, member: str) -> Any:
    path = directory / member
    if path.is_symlink() or not path.is_file():
        raise BrokenBundle(member, "is missing")
    try:
        return documents.read(path.read_bytes(), "it")
    except Unfit as error:
        raise BrokenBundle(member, f"cannot be read as JSON: {error}") from error


def _read_manifest(directory: Path) -> dict[str, Any]:
    """Read bundle.json and check it against its schema and its digest."""
    path = directory / MANIFEST
    if path.is_file() and path.stat().st_size > MAXIMUM_MANIFEST_BYTES:
        raise BrokenBundle(MANIFEST, f"has {path.stat().st_size} bytes, more than {MAXIMUM_MANIFEST_BYTES}")
    manifest: dict[str, Any] = _read_json(directory, MANIFEST)
    try:
        schemas.check(manifest, "bundle", called="")
    except Unfit as error:
        raise BrokenBundle(MANIFEST, str(error)) from error
    # The bytes must be equal too: `encode_json` is the only writer, so other bytes mean another writer.
    if manifest["digest"] != digest(manifest) or path.read_bytes() != encode_json(manifest):
        raise BrokenBundle(MANIFEST, "digest is not that of its content: it was changed after it was written")
    return manifest


def _read_golden(directory: Path) -> list[dict[str, Any]]:
    golden = _read_json(directory, GOLDEN)
    if not isinstance(golden, list) or not golden:
        raise BrokenBundle(GOLDEN, "must be a list of at least one request")
    for position, case in enumerate(golden):
        if not (
            isinstance(case, dict)
            and set(case) == {"request", "response"}
            and isinstance(case["request"], dict)
            and isinstance(case["response"], dict)
        ):
            raise BrokenBundle(GOLDEN, f"entry {position} must have exactly request and response, both objects")
    return golden


def _read_ids(directory: Path, member: str, count: int) -> list[str]:
    ids = _read_json(directory, member)
    if not isinstance(ids, list) or not all(isinstance(value, str) for value in ids):
        raise BrokenBundle(member, "must be a list of strings")
    if len(ids) != count:
        raise BrokenBundle(member, f"has {len(ids)} ids, bundle.json says {count}")
    if len(set(ids)) != len(ids):
        raise BrokenBundle(member, "has an id twice")
    return ids


def _read_categories(directory: Path, count: int) -> tuple[list[str], list[list[int]]]:
    if not (directory / CATEGORIES).exists():
        return [], []
    document = _read_json(directory, CATEGORIES)
    if not isinstance(document, dict) or set(document) != {"names", "items"}:
        raise BrokenBundle(CATEGORIES, "must have exactly names and items")
    names, items = document["names"], document["items"]
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise BrokenBundle(CATEGORIES, "names must be a list of strings that are not empty")
    if len(set(names)) != len(names):
        raise BrokenBundle(CATEGORIES, "has a name twice")
    if not isinstance(items, list) or len(items) != count:
        raise BrokenBundle(CATEGORIES, f"items must be a list of {count}, one for each item")
    for item, positions in enumerate(items):
        if not isinstance(positions, list) or not all(is_integer(place, 0, len(names) - 1) for place in positions):
            raise BrokenBundle(CATEGORIES, f"items[{item}] must be positions in names, not {str(positions)[:80]}")
    return names, items


def _read_arrays(directory: Path, member: str, types: dict[str, type]) -> dict[str, NDArray[Any]]:
    try:
        arrays = safetensors.numpy.load_file(directory / member)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise BrokenBundle(member, f"cannot be read as safetensors: {error}") from error
    if set(arrays) != set(types):
        raise BrokenBundle(member, f"must hold exactly {', '.join(types)}, not {', '.join(sorted(arrays))}")
    for name, wanted in types.items():
        if arrays[name].dtype != wanted or arrays[name].ndim != 1:
            shape = list(arrays[name].shape)
            raise BrokenBundle(
                member,
                f"{name} must have one axis and type {wanted.__name__}, not shape {shape} and {arrays[name].dtype}",
            )
    return arrays


def _read_held_out(directory: Path, seen: NDArray[np.int64], items: int) -> dict[str, NDArray[np.int32]]:
    """Read the held-out pairs; `seen` has all pairs as user × items + item."""
    if not (directory / HELD_OUT).exists():
        return {"user": np.empty(0, np.int32), "item": np.empty(0, np.int32)}
    pairs = _read_arrays(directory, HELD_OUT, {"user": np.int32, "item": np.int32})
    if pairs["user"].size != pairs["item"].size:
        raise BrokenBundle(HELD_OUT, f"has {pairs['user'].size} users and {pairs['item'].size} items of pairs")
    cells = pairs["user"].astype(np.int64) * items + pairs["item"]
    is_seen = np.isin(cells, seen) & (pairs["item"] >= 0) & (pairs["item"] < items)
    if not is_seen.all():
        raise BrokenBundle(HELD_OUT, f"has {int((~is_seen).sum())} pairs that are not in {SEEN}")
    return pairs


def _read_fields(directory: Path, items: int) -> ItemFields:
    if not (directory / FIELDS).exists():
        return ItemFields()
    arrays = _read_arrays(directory, FIELDS, {"offsets": np.int64, "data": np.uint8})
    fields = ItemFields(arrays["offsets"], arrays["data"])
    if (fault := fields.fault(items)) is not None:
        raise BrokenBundle(FIELDS, fault)
    return fields


def _read_withdrawn(directory: Path, items: int) -> NDArray[np.int32]:
    if not (directory / WITHDRAWN).exists():
        return np.empty(0, np.int32)
    withdrawn: NDArray[np.int32] = _read_arrays(directory, WITHDRAWN, {"item": np.int32})["item"]
    if not withdrawn.size or np.any(np.diff(withdrawn) <= 0) or withdrawn[0] < 0 or withdrawn[-1] >= items:
        raise BrokenBundle(WITHDRAWN, f"item must be sorted and distinct, from 0 to {items - 1}")
    if withdrawn.size == items:
        raise BrokenBundle(WITHDRAWN, f"has all {items} items: nothing could be recommended")
    return withdrawn


def _read_bought(directory: Path, interactions: int) -> NDArray[np.bool_]:
    if not (directory / BOUGHT).exists():
        return np.empty(0, np.bool_)
    is_bought = _read_arrays(directory, BOUGHT, {"is_bought": np.bool_})["is_bought"]
    if is_bought.size != interactions or np.any(is_bought.view(np.uint8) > 1):
        raise BrokenBundle(BOUGHT, f"is_bought must be true or false for each of {interactions} pairs in {SEEN}")
    return is_bought


def _read_model(directory: Path, description: Any, users: int, items: int, device: torch.device | str) -> Model:
    """Build the model that `architecture` of bundle.json describes, from weights.safetensors."""
    try:
        if not isinstance(description, dict):
            raise ValueError("must be an object")
        kind = kind_named(description.get("model"))
        layout = kind.layout(description, users, items)
    except ValueError as error:
        raise BrokenBundle(MANIFEST, f"architecture: {error}") from error
    try:
        weights = safetensors.torch.load_file(directory / WEIGHTS)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise BrokenBundle(WEIGHTS, f"cannot be read as safetensors: {error}") from error
    if set(weights) != set(layout):
        differing = ", ".join(sorted(set(weights) ^ set(layout)))
        raise BrokenBundle(WEIGHTS, f"does not hold the tensors of {kind.name}; differing: {differing}")
    for name, tensor in weights.items():
        expected = layout[name]
        fits = tensor.ndim == len(expected.shape) and all(
            wanted in (-1, length) for wanted, length in zip(expected.shape, tensor.shape, strict=True)
        )
        if not fits:
            raise BrokenBundle(WEIGHTS, f"{name} has shape {list(tensor.shape)}, not {list(expected.shape)}")
        if tensor.dtype != expected.dtype:
            raise BrokenBundle(WEIGHTS, f"{name} has type {tensor.dtype}, not {expected.dtype}")
        if not torch.isfinite(tensor).all():
            raise BrokenBundle(WEIGHTS, f"{name} holds NaN or infinity")
    try:
        return kind.restore(description, weights, users, items).to(torch.device(device))
    except ValueError as error:
        raise BrokenBundle(WEIGHTS, str(error)) from error


def read_members(
    directory: Path, manifest: dict[str, Any], golden: list[dict[str, Any]], device: torch.device | str
) -> Bundle:
    """Read the members into a Bundle; each is checked against `manifest` and against the others."""
    users, items = int(manifest["cardinalities"]["users"]), int(manifest["cardinalities"]["items"])
    user_ids = _read_ids(directory, USERS, users)
    item_ids = _read_ids(directory, ITEMS, items)
    pairs = _read_arrays(directory, SEEN, {"indptr": np.int64, "indices": np.int32})
    indptr, indices = pairs["indptr"], pairs["indices"]
    if indptr.size != users + 1 or indptr[0] != 0 or indptr[-1] != indices.size or np.any(np.diff(indptr) < 0):
        raise BrokenBundle(SEEN, f"indptr does not divide {indices.size} items among {users} users")
    if indices.size and (indices.min() < 0 or indices.max() >= items):
        raise BrokenBundle(SEEN, f"indices must be from 0 to {items - 1}, not {indices.min()} to {indices.max()}")
    owner = np.repeat(np.arange(users), np.diff(indptr))
    if np.any((np.diff(owner) == 0) & (np.diff(indices.astype(np.int64)) <= 0)):
        raise BrokenBundle(SEEN, "the items of a user are not sorted and distinct")
    held_out = _read_held_out(directory, owner * items + indices, items)
    popularity = _read_arrays(directory, POPULARITY, {"interactions": np.int64})["interactions"]
    if popularity.size != items or np.any(popularity < 0):
        raise BrokenBundle(POPULARITY, f"must hold a number of at least 0 for each of {items} items")
    category_names, item_categories = _read_categories(directory, items)
    return Bundle(
        model=_read_model(directory, manifest["architecture"], users, items, device),
        user_index={user_id: index for index, user_id in enumerate(user_ids)},
        item_ids=item_ids,
        item_index={item_id: index for index, item_id in enumerate(item_ids)},
        seen_indptr=indptr,
        seen_indices=indices,
        held_out_user=held_out["user"],
        held_out_item=held_out["item"],
        popularity=popularity,
        golden=golden,
        manifest=manifest,
        category_names=category_names,
        item_categories=item_categories,
        fields=_read_fields(directory, items),
        withdrawn=_read_withdrawn(directory, items),
        is_bought=_read_bought(directory, indices.size),
    )
