"""The steps of a preparation share: the run itself, and what each step passes to the next."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import DataFrame, SparkSession

import writing
from arguments import Arguments
from contracts import lines
from contracts.forgotten import NOBODY, Forgotten
from findings import Finding, Outcomes
from refusal import Refused
from storage import Storage

_MANIFEST_BYTES = 64 * 1024 * 1024


@dataclass
class Preparation:
    """One run: its arguments, its session, the people to forget, the counts and warnings so far.

    `lineage`: what the manifest says of each drop.
    """

    arguments: Arguments
    session: SparkSession
    storage: Storage
    people: Forgotten = NOBODY
    forgotten: int = 0
    ignored: int = 0
    found: Outcomes = field(default_factory=Outcomes)
    warnings: list[str] = field(default_factory=list)
    lineage: list[dict[str, Any]] = field(default_factory=list)

    @property
    def read(self) -> int:
        """Rows that were read, with those of people who are forgotten and those that are ignored."""
        return self.found.read + self.forgotten + self.ignored

    def warn(self, warning: str) -> None:
        """Prints the warning and adds it to the report."""
        print(f"{lines.WARNING}{warning}", flush=True)
        self.warnings.append(warning)

    def warn_of(self, found: Iterable[Finding]) -> None:
        """Warns of each finding. Raises Refused for those that `--refuse-warnings` names."""
        refused = []
        for name, sentence in found:
            self.warn(sentence)
            if name in self.arguments.refused_warnings:
                refused.append(f"{sentence} ({name} is in --refuse-warnings)")
        if refused:
            raise Refused(*refused)

    def parent_manifest(self) -> dict[str, Any]:
        """The manifest of the parent version; empty without one."""
        uri = f"{self.arguments.parent}/manifest.json"
        if self.arguments.parent is None or not self.storage.exists(uri):
            return {}
        found = json.loads(self.storage.read_start(uri, _MANIFEST_BYTES))
        return found if isinstance(found, dict) else {}

    def report(self, *reasons: str) -> None:
        """Writes `report.json`, with status refused if there are `reasons`, otherwise accepted."""
        folder = self.arguments.quarantine_folder
        document = writing.build_report(
            self.arguments.dataset_version, reasons, self.read, self.found.bad, self.warnings
        )
        self.storage.write_whole(f"{folder}/report.json", writing.as_text(document), f"{folder}/_report.draft")


@dataclass(frozen=True)
class Clean:
    """Interactions for training and testing (`user_id, item_id, timestamp, weight` and what is known of the pair,
    `cleaning.PAIR`), and counts of rows by outcome.

    `figures`: those of the manifest. `superseded`: rows that a newer drop has too; `before_history`: older ones. By
    global time there are also the column `part`, the `moment` (epoch seconds) and the rows by part; by leave-last-out
    the columns of `splitting.mark_last` and `items`, those of `splitting.per_item`.
    """

    interactions: DataFrame
    rows: int
    other_events: int
    duplicates: int
    below_support: int
    time_span: tuple[int, int]
    not_liked: int = 0
    figures: Mapping[str, Any] = field(default_factory=dict)
    items: DataFrame | None = None
    moment: int | None = None
    parts: Mapping[str, int] = field(default_factory=dict)
    superseded: int = 0
    before_history: int = 0


@dataclass(frozen=True)
class Indexed:
    """Interactions with indices, the id maps with their sizes, and how many ids of the parent version were dropped.
    `item_columns`: the further columns of the items; `withdrawn`: the number of items that are not recommended, and
    `withdrawn_ids` the first of them; `catalogue_items`: the number of items that only the catalogue has.
    """

    interactions: DataFrame
    users: DataFrame
    user_count: int
    items: DataFrame
    item_count: int
    compacted_users: int = 0
    compacted_items: int = 0
    item_columns: Mapping[str, str] = field(default_factory=dict)
    withdrawn: int = 0
    withdrawn_ids: tuple[str, ...] = ()
    catalogue_items: int = 0


@dataclass(frozen=True)
class Split:
    """Rows for training and testing, the popularity of items in training, and their sizes."""

    train: DataFrame
    train_rows: int
    test: DataFrame
    test_rows: int
    test_users: int
    popularity: DataFrame
    popular_items: int
    cold_test_items: int
    tied_test_users: int = 0
    new_test_users: int = 0
    repeats: DataFrame | None = None
    repeat_rows: int = 0


def print_step(step: str, started: float, **facts: object) -> None:
    """Prints a line about a step, for people and programs that watch: `step=clean rows=100836 … seconds=3.1`."""
    fields = " ".join(f"{key}={value}" for key, value in facts.items())
    print(f"step={step} {fields} seconds={time.monotonic() - started:.1f}", flush=True)
