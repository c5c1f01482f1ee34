"""Golden requests: a few requests whose exact answers travel with the model, for a server to check itself by."""

from __future__ import annotations

from typing import Any

import numpy as np

from ncf.bundle import Bundle
from ncf.ranking import DEFAULT_RESULTS, best_first, personal_scores, rank

USERS_TRIED = 256
CANDIDATES = 10


def golden(bundle: Bundle) -> list[dict[str, Any]]:
    """Requests to `bundle` and its answers: a user's catalogue, a candidate list for them, and an unknown user.

    The user is the one, of a sample, whose best items are furthest apart in score: another processor sums in another
    order, and an answer that hangs on the seventh decimal would fail there for no fault of the model.
    """
    user = _most_decided_user(bundle)
    user_id = list(bundle.user_index)[user]
    order = best_first(personal_scores(bundle, user, None), bundle.popularity.size)
    spread = np.unique(order[np.linspace(0, order.size - 1, min(CANDIDATES, order.size)).astype(int)])
    candidates = [bundle.item_ids[item] for item in spread] + [_unknown(bundle.item_index, "unknown-item")]
    requests = [
        {"userId": user_id, "numResults": DEFAULT_RESULTS, "excludeSeen": True},
        {"userId": user_id, "candidates": candidates, "excludeSeen": False},
        {"userId": _unknown(bundle.user_index, "unknown-user"), "numResults": DEFAULT_RESULTS},
    ]
    return [{"request": request, "response": rank(bundle, request)} for request in requests]


def _most_decided_user(bundle: Bundle) -> int:
    known = np.flatnonzero(np.diff(bundle.seen_indptr))
    sample = known[np.linspace(0, known.size - 1, min(USERS_TRIED, known.size)).astype(int)]
    return int(max(sample, key=lambda user: _smallest_gap(bundle, int(user))))


def _smallest_gap(bundle: Bundle, user: int) -> float:
    """Least difference between neighbours among the user's best items and the first that is not among them."""
    scores = np.delete(personal_scores(bundle, user, None), bundle.seen(user))
    best = scores[best_first(scores, DEFAULT_RESULTS + 1)]
    return float(-np.diff(best).max()) if best.size > 1 else -1.0


def _unknown(known: dict[str, int], name: str) -> str:
    while name in known:
        name += "-"
    return name
