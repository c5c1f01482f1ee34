"""Turns raw interactions into a dataset version: read, clean, index, split, write.

Runs under spark-submit or as a plain Python process; URIs are `s3://…` or directories. What it reads and writes is in
docs/contracts.md, "Preparation". Exit 0: written (or it already exists); 2: the data is refused, and the last line on
standard error is `REFUSED: <reason>`; any other: a fault, with `FAILED: <cause>` as the last line.
"""

from __future__ import annotations

import re
import sys
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

import arguments as command_line
import cleaning
import indexing
import splitting
import writing
from arguments import Arguments
from contracts import lines
from reading import Source, read_source
from refusal import PreparationFailed, Refused, printable
from spark_session import open_session, size_shuffles
from storage import Storage, literal_path, root_cause
from writing import Table

WRITTEN, FAULT, REFUSED = 0, 1, 2

#: Share of the interactions above which a single user causes a warning: a robot, or a shop's own account.
_LARGE_USER_SHARE = 0.1


@dataclass
class Preparation:
    """One run: its arguments, its session, and the counts and warnings so far."""

    arguments: Arguments
    session: SparkSession
    storage: Storage
    read: int = 0
    bad: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def warn(self, warning: str) -> None:
        """Prints the warning and adds it to the report."""
        print(f"warning: {warning}", flush=True)
        self.warnings.append(warning)

    def report(self, *reasons: str) -> None:
        """Writes `report.json`, with status refused if there are `reasons`, otherwise accepted."""
        folder = self.arguments.quarantine_folder
        document = writing.build_report(self.arguments.dataset_version, reasons, self.read, self.bad, self.warnings)
        self.storage.write_whole(f"{folder}/report.json", writing.as_text(document), f"{folder}/_report.draft")


@dataclass(frozen=True)
class Clean:
    """Interactions for training and testing (`user_id, item_id, timestamp, weight`), and counts of rows by outcome."""

    interactions: DataFrame
    rows: int
    other_events: int
    duplicates: int
    below_support: int
    time_span: tuple[int, int]


@dataclass(frozen=True)
class Indexed:
    """Interactions with indices, and the id maps with their sizes."""

    interactions: DataFrame
    users: DataFrame
    user_count: int
    items: DataFrame
    item_count: int


@dataclass(frozen=True)
class Split:
    """Rows for training and testing, the popularity of items in training, and their sizes."""

    train: DataFrame
    train_rows: int
    test: DataFrame
    test_rows: int
    popularity: DataFrame
    popular_items: int
    cold_test_items: int


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one preparation and returns the exit status."""
    arguments = command_line.parse(argv)
    running = SparkSession.getActiveSession()
    session = None
    try:
        session = open_session(f"preparation {arguments.dataset_version}")
        last_line = prepare(Preparation(arguments, session, Storage(session)))
    except PreparationFailed as fault:
        last_line = f"{lines.FAILED}{fault}"
    except Exception as error:
        traceback.print_exc()
        last_line = f"{lines.FAILED}{explain(error)}"
    finally:
        if session is not None:
            session.catalog.clearCache()
            if running is None:
                session.stop()
    if not last_line:
        return WRITTEN
    sys.stdout.flush()
    print(last_line, file=sys.stderr, flush=True)
    return REFUSED if last_line.startswith("REFUSED") else FAULT


def prepare(preparation: Preparation) -> str:
    """Writes the dataset version. Returns the last line of output: empty if written, `REFUSED: …` if refused."""
    arguments, storage = preparation.arguments, preparation.storage
    if storage.exists(f"{arguments.dataset}/manifest.json"):
        print(f"dataset {arguments.dataset_version} is already written, nothing to do", flush=True)
        return ""
    # A dataset without a manifest is from a run that did not finish.
    storage.delete(arguments.dataset)
    storage.delete(arguments.quarantine_folder)
    storage.drop_checksum_files(arguments.output)
    storage.drop_checksum_files(arguments.quarantine)
    try:
        source = read(preparation)
        cleaned = clean(preparation, source)
        indexed = index(preparation, source, cleaned)
        divided = split(preparation, indexed)
        write(preparation, source, cleaned, indexed, divided)
    except Refused as refusal:
        storage.delete(arguments.dataset)
        preparation.report(*refusal.reasons)
        return f"{lines.REFUSED}{refusal}"
    return ""


def read(preparation: Preparation) -> Source:
    """Finds the files and opens them as text columns. `clean` is the first step that reads the rows."""
    arguments, started = preparation.arguments, time.monotonic()
    source = read_source(
        preparation.session,
        preparation.storage,
        arguments.source,
        arguments.items,
        arguments.format,
        arguments.columns,
    )
    for warning in source.warnings:
        preparation.warn(warning)
    size_shuffles(preparation.session, source.size)
    _print_step("read", started, files=source.files, bytes=source.size, format=source.format)
    return source


def clean(preparation: Preparation, source: Source) -> Clean:
    """Quarantines bad rows, and keeps the latest row of each (user, item) with enough support.

    Raises Refused if too many rows are bad, or if no row, only one user, or only one item remains.
    """
    arguments, started = preparation.arguments, time.monotonic()
    parsed = cleaning.parse(source.interactions, arguments.event_types).persist()
    outcomes = cleaning.tally(parsed).collect()
    preparation.read = sum(row["rows"] for row in outcomes)
    for row in outcomes:
        if row["reason"] is not None:
            preparation.bad[row["reason"]] = preparation.bad.get(row["reason"], 0) + row["rows"]
    other_events = sum(row["rows"] for row in outcomes if row["reason"] is None and not row["is_wanted"])
    bad = sum(preparation.bad.values())
    if bad:
        _write_quarantine(preparation, parsed, bad)
    _refuse_bad_rows(preparation.read, preparation.bad, arguments.maximum_bad_share)
    good = preparation.read - bad - other_events
    if good == 0:
        raise Refused(f"no interactions (rows=0): none of {preparation.read} rows has a requested event type")

    unique = cleaning.with_support(cleaning.latest_per_pair(cleaning.good_rows(parsed))).persist()
    minimum_user, minimum_item = arguments.minimum_user_interactions, arguments.minimum_item_interactions
    interactions = cleaning.supported(unique, minimum_user, minimum_item)
    distinct = unique.count()
    facts = cleaning.summary(interactions).head()
    assert facts is not None
    rows = facts["rows"]
    if rows == 0:
        raise Refused(
            f"below minimum support: 0 of {distinct} interactions remain when a user needs at least "
            f"{minimum_user} items and an item at least {minimum_item} users"
        )
    if facts["one_user"] or facts["one_item"]:
        whose = "of one user" if facts["one_user"] else "with one item"
        raise Refused(f"below minimum support: all {rows} interactions are {whose}; two users and two items are needed")
    share = facts["most"] / rows
    if share > _LARGE_USER_SHARE and rows >= 1000:
        preparation.warn(f"one user has {share:.0%} of the interactions ({facts['most']} of {rows})")
    _print_step(
        "clean",
        started,
        rows=rows,
        read=preparation.read,
        quarantined=bad,
        other_events=other_events,
        duplicates=good - distinct,
        below_support=distinct - rows,
    )
    return Clean(interactions, rows, other_events, good - distinct, distinct - rows, (facts["first"], facts["last"]))


def index(preparation: Preparation, source: Source, cleaned: Clean) -> Indexed:
    """Assigns an index to each user and item; ids of the parent version keep theirs."""
    started = time.monotonic()
    parent_users, known_users = _parent_map(preparation, "users", "user_index")
    parent_items, known_items = _parent_map(preparation, "items", "item_index")
    users, new_users = indexing.number(
        indexing.unknown_ids(cleaned.interactions, "user_id", parent_users), "user_id", "user_index", known_users
    )
    items, new_items = indexing.number(
        indexing.unknown_ids(cleaned.interactions, "item_id", parent_items), "item_id", "item_index", known_items
    )
    if parent_users is not None and parent_items is not None:
        users = parent_users.unionByName(users)
        items = parent_items.unionByName(items, allowMissingColumns=True)
    catalogue = indexing.clean_catalogue(source.catalogue) if source.catalogue is not None else None
    items = indexing.describe(items, catalogue)
    users, items = users.persist(), items.persist()
    interactions = indexing.with_indices(cleaned.interactions, users, items)
    user_count, item_count = known_users + new_users, known_items + new_items
    _print_step("index", started, users=user_count, items=item_count, new_users=new_users, new_items=new_items)
    return Indexed(interactions, users, user_count, items, item_count)


def split(preparation: Preparation, indexed: Indexed) -> Split:
    """Holds out each user's last interaction. Raises Refused if no row is for testing, or a pair is in both sets."""
    started = time.monotonic()
    marked = splitting.mark_last(indexed.interactions).persist()
    items = splitting.per_item(marked).persist()
    is_cold = F.col("earlier") == 0
    facts = items.agg(
        F.count("*").alias("items"),
        F.sum("interactions").alias("rows"),
        F.sum(F.col("interactions") - F.col("earlier")).alias("last"),
        F.sum(F.when(is_cold, F.col("interactions")).otherwise(0)).alias("cold"),
    ).head()
    assert facts is not None
    test_rows = facts["last"] - facts["cold"]
    if test_rows == 0:
        raise Refused(
            f"nothing to test with: {facts['last']} users have at least two interactions, "
            f"and the last item of {facts['cold']} of them has no earlier interaction"
        )
    divided = splitting.decide(marked, items)
    leaked = splitting.leaked_pairs(divided).count()
    if leaked:
        raise Refused(f"{leaked} (user, item) pairs would be in both train and test")
    train_rows = facts["rows"] - test_rows
    _print_step("split", started, train=train_rows, test=test_rows, cold_test_items=facts["cold"])
    return Split(
        train=splitting.for_training(divided),
        train_rows=train_rows,
        test=splitting.for_testing(divided),
        test_rows=test_rows,
        popularity=splitting.popularity(items),
        popular_items=facts["items"],
        cold_test_items=facts["cold"],
    )


def write(preparation: Preparation, source: Source, cleaned: Clean, indexed: Indexed, divided: Split) -> None:
    """Writes the tables, then the report, and last the manifest: with it the dataset is complete."""
    arguments, storage, started = preparation.arguments, preparation.storage, time.monotonic()
    users, items = indexed.user_count, indexed.item_count
    tables = [
        Table(
            "train", divided.train, ("user_index", "timestamp", "item_index"), divided.train_rows, "user_index", users
        ),
        Table("test", divided.test, ("user_index",), divided.test_rows, "user_index", users),
        Table("users", indexed.users.select("user_index", "user_id"), ("user_index",), users, "user_index", users),
        Table("items", indexed.items, ("item_index",), items, "item_index", items),
        Table("popularity", divided.popularity, (F.desc("interactions"), "item_index"), divided.popular_items),
    ]
    staging = f"{arguments.dataset}/_staging"

    def write_table(table: Table) -> None:
        writing.write_table(storage, table, arguments.dataset, staging)

    # In parallel, so that the small tables do not wait for the large one.
    with ThreadPoolExecutor(len(tables)) as pool:
        list(pool.map(write_table, tables))
    files = writing.describe_files(preparation.session, arguments.dataset, tables)
    counts = {
        "read": preparation.read,
        "interactions": cleaned.rows,
        "train": divided.train_rows,
        "test": divided.test_rows,
        "users": users,
        "items": items,
        "quarantined": sum(preparation.bad.values()),
        "otherEvents": cleaned.other_events,
        "duplicates": cleaned.duplicates,
        "belowSupport": cleaned.below_support,
        "coldTestItems": divided.cold_test_items,
    }
    manifest = writing.build_manifest(arguments, source.format, files, counts, cleaned.time_span)
    preparation.report()
    # The draft must not be called manifest.json: readers that wait for that name would start too early.
    draft = f"{arguments.dataset}/_manifest.draft"
    storage.delete(staging)
    storage.write_whole(f"{arguments.dataset}/manifest.json", writing.as_text(manifest), draft)
    _print_step("write", started, files=len(files), bytes=sum(file["size"] for file in files))


def explain(error: BaseException) -> str:
    """One line about a fault: the file that could not be read, if one is named, and the innermost cause."""
    text = str(error)
    origin = getattr(error, "_origin", None) or getattr(error, "java_exception", None)
    cause = (
        root_cause(origin) if origin is not None else f"{type(error).__name__}: {text.splitlines()[0] if text else ''}"
    )
    file = re.search(r"(?:while reading file|footer for file:?|Could not read footer for file:?)\s+(\S+)", text)
    return printable(f"cannot read {file.group(1).rstrip('.')}: {cause}" if file else cause, 1000)


def _refuse_bad_rows(read: int, bad: dict[str, int], maximum_share: float) -> None:
    if read == 0:
        raise Refused("no interactions (rows=0): the files have a header, but no row")
    total = sum(bad.values())
    if total / read > maximum_share:
        detail = ", ".join(f"{reason} {rows}" for reason, rows in sorted(bad.items(), key=lambda count: -count[1]))
        raise Refused(f"{total} of {read} rows are bad ({total / read:.2%}, limit {maximum_share:.2%}): {detail}")


def _write_quarantine(preparation: Preparation, parsed: DataFrame, rows: int) -> None:
    folder = preparation.arguments.quarantine_folder
    order = ("reason", "file", "line", "user_id", "item_id", "timestamp", "event_type", "weight")
    staging = f"{folder}/_staging"
    writing.write_table(
        preparation.storage, Table("rows", cleaning.bad_rows(parsed), order, rows), folder, staging, "json"
    )
    preparation.storage.delete(staging)


def _parent_map(preparation: Preparation, name: str, index_column: str) -> tuple[DataFrame | None, int]:
    """The parent's id map and its size; (None, 0) without a parent. Raises PreparationFailed if incomplete."""
    parent = preparation.arguments.parent
    if parent is None:
        return None, 0
    if not preparation.storage.exists(f"{parent}/manifest.json"):
        raise PreparationFailed(f"the parent version has no manifest: {parent}/manifest.json")
    table = preparation.session.read.parquet(literal_path(f"{parent}/{name}"))
    facts = table.agg(F.count("*").alias("rows"), F.max(index_column).alias("last")).head()
    assert facts is not None
    if facts["rows"] == 0 or facts["last"] != facts["rows"] - 1:
        raise PreparationFailed(f"{parent}/{name} has {facts['rows']} rows, but its last index is {facts['last']}")
    return table, facts["rows"]


def _print_step(step: str, started: float, **facts: object) -> None:
    """Prints a line about a step, for people and programs that watch: `step=clean rows=100836 … seconds=3.1`."""
    fields = " ".join(f"{key}={value}" for key, value in facts.items())
    print(f"step={step} {fields} seconds={time.monotonic() - started:.1f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
