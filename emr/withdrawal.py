"""Decides which items are withdrawn: they stay in training as history, and are not recommended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from arguments import AUTO_ITEMS, KEPT, WITHDRAWN
from contracts import withdrawn
from findings import Finding
from refusal import Refused, printable

DECIDED_BY = ("is_described", "is_sold", "was_withdrawn", "is_repeated")
"""The columns of items that decide it."""

#: Policy for the catalogue of an append, which may have new items alone: items that it lacks stay what they were.
UNCHANGED = "unchanged"
#: Share of the items below which a catalogue is a part, another one, or has other ids.
SMALL_SHARE = 0.5
#: Share of the items that are withdrawn at once, above which the catalogue is probably broken.
_LARGE_SHARE = 0.2


@dataclass(frozen=True)
class Found:
    """Numbers of items. sold: not withdrawn in the parent version; described: of these, in the catalogue; withdrawn: in
    all, by `is_withdrawn`; newly: of these, sold before; returned: withdrawn in the parent version and sold now.
    """

    items: int = 0
    sold: int = 0
    described: int = 0
    withdrawn: int = 0
    newly: int = 0
    returned: int = 0
    repeated: int = 0
    first_absent: str | None = None


def withdraws_absent(policy: str, found: Any) -> bool:
    """True if items that the catalogue lacks are withdrawn."""
    return policy == WITHDRAWN or (policy == AUTO_ITEMS and found["described"] >= SMALL_SHARE * found["sold"])


def facts(items: DataFrame) -> DataFrame:
    """The sums that `decide` needs, of items with `is_described`, `is_sold` (null: not told), `was_withdrawn` and
    `is_repeated`. With each policy there is one number of withdrawn items, so one pass is enough.
    """
    was, described = F.col("was_withdrawn"), F.col("is_described")
    sums = [
        F.count("*").alias("items"),
        F.count_if(~was).alias("sold"),
        F.count_if(~was & described).alias("described"),
        F.count_if(described).alias("all_described"),
        F.count_if("is_repeated").alias("repeated"),
        F.min(F.when(~described, F.col("item_id"))).alias("first_absent"),
    ]
    for name, absent, keeps in (("absent", True, False), ("state", False, False), ("kept", False, True)):
        now = is_withdrawn(absent, keeps)
        sums += [
            F.count_if(now).alias(f"{name}_withdrawn"),
            F.count_if(now & ~was).alias(f"{name}_newly"),
            F.count_if(~now & was).alias(f"{name}_returned"),
        ]
    return items.agg(*sums)


def is_withdrawn(absent: bool, keeps: bool) -> Column:
    """`absent`: items that the catalogue lacks are withdrawn; else they stay as they were, or with `keeps` are sold."""
    lacking = F.lit(absent) if absent or keeps else F.col("was_withdrawn")
    not_sold = ~F.coalesce("is_sold", F.lit(True))
    return F.when(F.col("is_described"), not_sold).otherwise(lacking)


def decide(items: DataFrame, policy: str) -> tuple[DataFrame, Found]:
    """The items with `is_withdrawn` beside the columns that decide it. Raises Refused if no item is left."""
    row = facts(items).head()
    assert row is not None
    absent = withdraws_absent(policy, row)
    name = "absent" if absent else "kept" if policy == KEPT else "state"
    found = Found(
        row["items"], row["sold"], row["described"], row[f"{name}_withdrawn"], row[f"{name}_newly"],
        row[f"{name}_returned"], row["repeated"], row["first_absent"],
    )  # fmt: skip
    if found.withdrawn == found.items:
        raise Refused(
            f"all {found.items} items are withdrawn: {row['all_described']} of them are in the catalogue, and none of "
            "these is for sale; nothing could be recommended (absentItems, availableColumn, withdrawnColumn)"
        )
    decided = items.withColumn("is_withdrawn", is_withdrawn(absent, policy == KEPT))
    return decided, found


def newest(items: DataFrame) -> tuple[str, ...]:
    """The ids of withdrawn items, at most as many as `withdrawn.json` takes: those that were sold before come first."""
    order = items.where("is_withdrawn").orderBy("was_withdrawn", "item_index").limit(withdrawn.MOST)
    return tuple(row["item_id"] for row in order.select("item_id").collect())


def of_catalogue(found: Found, policy: str, example: str | None, parent: bool) -> Iterator[Finding]:
    """Findings about the catalogue as a whole. `example`: the first id of the catalogue, None if it has none; looked
    for only where it is small.
    """
    if found.repeated:
        yield (
            "catalogue-repeats",
            f"{found.repeated} items are in the catalogue more than once with different values; the row with the "
            "smallest title counts",
        )
    if found.described < SMALL_SHARE * found.sold:
        has = "has no item" if example is None else f"has ids like {printable(example, 60)!r}"
        kept = "" if policy != AUTO_ITEMS else "; items that it lacks are not withdrawn (absentItems)"
        yield (
            "other-catalogue",
            f"{found.described} of {found.sold} items are in the catalogue, which {has}; "
            f"the interactions have ids like {printable(str(found.first_absent), 60)!r}{kept}",
        )
    if found.newly > _LARGE_SHARE * found.sold:
        before = " since the parent version" if parent else ""
        yield (
            "many-withdrawn",
            f"{found.newly} of {found.sold} items ({found.newly / found.sold:.0%}, limit {_LARGE_SHARE:.0%}) are "
            f"withdrawn at once{before}: they are not in the catalogue, or not for sale, and are recommended no more",
        )
