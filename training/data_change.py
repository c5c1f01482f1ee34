"""How the data of a run differ from those of the incumbent: a broken drop is recognised before models are compared."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.forgotten import PLACEHOLDER
from ncf.bundle import Bundle
from ncf.dataset import BrokenDataset, Dataset

GROUPS = 10
"""Number of groups of items for the stability index."""
LEAST_SHARE = 1e-4
"""Shares below it count as this much, so that the logarithm of an empty group is finite."""


def compare(dataset: Dataset, incumbent: Bundle) -> dict[str, Any]:
    """Return `data` of evaluation.json.

    Users and items of the incumbent are those with an interaction in its data; indices without any are not counted.
    """
    everything = dataset.everything()
    users = {dataset.user_ids[user] for user in np.unique(everything.user)}
    items = {dataset.item_ids[item] for item in np.unique(everything.item)}
    former_users = {name for name, index in incumbent.user_index.items() if incumbent.seen(index).size}
    former_items = {incumbent.item_ids[item] for item in np.unique(incumbent.seen_indices)}
    return {
        "formerUsers": len(users & former_users) / len(former_users),
        "formerItems": len(items & former_items) / len(former_items),
        "users": len(users) / len(former_users),
        "items": len(items) / len(former_items),
        "interactions": len(everything) / incumbent.seen_indices.size,
        "itemShift": item_shift(dataset, incumbent),
        "eventShift": event_shift(dataset, incumbent),
        "withdrawnItems": withdrawn_share(dataset, incumbent),
    }


def require_appended(dataset: Dataset, incumbent: Bundle) -> None:
    """Raise BrokenDataset if the incumbent learned from the parent of `dataset` and an index of the parent is missing
    or another user or item now: ids keep their indices, and new ones are appended.
    """
    if dataset.parent_version != incumbent.dataset_version:
        return
    of_parent = f"its parent {incumbent.dataset_version}, whose indices it continues: prepare the data again"
    for kind, ids, before in (
        ("user", dataset.user_ids, list(incumbent.user_index)),
        ("item", dataset.item_ids, incumbent.item_ids),
    ):
        if len(ids) < len(before):
            raise BrokenDataset(f"{kind}s/", f"has {len(ids)} {kind}s, fewer than the {len(before)} of {of_parent}")
        # The slot of a person who was forgotten in between has no text of the id any more.
        now = [name if ids[place].startswith(PLACEHOLDER) else ids[place] for place, name in enumerate(before)]
        if now != before:
            index = next(place for place, name in enumerate(before) if now[place] != name)
            raise BrokenDataset(f"{kind}s/", f"{kind}_index {index} is another {kind} than in {of_parent}")


def item_shift(dataset: Dataset, incumbent: Bundle) -> float:
    """Return the `stability_index` of the interactions by groups of items: tenths of the incumbent's interactions, most
    popular items first, and the items that it does not know.
    """
    former = np.bincount(incumbent.seen_indices, minlength=len(incumbent.item_ids)).astype(float)
    order = np.argsort(-former, kind="stable")
    before = np.cumsum(former[order]) - former[order]
    group = np.empty(former.size, dtype=np.int64)
    group[order] = np.minimum(before * GROUPS // max(former.sum(), 1), GROUPS - 1)
    own = np.array([incumbent.item_index.get(name, -1) for name in dataset.item_ids])
    now = np.bincount(dataset.everything().item, minlength=dataset.items)
    placed = np.where(own >= 0, group[own], GROUPS)
    return stability_index(
        np.bincount(placed, weights=now, minlength=GROUPS + 1), np.bincount(group, weights=former, minlength=GROUPS + 1)
    )


def event_shift(dataset: Dataset, incumbent: Bundle) -> float | None:
    """Return the `stability_index` of the rows by event type; None if one of both does not tell its event types."""
    now, before = dataset.event_types, incumbent.event_types
    if not now or not before:
        return None
    names = sorted({*now, *before})
    return stability_index(*(np.array([float(rows.get(name, 0)) for name in names]) for rows in (now, before)))


def withdrawn_share(dataset: Dataset, incumbent: Bundle) -> float:
    """Return the share of the items that the incumbent recommends, which the data withdraw."""
    known = set(np.unique(incumbent.seen_indices).tolist()) - set(incumbent.withdrawn.tolist())
    now = {incumbent.item_index.get(dataset.item_ids[item], -1) for item in dataset.withdrawn}
    return len(known & now) / max(len(known), 1)


def stability_index(now: NDArray[Any], before: NDArray[Any]) -> float:
    """Return the population stability index of counts by group: the sum of (p - q) ln(p / q), with the shares p of
    `now` and q of `before`. Below 0.1 is stable, above 0.25 a major change (Siddiqi, Credit Risk Scorecards, 2006).
    """
    p, q = (np.maximum(counts / max(counts.sum(), 1), LEAST_SHARE) for counts in (now, before))
    return float(((p - q) * np.log(p / q)).sum())
