"""Answers invocations from a bundle exactly as `ncf.ranking.rank` defines an answer, and applies filters.

Memory in addition to the bundle: the tables of `logits` and, for large catalogues, of `shortlist`; 8 bytes for each
category of each item; 4 bytes for each user after the first request for a shard. Threads can share one scorer: it
keeps no state of a request.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from contracts import limits, seen
from ncf.bundle import Bundle
from ncf.ranking import popular_scores
from serving import kernels, shortlist
from serving.exploration import POOL, order, today
from serving.invocation import NO_FILTERS, Filters, Invocation, Related, Request, Shard
from serving.logits import NOTHING, NOTHING_ADDED, Added, Floats, Places, Rows, logits_of, with_added
from serving.recency import parts_of
from serving.selection import Selection

_SATURATED = 1.0 - 2e-9
"""Above this score, two different float32 logits can have the same σ in float64. Equal scores are ordered by item
index, so lists with such scores are ordered by score, not by logit."""
_LOGITS_AT_ONCE = 1 << 22
"""Maximum number of logits that are computed together for several users: 16 MiB."""


class _Person(NamedTuple):
    """Who asks: index (None: a stranger), items of the request that the model knows and has not learned of the person,
    and their ages. added: as in `Scorer._personal`;
    None if nothing is known of the person.
    """

    user: int | None
    history: list[int]
    ages: list[float] | None
    added: Added | None


class Scorer:
    """Answers invocations from a bundle. Threads may share it."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        stored, self._recency = parts_of(bundle.model)
        self._logits = logits_of(stored)
        self._selection = Selection(bundle)
        bundle.unlearned(0, [0], [float("inf")], 0.0)  # makes a table, as the next line does
        bundle.model.related(0)  # the first call prepares tables: do it before a request waits
        items = len(bundle.item_ids)
        self._users_at_once = max(1, _LOGITS_AT_ONCE // items)
        self._shortlist, self._verdict = shortlist.shortlist_of(self._logits, items, len(bundle.user_index))

    @property
    def path(self) -> dict[str, Any]:
        """The method that ranks the whole catalogue, and the measurements for that choice; for the log."""
        measured = {}
        if self._verdict:
            measured = {
                "shortlistRank": self._verdict.rank,
                "shortlistRecall": round(self._verdict.recall, 4),
                "shortlistMilliseconds": round(self._verdict.milliseconds, 2),
                "exactMilliseconds": round(self._verdict.exact_milliseconds, 2),
            }
        return {"scores": self._logits.name, "shortlist": self._shortlist is not None, **measured}

    def answer(self, request: Request) -> dict[str, Any]:
        """The response of `POST /invocations`.

        An unknown user and a user without interactions get popular items, unless the request has a history and the
        model uses it. The list is shorter than requested if fewer items of the catalogue, or of the candidates, pass
        the filters.
        """
        if isinstance(request, Shard):
            return self._shard(request)
        return self._related(request) if isinstance(request, Related) else self._ranking(request)

    def answers(self, requests: Sequence[Request]) -> list[dict[str, Any] | Exception]:
        """The response to each request, in order, or the exception that it raised. Rankings of the whole catalogue
        for several users are computed in one call if that is faster.
        """
        if len(requests) == 1 or not self._logits.is_faster_together:
            return [_answer_or_error(self.answer, request) for request in requests]
        responses: list[dict[str, Any] | Exception | None] = [None] * len(requests)
        whole = [
            (place, user)
            for place, request in enumerate(requests)
            if (user := self._whole_catalogue_user(request)) is not None
        ]
        if len(whole) > 1:
            for begin in range(0, len(whole), self._users_at_once):
                group = whole[begin : begin + self._users_at_once]
                logits = self._logits.of([user for _, user in group])
                for (place, _), user_logits in zip(group, logits, strict=True):
                    responses[place] = _answer_or_error(self._ranking, requests[place], user_logits)
        return [
            _answer_or_error(self.answer, request) if answer is None else answer
            for request, answer in zip(requests, responses, strict=True)
        ]

    def scores(self, user: int | None, rows: Rows | None = None, added: Added | None = None) -> NDArray[np.float64]:
        """σ(logit) of the items with these indices (None: all, by index) for the user with index `user`, or a stranger
        (None). `added` is part of the logits; None: what the stored items of the user add.
        """
        added = self._added(user) if added is None else added
        scores: NDArray[np.float64] = kernels.sigmoid(self._logits_of(user, rows, added))
        return scores

    def _logits_of(self, user: int | None, rows: Rows | None, added: Added) -> Floats:
        """The logits of one user, or of a stranger (None), with `added`: [rows]."""
        if user is not None:
            return with_added(self._logits.of([user], rows)[0], added, rows)
        assert self._recency is not None
        prior = self._recency.prior
        return with_added(prior.copy() if rows is None else prior[rows], added, rows)

    def _added(self, user: int | None, history: Sequence[int] = (), ages: Sequence[float] | None = None) -> Added:
        return self._recency.of(user, history, ages) if self._recency else NOTHING_ADDED

    def _whole_catalogue_user(self, request: Request) -> int | None:
        """The index of the user if the request ranks the whole catalogue for a known user; else None."""
        if not isinstance(request, Invocation) or request.candidates is not None or request.filters.categories:
            return None
        if self._shortlist:  # a shortlist is for one user at a time
            return None
        user = self._bundle.user_index.get(request.user_id)
        return user if user is not None and self._bundle.seen(user).size else None

    def _ranking(self, request: Invocation, logits: Floats | None = None) -> dict[str, Any]:
        """`logits`: those of the stored part of the model, if they are already computed; they are overwritten."""
        bundle, selection, filters = self._bundle, self._selection, request.filters
        user = bundle.user_index.get(request.user_id)
        if user is not None and bundle.seen(user).size == 0:
            user = None
        history, ages, unknown = self._known_history(request)
        whole_history = history
        if user is not None and ages:
            history, ages = self._unlearned(user, history, ages)
        rows = None
        if request.candidates is not None:
            known: set[Any] = {*map(bundle.item_index.get, request.candidates)}
            if None in known:
                known.remove(None)
                unknown += len({item for item in request.candidates if item not in bundle.item_index})
            rows = np.fromiter(known, np.int64, len(known))
            rows.sort()
        excluded = self._left_out(request, user, whole_history)
        if request.candidates is None:
            excluded = bundle.excluded(excluded)
        if filters is not NO_FILTERS:
            rows, excluded = selection.rows(filters, rows), selection.excluded(filters, excluded)
        number = request.num_results
        if number is None:
            number = len(bundle.item_ids) if rows is None else rows.size
        is_popular = user is None and not (history and self._recency)
        added = NOTHING_ADDED
        if is_popular:
            chosen = selection.best(
                popular_scores(bundle, rows), _unchanged, number, filters, rows=rows, excluded=excluded
            )
        else:
            added = self._added(user, history, ages)
            if logits is not None:
                logits = with_added(logits, added)
            elif user is not None and self._shortlist and rows is None and _is_short(number, filters):
                boosted = [bundle.item_index[item] for item in filters.boosts if item in bundle.item_index]
                shortlisted = self._shortlist.of(user, excluded, added)
                rows = np.union1d(shortlisted, np.array(boosted, dtype=np.int64))
            chosen = self._personal(user, number, filters, rows, excluded, added, logits)
        person = _Person(user, history, ages, None if is_popular else added)
        chosen, explored = self._explored(request, person, chosen, excluded)
        return {
            "userId": request.user_id,
            "itemList": self._entries(request, person, chosen, explored),
            "source": "popular" if is_popular else "personalized",
            "modelVersion": bundle.run_id,
            "unknownItems": unknown,
            **({"isStranger": True} if user is None and not is_popular else {}),
        }

    def _explored(
        self, request: Invocation, person: _Person, chosen: list[tuple[int, float]], excluded: Places
    ) -> tuple[list[tuple[int, float]], frozenset[int]]:
        """`chosen` with places for items that few people know, as `serving.exploration` defines, and which these are.
        `excluded`: the items that the answer leaves out, sorted; the person's own are left out besides.
        """
        exploration, popularity, number = request.exploration, self._bundle.popularity, request.num_results
        if exploration is None or request.candidates is not None or number is None:
            return chosen, frozenset()
        places = exploration.places(number) - sum(popularity[item] < exploration.fewer_than for item, _ in chosen)
        rows = self._selection.rows(request.filters, np.flatnonzero(popularity < exploration.fewer_than))
        if places <= 0 or rows is None or not rows.size:
            return chosen, frozenset()
        own = self._bundle.left_out(person.user, seen.ANY)
        others = np.array([*person.history, *(item for item, _ in chosen)], np.int32)
        excluded = np.unique(np.concatenate([excluded, own, others])).astype(np.int32)
        if person.added is None:
            scores = popular_scores(self._bundle, rows)
            pool = self._selection.best(scores, _unchanged, rows.size, request.filters, rows=rows, excluded=excluded)
        else:
            pool = self._personal(person.user, POOL * places, request.filters, rows, excluded, person.added)
        drawn: list[tuple[int, float]] = []
        for place in order(request.user_id, today(), len(pool)):
            more = [*chosen[: number - places], *drawn, pool[place]]
            if len(drawn) < places and len(self._selection.capped(more, request.filters)) == len(more):
                drawn.append(pool[place])
        found = sorted([*chosen[: number - len(drawn)], *drawn], key=lambda entry: -entry[1])
        return self._selection.capped(found, request.filters), frozenset(item for item, _ in drawn)

    def _entries(
        self, request: Invocation, person: _Person, chosen: list[tuple[int, float]], explored: frozenset[int]
    ) -> list[dict[str, Any]]:
        """The entries of an answer, with what the request asks to know of them."""
        entries, items = self._item_list(chosen, request.fields), [item for item, _ in chosen]
        for entry, item in zip(entries, items, strict=True) if explored else ():
            if item in explored:
                entry["isExploration"] = True
        if request.explain:
            reasons: list[list[int]] = [[] for _ in items]
            if self._recency and person.added is not None:
                reasons = self._recency.reasons(person.user, person.history, person.ages, items)
            for entry, own in zip(entries, reasons, strict=True):
                entry["because"] = [self._bundle.item_ids[item] for item in own]
        return entries

    def _left_out(self, request: Invocation, user: int | None, known: list[int]) -> Places:
        """What `excludeSeen` leaves out, sorted. known: the items of the request's history that the model knows."""
        bundle, kind = self._bundle, request.exclude_seen
        own = bundle.left_out(user, kind)
        if not known or kind == seen.NONE:
            return own
        if kind == seen.BOUGHT:
            known = [bundle.item_index[item] for item in request.bought if item in bundle.item_index]
        both: Places = np.union1d(own, np.array(known, dtype=np.int32))
        return both

    def _known_history(self, request: Invocation) -> tuple[list[int], list[float] | None, int]:
        """The known items of the request's history, their ages if it has them, and the number of unknown items."""
        found = [*map(self._bundle.item_index.get, request.history)]
        if None not in found:
            return cast("list[int]", found), None if request.ages is None else list(request.ages), 0
        unknown = len({item for item, row in zip(request.history, found, strict=True) if row is None})
        ages = None
        if request.ages is not None:
            ages = [age for age, row in zip(request.ages, found, strict=True) if row is not None]
        return [row for row in found if row is not None], ages, unknown

    def _unlearned(self, user: int, history: list[int], ages: list[float]) -> tuple[list[int], list[float]]:
        """The history and its ages without what the model has learned of the user."""
        fresh = self._bundle.unlearned(user, history, ages, time.time())
        if len(fresh) == len(history):
            return history, ages
        return [history[place] for place in fresh], [ages[place] for place in fresh]

    def _personal(
        self,
        user: int | None,
        number: int,
        filters: Filters = NO_FILTERS,
        rows: Rows | None = None,
        excluded: Places = NOTHING,
        added: Added = NOTHING_ADDED,
        logits: Floats | None = None,
    ) -> list[tuple[int, float]]:
        """The best items and their scores, of a user or of a stranger (None). `added` is part of the logits. `logits`
        [rows]: the user's logits with `added`, if they are already computed.
        """
        best = self._selection.best
        if logits is None and user is not None and not filters.boosts and not filters.category_caps:
            items, scores = self._logits.best(user, number, excluded, rows, added)
            chosen = list(zip(items.tolist(), scores.tolist(), strict=True))
            greatest = chosen[0][1] if chosen else 0.0
        else:
            logits = self._logits_of(user, rows, added) if logits is None else logits
            chosen = best(logits, kernels.sigmoid, number, filters, rows=rows, excluded=excluded)
            greatest = max((score for _, score in chosen), default=0.0)
        if greatest > _SATURATED:
            keys = self.scores(user, rows, added) if logits is None else kernels.sigmoid(logits)
            return best(keys, _unchanged, number, filters, rows=rows, excluded=excluded)
        return chosen

    def _related(self, request: Related) -> dict[str, Any]:
        bundle, selection, filters = self._bundle, self._selection, request.filters
        item = bundle.item_index.get(request.item_id)
        similarities = bundle.model.related(item) if item is not None and bundle.has_vector(item) else None
        rows = selection.rows(filters, None)
        itself = NOTHING if item is None else np.array([item], dtype=np.int32)
        excluded = selection.excluded(filters, bundle.excluded(itself))
        keys = popular_scores(bundle, rows)
        if similarities is not None:
            scores = similarities.cpu().numpy()
            keys = scores if rows is None else scores[rows]
        chosen = selection.best(keys, _unchanged, request.num_results, filters, rows=rows, excluded=excluded)
        return {
            "itemId": request.item_id,
            "itemList": self._item_list(chosen, request.fields),
            "source": "popular" if similarities is None else "related",
            "modelVersion": bundle.run_id,
            "unknownItems": 0 if item is not None else 1,
        }

    def _shard(self, request: Shard) -> dict[str, Any]:
        bundle = self._bundle
        members = np.flatnonzero(
            (self._shard_hashes % request.shards == request.shard) & (np.diff(bundle.seen_indptr) > 0)
        )
        users: dict[str, list[tuple[str, float]]] = {}
        listed = Counter[int]()
        for begin in range(0, members.size, self._users_at_once):
            group = members[begin : begin + self._users_at_once].tolist()
            together = self._logits.of(group) if self._logits.is_faster_together else [None] * len(group)
            for user, logits in zip(group, together, strict=True):
                added = self._added(user)
                if logits is not None:
                    logits = with_added(logits, added)
                chosen = self._personal(
                    user, request.num_results, excluded=bundle.excluded(bundle.seen(user)), added=added, logits=logits
                )
                users[self._user_ids[user]] = [(bundle.item_ids[item], score) for item, score in chosen]
                listed.update(item for item, _ in chosen)
        names, categories = bundle.category_names, bundle.item_categories
        return {
            "schemaVersion": "1.0",
            "modelVersion": bundle.run_id,
            "shard": request.shard,
            "shards": request.shards,
            "users": users,
            "itemCategories": {
                bundle.item_ids[item]: [names[place] for place in categories[item]]
                for item in sorted(listed)
                if categories and categories[item]
            },
            "itemFields": self._fields_of([item for item, _ in sorted(listed.most_common(), key=_most_listed)]),
        }

    def _fields_of(self, items: list[int]) -> dict[str, str]:
        """The fields of these items as JSON texts, as many as the limit of a part allows."""
        found: dict[str, str] = {}
        room = limits.PART_FIELDS_BYTES
        for item in items if len(self._bundle.fields) else ():
            text = self._bundle.fields.text(item)
            room -= len(text.encode()) + len(self._bundle.item_ids[item].encode())
            if room < 0:
                break
            found[self._bundle.item_ids[item]] = text
        return found

    @cached_property
    def _user_ids(self) -> list[str]:
        return list(self._bundle.user_index)

    @cached_property
    def _shard_hashes(self) -> NDArray[np.uint32]:
        digests = (hashlib.sha256(user.encode()).digest()[:4] for user in self._user_ids)
        return np.array([int.from_bytes(digest, "big") for digest in digests], dtype=np.uint32)

    def _item_list(self, chosen: list[tuple[int, float]], fields: tuple[str, ...]) -> list[dict[str, Any]]:
        ids, known = self._bundle.item_ids, self._bundle.fields
        if not fields:
            return [{"itemId": ids[item], "score": score} for item, score in chosen]
        shown = ((item, score, known.of(item)) for item, score in chosen)
        return [
            {"itemId": ids[item], "score": score, "fields": {name: values.get(name) for name in fields}}
            for item, score, values in shown
        ]


def _most_listed(counted: tuple[int, int]) -> tuple[int, int]:
    return -counted[1], counted[0]


def _is_short(number: int, filters: Filters) -> bool:
    """True if a shortlist always has enough items. With caps it may not: a cap can skip any number of items."""
    return number <= shortlist.LENGTH // 5 and not filters.category_caps


def _answer_or_error(answer: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any] | Exception:
    try:
        return answer(*arguments)
    except Exception as error:
        return error


def _unchanged(scores: Floats) -> Floats:
    return scores
