"""The command line of the preparation, parsed into one frozen value."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from contracts import time_forms
from contracts.column_names import NO_TIMES
from contracts.columns import Given
from contracts.lines import FAILED
from contracts.names import DATASET_VERSION, EXAMPLE_VERSION
from contracts.splits import AUTO, GLOBAL_TIME, LEAVE_LAST_OUT, PROTOCOLS
from contracts.values import integer_in, is_number, shown

if TYPE_CHECKING:
    from worth import Worth

ABSENT_ITEMS = AUTO_ITEMS, WITHDRAWN, KEPT = ("auto", "withdrawn", "kept")
"""What an item is that the catalogue lacks; AUTO_ITEMS: withdrawn if the catalogue has at least half of the items."""

FORMATS = ("auto", "csv", "parquet", "movielens-csv", "movielens-dat")

#: Share of the interactions to test on by global time. With 0.1 the models are told apart better, but the one that
#: serves knows less of what is new: docs/decisions/0026-the-test-is-what-comes-next.md.
TEST_SHARE = 0.05

#: Indices are kept while at least half of them are used: numbering anew costs nothing but the names in old logs.
COMPACT_ABOVE = 0.5

WARNINGS = (
    "no-times", "guests", "absent-event-types", "left-out-event-types", "opposite-event-types", "event-types",
    "fractions-of-users", "fractions-of-items", "mixed-units", "units", "compact-dates", "early-times",
    "not-positive-weights", "busy-user", "test-account", "few-times", "one-time", "fast-user", "duplicates",
    "not-liked", "unweighted-event-types",
    "other-catalogue", "many-withdrawn", "catalogue-repeats", "catalogue-columns", "catalogue-types", "catalogue-texts",
)  # fmt: skip
"""The names of what `findings`, `item_columns` and `withdrawal` warn of."""
#: sysexits.h EX_USAGE. argparse's own 2 would read as "data refused".
USAGE_ERROR = 64


@dataclass(frozen=True)
class Arguments:
    """One preparation.

    source, output, quarantine: URIs or directories; each version is a folder in the last two.
    dataset_version, parent_version: `v<yyyymmdd>t<hhmmss>z-<8 hex>`; the parent's indices are kept.
    code_version: names the code in the manifest.
    forgotten: document with the people whose rows are dropped; nobody's without one.
    items: catalogue file or folder; None looks for `items.*` or `movies.*` in the source.
    format: format of the interaction files; `auto` decides per file. `csv` and MovieLens' are text of any layout.
    columns: those that are named; the others are guessed.
    event_types: only rows of these event types are used; empty means all of them.
    ignored_types: rows of these event types are left out before the others are judged.
    own_bought_types: rows of `source` are purchases if they have one of these event types; empty: `worth` decides.
    minimum_user_interactions: users with fewer distinct items are removed.
    minimum_item_interactions: items with fewer distinct users are removed.
    maximum_bad_share: maximum share of bad rows (0 to 1); above it the data is refused.
    split: one of `contracts.splits.PROTOCOLS`, or AUTO.
    test_share, test_days: by global time, one of them is given: at least this share of the interactions (above 0,
        below 1), or these days before the latest one, are for testing.
    refused_warnings: warnings, by their names in `WARNINGS`, that refuse the data.
    worth: what events are worth.
    union, drops: of an append: the document with the drops to read, and the folder that they are in.
    history_days: only interactions of so many days before the newest one are used; None: all.
    compact_above: users and items are numbered anew if the share of them without an interaction is above it.
    absent_items: one of `ABSENT_ITEMS`: what an item is that the catalogue lacks.
    available_column, withdrawn_column: at most one of them, a column of the catalogue: items with false or 0 in the
        first, or with true or a number above 0 in the second, are withdrawn.
    """

    source: str
    output: str
    quarantine: str
    dataset_version: str
    code_version: str
    parent_version: str | None = None
    forgotten: str | None = None
    items: str | None = None
    format: str = "auto"
    columns: Given = field(default_factory=Given)
    event_types: tuple[str, ...] = ()
    ignored_types: tuple[str, ...] = ()
    own_bought_types: tuple[str, ...] = ()
    minimum_user_interactions: int = 2
    minimum_item_interactions: int = 1
    maximum_bad_share: float = 0.001
    split: str = AUTO
    test_share: float | None = None
    test_days: int | None = None
    refused_warnings: tuple[str, ...] = ()
    worth: Worth = field(default_factory=lambda: _worth())
    drops: str | None = None
    union: str | None = None
    history_days: int | None = None
    compact_above: float = COMPACT_ABOVE
    absent_items: str = AUTO_ITEMS
    available_column: str | None = None
    withdrawn_column: str | None = None

    @property
    def last_second(self) -> int:
        """Later times are wrong: the version's moment and a day more, since shops write local times without a zone."""
        return moment_of(self.dataset_version) + 86_400

    @property
    def has_times(self) -> bool:
        """False if the interactions have no times, by request."""
        return self.columns.timestamp != NO_TIMES

    @property
    def dataset(self) -> str:
        """Folder of this dataset version."""
        return f"{self.output}/{self.dataset_version}"

    @property
    def parent(self) -> str | None:
        """Folder of the parent version."""
        return f"{self.output}/{self.parent_version}" if self.parent_version else None

    @property
    def quarantine_folder(self) -> str:
        """Folder of this version's bad rows and report."""
        return f"{self.quarantine}/{self.dataset_version}"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage()
        self.exit(USAGE_ERROR, f"{FAILED}{message}\n")


def parser() -> argparse.ArgumentParser:
    """The arguments of the command line."""
    made = _Parser(
        prog="preprocess.py",
        allow_abbrev=False,
        description="Turns raw interactions into a dataset version. Exit 0: written; 2: data refused; other: a fault.",
    )
    add = made.add_argument
    add("--source", required=True, type=_uri, help="folder (or one file) with the interactions, read recursively")
    add("--output", required=True, type=_uri, help="root of the datasets; this version becomes a folder in it")
    add("--quarantine", required=True, type=_uri, help="root of the quarantine, for bad rows and the report")
    add("--dataset-version", required=True, type=_version, metavar="V", help="v<yyyymmdd>t<hhmmss>z-<8 hex>")
    add("--code-version", required=True, type=_text, metavar="SHA", help="names this code in the manifest")
    add("--parent-version", type=_version, metavar="V", help="version whose indices are kept and appended to")
    add("--forgotten", type=_uri, metavar="URI", help="forgotten.json: people whose rows and ids are left out")
    add(
        "--items",
        type=_uri,
        metavar="URI",
        help="catalogue (id, title, category, further columns); default: items.*, movies.*, products.*… in the source",
    )
    add("--format", choices=FORMATS, default="auto", help="layout of the files; auto: found in each file")
    times = f"times; {NO_TIMES}: there are no times"
    for option, what in (("user", "users"), ("item", "items"), ("timestamp", times), ("event-type", "event types")):
        add(
            f"--{option}-column",
            type=_text,
            metavar="C",
            help=f"name, or position from 1, of the column with the {what}",
        )
    add(
        "--weight-column",
        type=_text,
        metavar="C",
        help=f"likewise of the weights; {NO_TIMES}: none; columns that are not named are guessed",
    )
    add("--event-id-column", type=_text, metavar="C", help="likewise of ids of events: each id of a person counts once")
    add("--session-id-column", type=_text, metavar="C", help="likewise of visits: a login gives their rows to the user")
    add("--ignore-types", type=_names, default=(), metavar="impression", help="left out before the others are judged")
    add("--own-bought-types", type=_names, default=(), metavar="buy", help="of --source alone, without --bought-types")
    add("--timestamp-format", type=_timestamp_format, metavar="PATTERN", help="datetime pattern, as M/d/yyyy H:mm")
    add("--event-types", type=_names, default=(), metavar="buy,view", help="only these are used; default: all")
    add("--event-weights", type=_weights, default={}, metavar="buy=5,refund=-5", help="worth by event type; others: 1")
    add("--least-value", type=_value, metavar="X", help="events with a value (weight) below it count nothing")
    add("--values", choices=("ignore", "multiply"), default="ignore", help="multiply: the value multiplies the worth")
    add("--half-life-days", type=_days, metavar="DAYS", help="the age at which an event is worth half")
    add("--bought-types", type=_names, default=(), metavar="buy", help="event types that are purchases; default: all")
    add("--minimum-user-interactions", type=_at_least_one, default=2, metavar="N", help="users with fewer are left out")
    add("--minimum-item-interactions", type=_at_least_one, default=1, metavar="N", help="items with fewer are left out")
    add("--maximum-bad-share", type=_share, default=0.001, metavar="SHARE", help="0 to 1; above it the data is refused")
    words = f"warnings for which the data is refused, of {', '.join(WARNINGS)}"
    add("--refuse-warnings", type=_warnings, default=(), metavar="NAMES", help=words)
    add(
        "--absent-items",
        choices=ABSENT_ITEMS,
        default=AUTO_ITEMS,
        help="items that the catalogue lacks; auto: withdrawn if it has at least half of the items",
    )
    add("--available-column", type=_text, metavar="C", help="of the catalogue: items with false or 0 are withdrawn")
    add("--withdrawn-column", type=_text, metavar="C", help="of the catalogue: items with true are withdrawn")
    add(
        "--split",
        choices=(AUTO, *PROTOCOLS),
        default=AUTO,
        help="what is for testing; auto: by time where enough users can be tested so",
    )
    add("--test-share", type=_part, metavar="SHARE", help=f"by global time: share to test, default {TEST_SHARE}")
    add("--test-days", type=_at_least_one, metavar="N", help="by global time: days to test, instead of a share")
    add("--union", type=_uri, metavar="URI", help="unions/<version>.json: the drops that are read with --source")
    add("--drops", type=_uri, metavar="URI", help="the folder of those drops")
    add("--history-days", type=_at_least_one, metavar="N", help="use only the last N days of interactions")
    add(
        "--compact-above",
        type=_share,
        default=COMPACT_ABOVE,
        metavar="SHARE",
        help="number users and items anew if more of them have no interaction; 1: never",
    )
    return made


def parse(argv: Sequence[str] | None = None) -> Arguments:
    """Parses `argv` (default: the process's arguments). Names a wrong argument and exits with `USAGE_ERROR`."""
    read = parser()
    options = read.parse_args(argv)

    columns = Given(
        user=options.user_column,
        item=options.item_column,
        timestamp=options.timestamp_column,
        event_type=options.event_type_column,
        weight=options.weight_column,
        event_id=options.event_id_column,
        session_id=options.session_id_column,
        needs_event_type=bool(options.event_types or options.event_weights or options.bought_types),
        needs_weight=options.least_value is not None or options.values == "multiply",
        time_format=options.timestamp_format,
    )
    if len(set(columns.named().values())) < len(columns.named()):
        read.error("argument --*-column: one column cannot have two meanings")
    if options.available_column and options.withdrawn_column:
        read.error("argument --withdrawn-column: not together with --available-column")
    if options.parent_version == options.dataset_version:
        read.error(f"argument --parent-version: {options.parent_version} is the version to be written")
    if options.test_share is not None and options.test_days is not None:
        read.error("argument --test-share: not together with --test-days")
    if options.split == LEAVE_LAST_OUT and (options.test_share is not None or options.test_days is not None):
        read.error(
            f"argument --{'test-days' if options.test_share is None else 'test-share'}: needs --split {GLOBAL_TIME}"
        )
    if options.split == GLOBAL_TIME and options.timestamp_column == NO_TIMES:
        read.error(f"argument --split: {GLOBAL_TIME} needs times; --timestamp-column is {NO_TIMES}")
    for option, named in (("event-weights", options.event_weights), ("bought-types", options.bought_types)):
        unused = sorted(set(named) - set(options.event_types)) if options.event_types else []
        if unused:
            read.error(
                f"argument --{option}: {unused[0]!r} is not in --event-types ({', '.join(options.event_types)}), so no "
                f"event of it is used; add it there, or leave it out of --{option}"
            )
    if (options.union is None) != (options.drops is None):
        read.error("argument --union: it needs --drops, and --drops needs it")
    if options.history_days is not None and options.timestamp_column == NO_TIMES:
        read.error(f"argument --history-days: it needs times; --timestamp-column is {NO_TIMES}")
    is_share = options.split != LEAVE_LAST_OUT and options.test_days is None
    return Arguments(
        source=options.source,
        output=options.output,
        quarantine=options.quarantine,
        dataset_version=options.dataset_version,
        code_version=options.code_version,
        parent_version=options.parent_version,
        forgotten=options.forgotten,
        items=options.items,
        format=options.format,
        columns=columns,
        event_types=options.event_types,
        ignored_types=options.ignore_types,
        own_bought_types=options.own_bought_types,
        minimum_user_interactions=options.minimum_user_interactions,
        minimum_item_interactions=options.minimum_item_interactions,
        maximum_bad_share=options.maximum_bad_share,
        split=options.split,
        test_share=(options.test_share or TEST_SHARE) if is_share else None,
        test_days=options.test_days,
        refused_warnings=options.refuse_warnings,
        worth=_worth(
            options.event_weights,
            options.least_value,
            options.values == "multiply",
            options.half_life_days,
            options.bought_types,
        ),
        drops=options.drops,
        union=options.union,
        history_days=options.history_days,
        compact_above=options.compact_above,
        absent_items=options.absent_items,
        available_column=options.available_column,
        withdrawn_column=options.withdrawn_column,
    )


def _worth(*given: Any) -> Worth:
    from worth import Worth  # it imports Spark, which a program that only describes the command line does not have

    return Worth(*given)


def _text(value: str) -> str:
    if not value.strip():
        raise argparse.ArgumentTypeError("must not be empty")
    return value


def _uri(value: str) -> str:
    return _text(value).rstrip("/") or "/"


def _version(value: str) -> str:
    if not DATASET_VERSION.fullmatch(value):
        raise argparse.ArgumentTypeError(f"{value!r} is not a dataset version like {EXAMPLE_VERSION}")
    try:
        moment_of(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{value!r} tells no time") from None
    return value


def moment_of(version: str) -> int:
    """The time in a dataset version's name, in epoch seconds. Raises ValueError if it has none, as on day 32."""
    return int(datetime.strptime(version[:17] + "+0000", "v%Y%m%dt%H%M%Sz%z").timestamp())


def _names(value: str) -> tuple[str, ...]:
    names = tuple(sorted({name.strip() for name in value.split(",")} - {""}))
    if not names:
        raise argparse.ArgumentTypeError(f"{value!r} has no event type")
    return names


def _weights(value: str) -> dict[str, float]:
    """Weights by event type, of `buy=5,view=1` or of a JSON object."""
    form = 'buy=5,view=1 or {"buy": 5, "view": 1}'
    if value.lstrip().startswith("{"):
        try:
            pairs = json.loads(value, object_pairs_hook=list)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{value!r} is no JSON object: {error}; give {form}") from None
    else:
        pairs = [(name, _number(text)) for name, _, text in (part.rpartition("=") for part in value.split(","))]
    found: dict[str, float] = {}
    for name, weight in pairs:
        name = name.strip()
        if not name:
            raise argparse.ArgumentTypeError(f"{value!r} has a weight without an event type; give {form}")
        if name in found:
            raise argparse.ArgumentTypeError(f"{value!r} has two weights of {name!r}; give one")
        if not is_number(weight) or abs(weight) > 1e6 or 0 < abs(weight) < 1e-6:
            raise argparse.ArgumentTypeError(
                f"the weight of {name!r} must be 0 or a finite number from 0.000001 to 1000000, or that below 0, not "
                f"{shown(weight)}; give {form}"
            )
        found[name] = float(weight)
    if not found:
        raise argparse.ArgumentTypeError(f"{value!r} has no event type; give {form}")
    return found


def _number(text: str) -> float | str:
    """The number that `text` is, or `text`."""
    try:
        return float(text) if text.isascii() and "_" not in text else text
    except ValueError:
        return text


def _value(value: str) -> float:
    number = _number(value)
    if not is_number(number) or not 0 <= number <= 1e9:
        raise argparse.ArgumentTypeError(f"must be a finite number from 0 to 1000000000, not {value!r}")
    return float(number)


def _days(value: str) -> float:
    number = _number(value)
    if not is_number(number) or not 0.01 <= number <= 36_500:
        raise argparse.ArgumentTypeError(
            f"must be a number of days from 0.01 to 36500, not {value!r}; without it, age does not matter"
        )
    return float(number)


def _warnings(value: str) -> tuple[str, ...]:
    names = _names(value)
    unknown = [name for name in names if name not in WARNINGS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is no warning; they are {', '.join(WARNINGS)}")
    return names


def _timestamp_format(value: str) -> str:
    if problem := time_forms.fault(value):
        raise argparse.ArgumentTypeError(problem)
    return value


def _at_least_one(value: str) -> int:
    number = integer_in(value)
    if number is None or not 1 <= number <= 1_000_000:
        raise argparse.ArgumentTypeError(f"must be an integer from 1 to 1000000, not {value!r}")
    return number


def _share(value: str) -> float:
    try:
        share = float(value) if value.isascii() and "_" not in value else -1.0  # float reads other scripts' digits too
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, not {value!r}")
    return share


def _part(value: str) -> float:
    share = _share(value)
    if not 0.0 < share < 1.0:
        raise argparse.ArgumentTypeError(f"must be above 0 and below 1, not {value!r}")
    return share
