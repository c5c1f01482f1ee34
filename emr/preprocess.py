"""Turns raw interactions into a dataset version: read, clean, index, split, write.

Runs under spark-submit or as a plain Python process; URIs are `s3://…` or directories. What it reads and writes is in
docs/reference/contracts.md, "Preparation". Exit 0: written (or it already exists); 2: the data is refused, and the
last line on standard error is `REFUSED: <reason>`; any other: a fault, with `FAILED: <cause>` as the last line.
"""

from __future__ import annotations

import re
import sys
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

import arguments as command_line
import drops
import erasing
import forgetting
import global_time
import indexing
import item_columns
import parquet_files
import splitting
import withdrawal
import worth
import writing
from arguments import AUTO_ITEMS
from clean_step import clean
from contracts import lines, withdrawn
from contracts.item_fields import BOOLEAN
from reading import Source, read_source
from refusal import PreparationFailed, Refused, printable
from spark_session import SMALL, open_session, size_shuffles
from stages import Clean, Indexed, Preparation, Split, print_step
from storage import Storage, literal_path, root_cause
from writing import Table

WRITTEN, FAULT, REFUSED = 0, 1, 2

#: Share of the test users above which ties in time cause a warning: what draws decide for a tenth of the users moves a
#: hit rate by 0.1 at most. MovieLens (small) has 16 %, a shop whose baskets have one time each 94 %.
_LARGE_TIED_SHARE = 0.1


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one preparation and returns the exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    if "--erase" in words:
        return erasing.main(words)
    arguments = command_line.parse(words)
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
    preparation.people = forgetting.read(storage, arguments.forgotten)
    try:
        source = read(preparation)
        cleaned = clean(preparation, source)
        indexed = index(preparation, source, cleaned)
        divided = split(preparation, cleaned, indexed)
        write(preparation, source, cleaned, indexed, divided)
    except Refused as refusal:
        storage.delete(arguments.dataset)
        preparation.report(*refusal.reasons)
        return f"{lines.REFUSED}{refusal}"
    return ""


def read(preparation: Preparation) -> Source:
    """Finds the files and opens them as text columns. `clean` is the first step that reads the rows."""
    arguments, started = preparation.arguments, time.monotonic()
    found, warnings = drops.read_drops(preparation.storage, arguments)
    # An event that a customer sends is no rating: it is worth the weight of its type.
    least = max(1, arguments.worth.least_value or 1)
    source = read_source(preparation.session, preparation.storage, found, arguments.items, least)
    preparation.lineage = source.drops
    for warning in (*warnings, *source.warnings):
        preparation.warn(warning)
    size_shuffles(preparation.session, source.size)
    print_step("read", started, files=source.files, bytes=source.size, format=source.format)
    return source


def index(preparation: Preparation, source: Source, cleaned: Clean) -> Indexed:
    """Assigns an index to each user and item; ids of the parent version keep theirs, unless most are not
    used any more.
    """
    started = time.monotonic()
    parent_users, known_users = _parent_map(preparation, "users", "user_index")
    parent_items, known_items = _parent_map(preparation, "items", "item_index")
    if parent_users is not None:
        parent_users = forgetting.without_ids(parent_users, preparation.people)
    rows, rows_of_items = cleaned.interactions, cleaned.items if cleaned.items is not None else cleaned.interactions
    with ThreadPoolExecutor() as pool:  # to plan a query takes longer than to run it, where there are few ids
        typed = pool.submit(_typed_catalogue, preparation, source)
        of_users = pool.submit(_numbered, preparation, rows, "user", parent_users, known_users)
        of_items = _numbered(preparation, rows_of_items, "item", parent_items, known_items)
    numbered_users = of_users.result()
    for kind, numbered in (("user", numbered_users), ("item", of_items)):
        if numbered.gone:
            preparation.warn(_compacted(kind, numbered, preparation.arguments.compact_above))
    users = numbered_users.ids.persist()
    described, found, catalogue = _describe(preparation, source, of_items, typed.result())
    items = described.drop(*withdrawal.DECIDED_BY)
    if catalogue is not None:
        items = items.unionByName(catalogue.rows, allowMissingColumns=True)
    is_small = source.size <= SMALL
    if is_small:  # several tables are written from these: to plan them costs more than to keep them
        items = items.persist()
    numbers = items.select("item_id", "item_index")
    numbers = numbers if cleaned.items is None else splitting.with_cold(numbers, cleaned.items)
    interactions = indexing.with_indices(rows, users.select("user_id", "user_index"), numbers)
    if is_small:
        interactions = interactions.persist()
    catalogue_items = catalogue.number if catalogue else 0
    user_count, item_count = numbered_users.total, of_items.total + catalogue_items
    print_step(
        "index",
        started,
        users=user_count,
        items=item_count,
        new_users=numbered_users.new,
        new_items=of_items.new,
        catalogue_items=catalogue_items,
        withdrawn=found.withdrawn,
    )
    return Indexed(
        interactions,
        users,
        user_count,
        items,
        item_count,
        compacted_users=numbered_users.gone,
        compacted_items=of_items.gone,
        item_columns=item_columns.kinds_of(items),
        withdrawn=found.withdrawn,
        withdrawn_ids=withdrawal.newest(described) if found.withdrawn else (),
        catalogue_items=catalogue_items,
    )


@dataclass(frozen=True)
class _Numbered:
    """The map of users or items, and numbers of ids: `new`, those that the parent did not have; `kept`, the parent's
    that stay; `gone`, the parent's that are dropped: all that have no interaction, if their share is above
    `--compact-above`; `idle`, those that have none and stay (of users 0 where nothing is dropped by that option).
    """

    ids: DataFrame
    new: int
    kept: int = 0
    gone: int = 0
    idle: int = 0

    @property
    def total(self) -> int:
        return self.kept + self.new


def _numbered(preparation: Preparation, rows: DataFrame, kind: str, parent: DataFrame | None, known: int) -> _Numbered:
    """The map of users or items (`kind`) that `rows` have, with the ids of the parent's map, which has `known`."""
    identifier, index = f"{kind}_id", f"{kind}_index"
    ids, new = indexing.number(indexing.unknown_ids(rows, identifier, parent), identifier, index, known)
    if parent is None:
        return _Numbered(ids, new)
    limit, gone = preparation.arguments.compact_above, 0
    if limit < 1 or kind == "item":
        gone = known - indexing.used(parent, rows, identifier).count()
    if gone <= limit * (known + new):
        return _Numbered(parent.unionByName(ids, allowMissingColumns=True), new, known, idle=gone)
    return _Numbered(indexing.compacted(parent, rows, identifier, index), new, known - gone, gone)


def _compacted(kind: str, numbered: _Numbered, limit: float) -> str:
    before = numbered.total + numbered.gone
    return (
        f"{numbered.gone:,} of {before:,} {kind}s have no interaction any more ({numbered.gone / before:.0%}, limit "
        f"{limit:.0%}): they are dropped, and the other {kind}s are numbered anew (--compact-above, compactAbove)"
    )


def _typed_catalogue(preparation: Preparation, source: Source) -> item_columns.Described | None:
    """The catalogue with typed columns. Raises Refused if the column that tells what is for sale does not."""
    arguments = preparation.arguments
    if source.catalogue is None:
        return None
    return item_columns.describe(source.catalogue, arguments.available_column or arguments.withdrawn_column)


def _describe(
    preparation: Preparation, source: Source, numbered: _Numbered, described: item_columns.Described | None
) -> tuple[DataFrame, withdrawal.Found, indexing.OfCatalogue | None]:
    """The items with what the catalogue and the parent version tell of them, and the items that the catalogue alone
    has, if it is one of these items. Raises Refused if none is for sale.
    """
    arguments, items, has_parent = preparation.arguments, numbered.ids, numbered.kept > 0
    if described is None:
        known = indexing.describe(items, None).persist()
        if has_parent:
            return *withdrawal.decide(known, arguments.absent_items), None
        return known.withColumn("is_withdrawn", F.lit(False)), withdrawal.Found(), None
    catalogue, sold = indexing.clean_catalogue(described.rows), None
    if described.sold_by is not None:
        told = F.col(parquet_files.quoted(described.sold_by.name))
        is_true = told if described.sold_by.kind == BOOLEAN else told > 0
        sold = is_true if arguments.available_column else ~is_true
    policy = arguments.absent_items
    if source.is_catalogue_of_append and policy == AUTO_ITEMS:
        policy = withdrawal.UNCHANGED
    items, found = withdrawal.decide(indexing.describe(items, catalogue, sold).persist(), policy)
    example, is_another = None, found.described < withdrawal.SMALL_SHARE * found.sold
    if is_another:
        row = catalogue.agg(F.min("item_id")).head()
        example = row[0] if row is not None else None
    preparation.warn_of((*described.found, *withdrawal.of_catalogue(found, policy, example, has_parent)))
    if is_another and policy != withdrawal.UNCHANGED:
        return items, found, None
    number, idle = numbered.total, numbered.idle
    new = indexing.of_catalogue_alone(items, catalogue, sold, number, idle)
    if new.total > new.number:
        preparation.warn(
            f"the catalogue adds {new.total:,} items for sale without an interaction; with {idle:,} others of earlier "
            f"versions they would be more than half of the {number - idle:,} with one, so the first {new.number:,} by "
            "id can be recommended"
        )
    return items, found, new


def split(preparation: Preparation, cleaned: Clean, indexed: Indexed) -> Split:
    """Separates the rows for testing. Raises Refused if there is none, or a pair is in both sets."""
    started = time.monotonic()
    if cleaned.items is None:
        divided = _split_by_time(cleaned, indexed)
    else:
        divided = _hold_out_last(preparation, cleaned.items, indexed)
    print_step(
        "split",
        started,
        train=divided.train_rows,
        test=divided.test_rows,
        test_users=divided.test_users,
        cold_test_items=divided.cold_test_items,
        tied_test_users=divided.tied_test_users,
        new_test_users=divided.new_test_users,
        repeats=divided.repeat_rows,
    )
    return divided


def _split_by_time(cleaned: Clean, indexed: Indexed) -> Split:
    """The rows of each part, which were separated before they had indices."""
    rows = indexed.interactions.persist()
    train, test, repeats = (
        global_time.part(rows, part) for part in (global_time.TRAIN, global_time.TEST, global_time.REPEATS)
    )
    facts = global_time.facts(rows).head()
    assert facts is not None
    return Split(
        train=train,
        train_rows=cleaned.parts[global_time.TRAIN],
        test=test,
        test_rows=cleaned.parts[global_time.TEST],
        test_users=facts["test_users"],
        popularity=global_time.popularity(train),
        popular_items=facts["items"],
        cold_test_items=cleaned.parts.get(global_time.COLD, 0),
        new_test_users=facts["new_test_users"],
        repeats=repeats,
        repeat_rows=cleaned.parts.get(global_time.REPEATS, 0),
    )


def _hold_out_last(preparation: Preparation, known: DataFrame, indexed: Indexed) -> Split:
    """Holds out each user's last interaction. `known`: `splitting.per_item`. Warns if ties decide much."""
    facts = splitting.facts(known).head()
    assert facts is not None
    test_rows = facts["last"] - facts["cold"]
    if test_rows == 0:
        raise Refused(
            f"nothing to test with: {facts['last']:,} users have at least two interactions, "
            f"and the last item of {facts['cold']:,} of them has no earlier interaction"
        )
    if facts["repeated"]:
        raise Refused(f"{facts['repeated']} (user, item) pairs would be in both train and test")
    train_rows, tied = facts["rows"] - test_rows, facts["tied"]
    if tied / test_rows > _LARGE_TIED_SHARE and preparation.arguments.has_times:
        preparation.warn(
            f"ties decide the test item of {tied:,} of {test_rows:,} users ({tied / test_rows:.0%}, limit "
            f"{_LARGE_TIED_SHARE:.0%}): several of their interactions have the last time, and one is drawn; "
            "give finer times, or split at one moment (--split global-time)"
        )
    values = preparation.arguments.worth
    at_newest = worth.at(values, F.col("worth"), preparation.found.last, facts["newest"])
    return Split(
        train=splitting.for_training(indexed.interactions).withColumn("worth", at_newest),
        train_rows=train_rows,
        test=splitting.for_testing(indexed.interactions),
        test_rows=test_rows,
        test_users=test_rows,
        popularity=splitting.popularity(known.join(indexed.items.select("item_id", "item_index"), "item_id")),
        popular_items=facts["items"],
        cold_test_items=facts["cold"],
        tied_test_users=tied,
    )


def write(preparation: Preparation, source: Source, cleaned: Clean, indexed: Indexed, divided: Split) -> None:
    """Writes the tables, then the report, and last the manifest: with it the dataset is complete."""
    arguments, storage, started = preparation.arguments, preparation.storage, time.monotonic()
    users, items = indexed.user_count, indexed.item_count
    interactions = [("train", divided.train, divided.train_rows), ("test", divided.test, divided.test_rows)]
    if divided.repeats is not None and divided.repeat_rows:  # an empty folder has no file
        interactions.append(("repeats", divided.repeats, divided.repeat_rows))
    order = ("user_index", "timestamp", "item_index")
    of_users, of_items = {"user_index": users}, {"item_index": items}
    by_interactions = (F.desc("interactions"), "item_index")
    tables = [
        *(Table(name, frame, order, rows, of_users | of_items, "user_index") for name, frame, rows in interactions),
        Table("users", indexed.users.select("user_index", "user_id"), ("user_index",), users, of_users, "user_index"),
        Table("items", indexed.items, ("item_index",), items, of_items, "item_index"),
        Table("popularity", divided.popularity, by_interactions, divided.popular_items, of_items),
    ]
    staging = f"{arguments.dataset}/_staging"

    def write_table(table: Table) -> None:
        writing.write_table(storage, table, arguments.dataset, staging)

    # In parallel, so that the small tables do not wait for the large one.
    with ThreadPoolExecutor(len(tables)) as pool:
        list(pool.map(write_table, tables))
    files = writing.describe_files(preparation.session, storage, arguments.dataset, tables)
    counts = {
        "read": preparation.read,
        "interactions": cleaned.rows,
        "train": divided.train_rows,
        "test": divided.test_rows,
        "testUsers": divided.test_users,
        "newTestUsers": divided.new_test_users,
        "tiedTestUsers": divided.tied_test_users,
        "repeats": divided.repeat_rows,
        "users": users,
        "items": items,
        "quarantined": sum(preparation.found.bad.values()),
        "forgotten": preparation.forgotten,
        "otherEvents": cleaned.other_events,
        "duplicates": cleaned.duplicates,
        "notLiked": cleaned.not_liked,
        "belowSupport": cleaned.below_support,
        "superseded": cleaned.superseded,
        "beforeHistory": cleaned.before_history,
        "coldTestItems": divided.cold_test_items,
        "compactedUsers": indexed.compacted_users,
        "compactedItems": indexed.compacted_items,
        "withdrawnItems": indexed.withdrawn,
        "catalogueItems": indexed.catalogue_items,
    }
    manifest = writing.build_manifest(
        arguments,
        source.format,
        source.columns,
        files,
        counts,
        cleaned.time_span,
        cleaned.moment,
        preparation.found.most_frequent_types,
        cleaned.figures,
        lineage=preparation.lineage,
        is_renumbered=indexed.compacted_users + indexed.compacted_items > 0,
        item_columns=indexed.item_columns,
    )
    preparation.report()
    gone = withdrawn.as_json(arguments.dataset_version, indexed.withdrawn_ids)
    storage.write_whole(f"{arguments.dataset}/{withdrawn.FILE}", gone, f"{arguments.dataset}/_withdrawn.draft")
    # The draft must not be called manifest.json: readers that wait for that name would start too early.
    draft = f"{arguments.dataset}/_manifest.draft"
    storage.delete(staging)
    storage.write_whole(f"{arguments.dataset}/manifest.json", writing.as_text(manifest), draft)
    print_step("write", started, files=len(files), bytes=sum(file["size"] for file in files))


def explain(error: BaseException) -> str:
    """One line about a fault: the file that could not be read, if one is named, and the innermost cause."""
    text = str(error)
    origin = getattr(error, "_origin", None) or getattr(error, "java_exception", None)
    cause = (
        root_cause(origin) if origin is not None else f"{type(error).__name__}: {text.splitlines()[0] if text else ''}"
    )
    file = re.search(r"(?:while reading file|footer for file:?|Could not read footer for file:?)\s+(\S+)", text)
    return printable(f"cannot read {file.group(1).rstrip('.')}: {cause}" if file else cause, 1000)


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


if __name__ == "__main__":
    sys.exit(main())
