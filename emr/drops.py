"""The drops that one preparation reads: those of a union, or one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

import identifiers
import times
from arguments import Arguments
from contracts import unions
from contracts.column_names import KEYS, NO_TIMES
from contracts.columns import Given
from contracts.documents import Unfit
from refusal import PreparationFailed, Refused
from spark_session import java_class
from storage import Storage, StoredFile

_LARGEST = 2**31 - 1
_READERS = 16


@dataclass(frozen=True)
class Drop:
    """A drop: the folder or file `source`, and how it is read.

    ignored_types: event types whose rows are left out. bought_types: its rows are purchases if they have one of these
    event types; empty: that is not said of this drop.
    name: its folder below `raw/`; empty if it is the only one, or elsewhere. is_needed: what is wrong with it refuses
    the data; another drop was refused when it came, so it is left out.
    """

    source: str
    given: Given
    format: str = "auto"
    ignored_types: tuple[str, ...] = ()
    bought_types: tuple[str, ...] = ()
    name: str = ""
    kind: str = unions.FULL
    is_needed: bool = True


def read_drops(storage: Storage, arguments: Arguments) -> tuple[list[Drop], tuple[str, ...]]:
    """The drops of `--union`, the oldest first, and warnings about it; without it, `--source` alone. Raises
    PreparationFailed if the union cannot be read, Refused if only some drops have times.
    """
    own = Drop(
        arguments.source,
        arguments.columns,
        arguments.format,
        arguments.ignored_types,
        arguments.own_bought_types,
    )
    if arguments.union is None:
        return [own], ()
    try:
        union = unions.from_json(storage.read_start(arguments.union, _LARGEST), arguments.union)
    except Unfit as error:
        raise PreparationFailed(str(error)) from error
    found = [_drop(part, arguments) for part in union.parts]
    for drop in found:
        if (drop.given.timestamp == NO_TIMES) == arguments.has_times:
            has = "has no times" if arguments.has_times else "has times"
            called = f"raw/{drop.name}/" if drop.name else drop.source
            raise Refused(
                f"{called} {has}, and {arguments.source} {'has' if arguments.has_times else 'has none'}: "
                "without times nothing tells which interactions are the same; drop the whole history in one form"
            )
    return found, union.warnings


def _drop(part: unions.Part, arguments: Arguments) -> Drop:
    source = part.source.rstrip("/") or f"{arguments.drops}/{part.name}"
    named: dict[str, Any] = {meaning: part.parameters.get(key) for meaning, key in KEYS.items()}
    return Drop(
        source,
        Given(
            **named,
            needs_event_type=bool(arguments.event_types),
            needs_weight=arguments.worth.reads_values,
            time_format=part.parameters.get("timestampFormat"),
        ),
        part.parameters.get("format", "auto"),
        _names(part, "ignoreTypes"),
        _names(part, "ownBoughtTypes"),
        part.name,
        part.kind,
        is_needed=part.kind == unions.FULL or source == arguments.source,
    )


def _names(part: unions.Part, parameter: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in part.parameters.get(parameter, "").split(",") if name.strip())


def same_times(interactions: DataFrame, pattern: str) -> DataFrame:
    """The interactions with times of the form `pattern` as ISO 8601; others tell that they do not have it."""
    stamp = identifiers.without_blanks(F.col("timestamp"))
    read = times.read(stamp, F.lit(None).cast("bigint"), pattern).seconds
    iso = F.date_format(F.timestamp_seconds(read), "yyyy-MM-dd'T'HH:mm:ss'Z'")
    return interactions.withColumn(
        "timestamp", F.when(stamp != "", F.coalesce(iso, F.concat(F.lit(f"not {pattern}: "), stamp)))
    )


def in_seconds(interactions: DataFrame) -> DataFrame:
    """The interactions with times that are numbers as ISO 8601, so that their unit says nothing about other drops."""
    stamp = identifiers.without_blanks(F.col("timestamp"))
    read = times.read(stamp, times.number(stamp)).seconds
    iso = F.date_format(F.timestamp_seconds(read), "yyyy-MM-dd'T'HH:mm:ss'Z'")
    is_time = read.between(0, times.FIRST_IMPLAUSIBLE_SECOND - 1)
    return interactions.withColumn("timestamp", F.when(is_time, iso).otherwise(stamp))


def without_copies(
    storage: Storage, files: Sequence[tuple[int, StoredFile]]
) -> tuple[list[tuple[int, StoredFile]], list[str]]:
    """The files, each with the number of its drop, without those that have the bytes of another one; and warnings. The
    newest of equal files is kept. Only files of equal size are compared, by their SHA-256.
    """
    by_size: dict[int, list[tuple[int, StoredFile]]] = defaultdict(list)
    for drop, file in files:
        by_size[file.size].append((drop, file))
    alike = [pair for pairs in by_size.values() if len(pairs) > 1 for pair in pairs]
    if not alike:
        return list(files), []
    with ThreadPool(min(_READERS, len(alike))) as pool:
        hashes = pool.map(lambda pair: storage.sha256(pair[1].uri), alike)
    kept: dict[str, tuple[int, StoredFile]] = {}
    for digest, pair in zip(hashes, alike, strict=True):
        if digest not in kept or pair[0] > kept[digest][0]:
            kept[digest] = pair
    gone = {
        pair[1].uri: kept[digest][1] for digest, pair in zip(hashes, alike, strict=True) if kept[digest] is not pair
    }
    warnings = [f"{file.path} is read once: {gone[file.uri].path} is the same file" for _, file in files
                if file.uri in gone]  # fmt: skip
    return [(drop, file) for drop, file in files if file.uri not in gone], warnings


def with_drop(session: SparkSession, interactions: DataFrame, files: Iterable[tuple[int, str]]) -> DataFrame:
    """The interactions with `drop int`, the number of the drop of their `file`. `files`: numbers and URIs."""
    path = java_class(session, "org.apache.hadoop.fs.Path")
    folders = {uri.rpartition("/")[0]: number for number, uri in files}
    # Spark names a file as a URL.
    rows = [(str(path(name).toUri().toString()), number) for name, number in folders.items()]
    numbers = F.broadcast(session.createDataFrame(rows, "folder string, drop int"))
    folder = F.regexp_extract("file", r"^(?:[a-z0-9]+:/)?/*(.*)/[^/]*$", 1)
    known = numbers.select(F.regexp_extract("folder", r"^(?:[a-z0-9]+:/)?/*(.*)$", 1).alias("of_drop"), "drop")
    return interactions.withColumn("of_drop", folder).join(known, "of_drop").drop("of_drop")
