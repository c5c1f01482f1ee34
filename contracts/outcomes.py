"""Counts of what recommendations earned in a window of 15 minutes, or in a day, as items of the run ledger.

    window = Window.from_item(item)
    window.rows[Answers(run_id="v20260101t000000z-00000000-r1", source="personalized")].clicks
    window.groups["trial-1", "Other"][31].impressions
    total([window, …], lambda answers: answers.run_id)     # Counts by model

A window's item has the keys (PK, `2026-11-29T10:15Z`), a day's (DAY_PK, `2026-11-29`). `count_outcomes` writes both.
What counts:
- impression: an answer (a distinct recommendation id) that was shown. An event that names an answer implies that it
  was shown, whatever its type.
- click: a distinct pair of answer and item that was chosen.
- purchase: a distinct pair of answer and item that was bought; its value is the largest `eventValue` of its events.
An answer that events of two windows name counts in each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from contracts.recommendation_ids import Answered

PK, DAY_PK = "OUTCOMES", "OUTCOMES#DAY"
GROUPS = 32
"""Groups of people in which the answers of a trial are counted: `recent_events.group(pk, GROUPS)`."""
MAXIMUM_ROWS = 1000
"""Most rows of an item; more of them are counted together, by `fold`."""
OTHER_PLACEMENTS = "*"

Name = TypeVar("Name")


class Answers(NamedTuple):
    """Which answers are counted together: those with the same model, source, placement and side of a trial."""

    run_id: str
    source: str
    placement: str = ""
    trial: str = ""
    variant: str = ""

    @classmethod
    def like(cls, answered: Answered) -> Answers:
        """Return those that `answered` is one of."""
        return cls(answered.run_id, answered.source, answered.placement, answered.trial, answered.variant)

    @property
    def side(self) -> tuple[str, str] | None:
        """The trial and the variant; None outside a trial."""
        return (self.trial, self.variant) if self.trial else None


@dataclass(frozen=True)
class Counts:
    """Impressions, clicks and purchases of answers; differences may be negative."""

    impressions: int = 0
    clicks: int = 0
    purchases: int = 0
    value: float = 0.0
    """Sum of `eventValue` of the purchases, in the shop's unit."""

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.impressions + other.impressions,
            self.clicks + other.clicks,
            self.purchases + other.purchases,
            round(self.value + other.value, 6),
        )

    def __sub__(self, other: Counts) -> Counts:
        return self + Counts(-other.impressions, -other.clicks, -other.purchases, -other.value)

    @property
    def rate(self) -> float:
        """Clicks per impression; 0 without impressions. It is above 1 if people choose several items of an answer."""
        return self.clicks / self.impressions if self.impressions else 0.0


class Shown(NamedTuple):
    """The answers of one side of a trial to one group of people."""

    impressions: int = 0
    clicks: int = 0


@dataclass(frozen=True, kw_only=True)
class Window:
    """The counts of a window or a day."""

    start: str
    """`recent_events.window_start`; of a day its date."""
    rows: Mapping[Answers, Counts] = field(default_factory=dict)
    groups: Mapping[tuple[str, str], tuple[Shown, ...]] = field(default_factory=dict)
    """By trial and variant: GROUPS entries, one for each group of people. A day has none."""
    bots: int = 0
    """People with more events than a person makes. Their events are in no row and no group."""
    not_attributed: int = 0
    """Events that name an id which this stack did not make, such as that of another shop."""

    def to_item(self) -> dict[str, Any]:
        """Return the attributes of the ledger's item; empty names are left out."""
        return {
            "rows": [{**_named(key), **_counted(counts)} for key, counts in sorted(self.rows.items())],
            "groups": [
                {
                    "trial": trial,
                    "variant": variant,
                    "impressions": [one.impressions for one in groups],
                    "clicks": [one.clicks for one in groups],
                }
                for (trial, variant), groups in sorted(self.groups.items())
            ],
            "bots": self.bots,
            "notAttributed": self.not_attributed,
        }

    @classmethod
    def from_item(cls, item: Mapping[str, Any]) -> Window:
        """Read an item of the ledger (keys and attributes, numbers as int or float)."""
        return cls(
            start=str(item["sk"]),
            rows={
                Answers(
                    run_id=row["runId"],
                    source=row["source"],
                    placement=row.get("placement", ""),
                    trial=row.get("trial", ""),
                    variant=row.get("variant", ""),
                ): Counts(row["impressions"], row["clicks"], row["purchases"], float(row["value"]))
                for row in item.get("rows", [])
            },
            groups={
                (row["trial"], row["variant"]): tuple(map(Shown, row["impressions"], row["clicks"]))
                for row in item.get("groups", [])
            },
            bots=item.get("bots", 0),
            not_attributed=item.get("notAttributed", 0),
        )


def total(windows: Iterable[Window], name: Callable[[Answers], Name]) -> dict[Name, Counts]:
    """Return the sums of the rows by `name` of their answers, such as the run id."""
    sums: dict[Name, Counts] = {}
    for window in windows:
        for answers, counts in window.rows.items():
            sums[name(answers)] = sums.get(name(answers), Counts()) + counts
    return sums


def of_trial(windows: Iterable[Window], trial: str) -> dict[str, tuple[Shown, ...]]:
    """Return the sums of the groups of a trial by variant."""
    sums: dict[str, tuple[Shown, ...]] = {}
    for window in windows:
        for (name, variant), groups in window.groups.items():
            if name == trial:
                before = sums.get(variant, (Shown(),) * GROUPS)
                sums[variant] = tuple(
                    Shown(one.impressions + more.impressions, one.clicks + more.clicks)
                    for one, more in zip(before, groups, strict=True)
                )
    return sums


def fold(rows: Mapping[Answers, Counts], most: int = MAXIMUM_ROWS) -> dict[Answers, Counts]:
    """Return `rows` in about `most` rows: beyond them, those with the fewest impressions are counted together as
    placement OTHER_PLACEMENTS, so that all sums by model stay.
    """
    ordered = sorted(rows.items(), key=lambda row: (-row[1].impressions, row[0]))
    folded = dict(ordered[:most])
    for answers, counts in ordered[most:]:
        other = answers._replace(placement=OTHER_PLACEMENTS)
        folded[other] = folded.get(other, Counts()) + counts
    return folded


def _named(answers: Answers) -> dict[str, str]:
    names = {"runId": answers.run_id, "source": answers.source}
    more = {"placement": answers.placement, "trial": answers.trial, "variant": answers.variant}
    return names | {name: value for name, value in more.items() if value}


def _counted(counts: Counts) -> dict[str, Any]:
    return {
        "impressions": counts.impressions,
        "clicks": counts.clicks,
        "purchases": counts.purchases,
        "value": counts.value,
    }
