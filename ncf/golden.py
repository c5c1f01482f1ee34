"""Golden requests: a few requests with exact answers, stored in the bundle. A server checks its answers by them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.limits import DEFAULT_RESULTS
from ncf.bundle import Bundle
from ncf.ranking import all_scores, best_first, personal_scores, rank
from ncf.recent import WithRecent

USERS_TRIED = 256
"""Maximum number of users from whom the golden users are chosen."""
CANDIDATES = 10
"""Maximum number of known items in the golden candidate list."""

_USERS_AT_ONCE = 32

HISTORY = 4
"""Number of items in the golden history, the last of which is unknown."""


def golden(bundle: Bundle) -> list[dict[str, Any]]:
    """Return requests to `bundle` with its answers.

    The requests are: the best items of one user, a candidate list for that user, an unknown user, the best items of a
    second user, if there is one, and, if the model has a recent part, the best items of the first user and of an
    unknown one with a history. The two users have different lists, unless the model has only one list.

    The users are those of a sample whose best items differ most in score. Another processor sums in another order, so
    items may change places if their scores differ only in the seventh decimal.
    """
    user_ids = list(bundle.user_index)
    user, other = _two_users(bundle)
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
    if isinstance(bundle.model, WithRecent):
        history = [{"itemId": item} for item in candidates[: HISTORY - 1] + candidates[-1:]]
        requests += [
            {"userId": user_id, "numResults": DEFAULT_RESULTS, "history": history},
            {"userId": requests[2]["userId"], "numResults": DEFAULT_RESULTS, "history": history},
        ]
    return [{"request": request, "response": rank(bundle, request)} for request in requests]


def _two_users(bundle: Bundle) -> tuple[int, int | None]:
    """Return the user with the largest score differences, and the next one with another list."""
    known = np.flatnonzero(np.diff(bundle.seen_indptr))
    sample = np.unique(known[np.linspace(0, known.size - 1, min(USERS_TRIED, known.size)).astype(int)])
    found = []
    for begin in range(0, sample.size, _USERS_AT_ONCE):
        users = sample[begin : begin + _USERS_AT_ONCE]
        scores = all_scores(bundle, users)
        found += [_List(bundle, int(user), scores[row]) for row, user in enumerate(users)]
    found.sort(key=lambda one: -one.smallest_gap)
    others = [one for one in found[1:] if one.items != found[0].items] or found[1:]
    return found[0].user, others[0].user if others else None


class _List:
    """The best items of `user`, and the smallest difference of two neighbouring scores among them and the next item."""

    def __init__(self, bundle: Bundle, user: int, scores: NDArray[np.float64]) -> None:
        """`scores` [items] are overwritten."""
        self.user = user
        scores[bundle.excluded(bundle.seen(user))] = -np.inf
        best = best_first(scores, DEFAULT_RESULTS + 1)
        best = best[np.isfinite(scores[best])]
        self.items = tuple(best[:DEFAULT_RESULTS].tolist())
        self.smallest_gap = float(-np.diff(scores[best]).max()) if best.size > 1 else -1.0


def _unknown(known: dict[str, int], name: str) -> str:
    while name in known:
        name += "-"
    return name
