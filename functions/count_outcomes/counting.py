"""The counts of one window from its events. Pure.

    count = Count("2026-11-29T10:15Z", key=stack_id, types=types, most_events=500)
    count.add("U#42", item="7", event_type="cart", recommendation_id="…", value=None)
    count.window()

The same events give the same counts in any order, also if some of them come twice.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import NamedTuple

from contracts import outcomes, recent_events
from contracts.event_types import CLICK, PURCHASE, EventTypes
from contracts.outcomes import GROUPS, Answers, Counts, Shown, Window
from contracts.recommendation_ids import Answered


class _Event(NamedTuple):
    answer: int
    """Hash of the recommendation id: 64 bits, so that two of a million answers are one with a chance of 3e-8."""
    item: str
    outcome: str
    value: float


class Count:
    """Events of the window `start`. `key` is the stack's id; a person with more than `most_events` is a bot.

    An event takes about 250 bytes; events of bots are not kept.
    """

    def __init__(self, start: str, key: str, types: EventTypes, most_events: int) -> None:
        self._start, self._key, self._types, self._most = start, key, types, most_events
        self._people: dict[str, list[_Event] | None] = {}  # None: a bot
        self._answers: dict[int, Answers | None] = {}
        self._same: dict[Answers, Answers] = {}
        self._items: dict[str, str] = {}
        self._not_attributed = 0

    def add(self, pk: str, item: str, event_type: str, recommendation_id: str, value: float | None) -> None:
        """Add an event of the person or session `pk`."""
        answer = hash(recommendation_id)
        if answer not in self._answers:
            self._answers[answer] = self._read(recommendation_id)
        if self._answers[answer] is None:
            self._not_attributed += 1
        events = self._people.setdefault(pk, [])
        if events is None:
            return
        if len(events) == self._most:
            self._people[pk] = None
            return
        outcome = self._types.of(event_type).outcome
        events.append(_Event(answer, self._items.setdefault(item, item), outcome, value or 0.0))

    def _read(self, recommendation_id: str) -> Answers | None:
        found = Answered.read(recommendation_id, self._key)
        if found is None:
            return None
        answers = Answers.like(found)
        return self._same.setdefault(answers, answers)

    def window(self) -> Window:
        """Return the counts of the events that were added."""
        shown: dict[int, str] = {}  # whose answer it is
        chosen: set[tuple[int, str]] = set()
        bought: dict[tuple[int, str], float] = {}
        for pk in sorted(self._people):  # an answer that two people name counts for the first of them
            for event in self._people[pk] or ():
                if self._answers[event.answer] is None:
                    continue
                shown.setdefault(event.answer, pk)
                pair = (event.answer, event.item)
                if event.outcome == CLICK:
                    chosen.add(pair)
                elif event.outcome == PURCHASE:
                    bought[pair] = max(event.value, bought.get(pair, event.value))
        clicks: dict[int, int] = defaultdict(int)
        for answer, _ in chosen:
            clicks[answer] += 1
        return Window(
            start=self._start,
            rows=outcomes.fold(self._rows(shown, clicks, bought)),
            groups=self._groups(shown, clicks),
            bots=sum(events is None for events in self._people.values()),
            not_attributed=self._not_attributed,
        )

    def _rows(
        self, shown: dict[int, str], clicks: dict[int, int], bought: dict[tuple[int, str], float]
    ) -> dict[Answers, Counts]:
        values: dict[Answers, list[float]] = defaultdict(list)
        for (answer, _), value in bought.items():
            values[self._of(answer)].append(value)
        impressions: dict[Answers, int] = defaultdict(int)
        chosen: dict[Answers, int] = defaultdict(int)
        for answer in shown:
            impressions[self._of(answer)] += 1
            chosen[self._of(answer)] += clicks.get(answer, 0)
        return {
            answers: Counts(number, chosen[answers], len(values[answers]), round(math.fsum(values[answers]), 6))
            for answers, number in impressions.items()
        }

    def _groups(self, shown: dict[int, str], clicks: dict[int, int]) -> dict[tuple[str, str], tuple[Shown, ...]]:
        found: dict[tuple[str, str], list[Shown]] = {}
        for answer, pk in shown.items():
            side = self._of(answer).side
            if side:
                groups = found.setdefault(side, [Shown()] * GROUPS)
                group = recent_events.group(pk, GROUPS)
                before = groups[group]
                groups[group] = Shown(before.impressions + 1, before.clicks + clicks.get(answer, 0))
        return {side: tuple(groups) for side, groups in found.items()}

    def _of(self, answer: int) -> Answers:
        found = self._answers[answer]
        assert found is not None  # only answers of this stack are shown
        return found
