"""Ranking: the exact answer of a bundle to a request. Golden requests record it, and the server must give the same.

The request is valid: `userId` (string), and optionally `numResults`, `excludeSeen`, `candidates` (strings) and
`history`: what the person chose since the training, or in this session, oldest first, each an object with `itemId` and
optionally `ageSeconds` (at least 0, in all of them or in none; they are then sorted by it) and `isBought` (by default
false). Unknown items in it are counted and otherwise ignored; its items are seen items. What the model has learned
(`Bundle.unlearned`, by the ages) is in its scores and counts no second time. `excludeSeen` is a form of
`contracts/seen.py`, by default any without candidates, none with. A model without a recent part (`ncf/recent.py`) uses
the history for nothing else.

An unknown user and a user without interactions get the popular items, because nothing was learned about them, unless
the history tells something; the answer has `isStranger` then. Withdrawn items are left out, apart from candidates: that
list is the caller's own. The best item is first; equal scores are ordered by item index.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contracts import seen
from contracts.limits import DEFAULT_RESULTS
from ncf.bundle import Bundle
from ncf.recent import Last, WithRecent


def rank(bundle: Bundle, request: dict[str, Any]) -> dict[str, Any]:
    """Return the response body of POST /invocations for `request`.

    Scores are σ(logit) in float64 for the source `personalized`, and numbers of interactions for `popular`.
    """
    candidates = request.get("candidates")
    exclude_seen = seen.read(request.get("excludeSeen", candidates is None)) or seen.ANY
    user = bundle.user_index.get(request["userId"])
    if user is not None and bundle.seen(user).size == 0:
        user = None

    last, history, unknown_items = _last(bundle, user, request.get("history", ()))
    if candidates is None:
        items = None
        number = request.get("numResults", DEFAULT_RESULTS)
    else:
        distinct = dict.fromkeys(candidates)
        known = [bundle.item_index[item] for item in distinct if item in bundle.item_index]
        unknown_items += len(distinct) - len(known)
        items = np.array(sorted(known), dtype=np.int64)  # [candidates]
        number = request.get("numResults", len(known))

    is_popular = user is None and last is None
    scores = popular_scores(bundle, items) if is_popular else personal_scores(bundle, user, items, last)
    allowed = np.arange(bundle.popularity.size) if items is None else items
    fresh = [item for item, is_bought in history if seen.leaves_out(exclude_seen, is_bought)]
    excluded = np.union1d(bundle.left_out(user, exclude_seen), np.array(fresh, dtype=np.int32))
    if candidates is None:
        excluded = bundle.excluded(excluded)
    if excluded.size:
        keep = ~np.isin(allowed, excluded, assume_unique=True)
        allowed, scores = allowed[keep], scores[keep]
    best = best_first(scores, number)
    return {
        "userId": request["userId"],
        "itemList": [{"itemId": bundle.item_ids[allowed[row]], "score": float(scores[row])} for row in best],
        "source": "popular" if is_popular else "personalized",
        "modelVersion": bundle.manifest["runId"],
        "unknownItems": unknown_items,
        **({"isStranger": True} if user is None and not is_popular else {}),
    }


def _last(bundle: Bundle, user: int | None, history: Any) -> tuple[Last | None, list[tuple[int, bool]], int]:
    """Return what the person chose last, None if the model or the request does not need it; the known items of
    `history`, each with whether it was bought; and the number of its unknown items.
    """
    known = [entry for entry in history if entry["itemId"] in bundle.item_index]
    items = [bundle.item_index[entry["itemId"]] for entry in known]
    unknown = len({entry["itemId"] for entry in history} - {entry["itemId"] for entry in known})
    last = None
    if items and isinstance(bundle.model, WithRecent):
        ages = [entry["ageSeconds"] for entry in known] if "ageSeconds" in known[0] else None
        fresh = bundle.unlearned(user, items, ages, _now())
        ages = None if ages is None else [ages[place] for place in fresh]
        last = bundle.model.recent.last(user, [items[place] for place in fresh], ages)
    return last, [(item, entry.get("isBought", False)) for item, entry in zip(items, known, strict=True)], unknown


def _now() -> float:
    return time.time()


@torch.inference_mode()
def personal_scores(
    bundle: Bundle, user: int | None, items: NDArray[np.int64] | None, last: Last | None = None
) -> NDArray[np.float64]:
    """Return σ(logit) of `items` (None: all items), in their order, for the user with index `user`, or for a stranger
    (None). `last` is what the person chose last, if the request tells it; a stranger has one.
    """
    device = bundle.model.device
    if last is not None:
        assert isinstance(bundle.model, WithRecent)
        logits = bundle.model.scores_of(user, last)  # [items]
        return _sigmoid(logits if items is None else logits[torch.as_tensor(items, device=device)])
    own = torch.tensor([user], device=device)
    if items is None:
        logits = bundle.model.catalogue(own)[0]  # [items]
    else:
        logits = bundle.model.pairs(own, torch.as_tensor(items, device=device)[None])[0]  # [candidates]
    return _sigmoid(logits)


@torch.inference_mode()
def all_scores(bundle: Bundle, users: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return σ(logit) of all items for the users with these indices: [users, items]."""
    return _sigmoid(bundle.model.catalogue(torch.as_tensor(users, device=bundle.model.device)))


def _sigmoid(logits: Tensor) -> NDArray[np.float64]:
    # In float64, different float32 logits keep different scores, even where the sigmoid in float32 is already 1.
    scores: NDArray[np.float64] = torch.sigmoid(logits.double()).cpu().numpy()
    return scores


def popular_scores(bundle: Bundle, items: NDArray[np.int64] | None) -> NDArray[np.float64]:
    """Return the numbers of interactions of `items` (None: all items), in their order."""
    return (bundle.popularity if items is None else bundle.popularity[items]).astype(np.float64)


def best_first(scores: NDArray[np.float64], number: int) -> NDArray[np.int64]:
    """Return the positions of the `number` greatest scores, best first; equal scores are ordered by position."""
    number = min(number, scores.size)
    if number == 0:
        return np.empty(0, dtype=np.int64)
    if number < scores.size:
        # All scores at least as great as the last one in the list, so that ties at its end are ordered by position too.
        edge = np.partition(scores, scores.size - number)[scores.size - number]
        pool = np.flatnonzero(scores >= edge)
    else:
        pool = np.arange(scores.size)
    return pool[np.argsort(-scores[pool], kind="stable")][:number]
