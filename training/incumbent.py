"""The incumbent, which is the model in service: its bundle from the channel, and its scores on this dataset."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ncf import bundle as bundles
from ncf.bundle import MANIFEST, BrokenBundle, Bundle

LAST = torch.finfo(torch.float32).min
"""The score of an item that is unknown to the incumbent: finite, and below the scores of known items."""


def load(channel: Path, directory: Path, digest: str = "") -> Bundle:
    """Load the bundle in `channel`'s model.tar.gz; `directory` receives the unpacked files. Raises BrokenBundle, also
    for a bundle with another digest than `digest`; "" compares nothing.
    """
    archive = channel / "model.tar.gz"
    if not archive.is_file():
        raise BrokenBundle(archive.name, "is not in the incumbent channel")
    bundles.extract(archive, directory)
    bundle = bundles.load(directory)
    if digest and bundle.digest != digest:
        raise BrokenBundle(MANIFEST, f"digest is {bundle.digest}, not {digest}, which serves: the archive was changed")
    return bundle


class IncumbentScorer:
    """The scores of a bundle of another dataset version for this dataset's users and items, as in service.

    Users and items are matched by id. An unknown user gets the bundle's popular items; an unknown item ranks last.
    """

    def __init__(self, bundle: Bundle, user_ids: list[str], item_ids: list[str], device: torch.device) -> None:
        self._model = bundle.model.to(device)
        known = {user: index for user, index in bundle.user_index.items() if bundle.seen(index).size}
        self._user = torch.tensor([known.get(user, -1) for user in user_ids], device=device)  # [users]
        self._item = torch.tensor([bundle.item_index.get(item, -1) for item in item_ids], device=device)  # [items]
        self._popularity = torch.as_tensor(bundle.popularity, dtype=torch.float32, device=device)  # [its items]

    def pairs(self, users: Tensor, items: Tensor) -> Tensor:
        own_users, own_items = self._user[users], self._item[items]
        indices = own_items.clamp(min=0)
        scores = self._model.pairs(own_users.clamp(min=0), indices)
        return self._complete(scores, self._popularity[indices], own_users, own_items)  # [users, n]

    def catalogue(self, users: Tensor) -> Tensor:
        own_users, indices = self._user[users], self._item.clamp(min=0)
        scores = self._model.catalogue(own_users.clamp(min=0)).index_select(1, indices)
        popular = self._popularity[indices].expand_as(scores)
        return self._complete(scores, popular, own_users, self._item)  # [users, items]

    @staticmethod
    def _complete(scores: Tensor, popular: Tensor, own_users: Tensor, own_items: Tensor) -> Tensor:
        scores = torch.where(own_users[:, None] >= 0, scores, popular)
        return torch.where(own_items >= 0, scores, LAST)
