"""Golden requests: a few requests and their exact answers, kept in the bundle. A server checks itself by them."""

from __future__ import annotations

from typing import Any

import numpy as np

from contracts.limits import DEFAULT_RESULTS
from ncf.bundle import Bundle
from ncf.ranking import best_first, personal_scores, rank

USERS_TRIED = 256
CANDIDATES = 10


def golden(bundle: Bundle) -> list[dict[str, Any]]:
    """Requests to `bundle` with its answers: the best items of one user, a candidate list for them, an unknown user,
    and the best items of another user (where there is one), with another list unless the model has only one.

    Of a sample of users, those are taken whose best items differ most in score: another processor sums in another
    order, and scores that differ in the seventh decimal only may change places there.
    """
    user_ids = list(bundle.user_index)
    user, other = _two_decided_users(bundle)
    user_id = user_ids[user]
    order = best_first(personal_scores(bundle, user, None), bundle.popularity.size)
    spread = np.unique(order[np.linspace(0, order.size - 1, min(CANDIDATES, order.size)).astype(int)])
    candidates = [bundle.item_ids[item] for item in spread] + [_unknown(bundle.item_index, "unknown-item")]
    requests = [
        {"userId": user_id, "numResults": DEFAULT_RESULTS, "excludeSeen": True},
        {"userId": user_id, "candidates": candidates, "excludeSeen": False},
        {"userId": _unknown(bundle.user_index, "unknown-user"), "numResults": DEFAULT_RESULTS},
    ]
    if other is not None:
        requests.append({"userId": user_ids[other], "numResults": DEFAULT_RESULTS, "excludeSeen": True})
    return [{"request": request, "response": rank(bundle, request)} for request in requests]


def _two_decided_users(bundle: Bundle) -> tuple[int, int | None]:
    known = np.flatnonzero(np.diff(bundle.seen_indptr))
    sample = np.unique(known[np.linspace(0, known.size - 1, min(USERS_TRIED, known.size)).astype(int)])
    found = sorted((_List(bundle, int(user)) for user in sample), key=lambda one: -one.smallest_gap)
    others = [one for one in found[1:] if one.items != found[0].items] or found[1:]
    return found[0].user, others[0].user if others else None


class _List:
    """The best items of `user`, and the least difference of two neighbouring scores among them and the next one."""

    def __init__(self, bundle: Bundle, user: int) -> None:
        self.user = user
        scores = personal_scores(bundle, user, None).astype(float)  # a copy
        scores[bundle.seen(user)] = -np.inf
        best = best_first(scores, DEFAULT_RESULTS + 1)
        best = best[np.isfinite(scores[best])]
        self.items = tuple(best[:DEFAULT_RESULTS].tolist())
        self.smallest_gap = float(-np.diff(scores[best]).max()) if best.size > 1 else -1.0


def _unknown(known: dict[str, int], name: str) -> str:
    while name in known:
        name += "-"
    return name
