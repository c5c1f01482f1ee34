"""Names of columns by meaning, and known files whose names or values tell their columns.

Names are compared without case and without anything but letters and digits, so `User-ID` is `user_id`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from contracts.layouts import Layout

MEANINGS = ("user", "item", "timestamp", "event_type", "weight")
REQUIRED = ("user", "item", "timestamp")
NO_TIMES = NO_WEIGHTS = "none"
"""In place of the column of times, or of weights: there are none, by request."""

OPTIONS = {"user": "USER", "item": "ITEM", "timestamp": "TIME", "event_type": "EVENT", "weight": "WEIGHT"}
"""The variables of `make demo` that name a column."""
KEYS = {
    "user": "userColumn",
    "item": "itemColumn",
    "timestamp": "timestampColumn",
    "event_type": "eventTypeColumn",
    "weight": "weightColumn",
    "event_id": "eventIdColumn",
    "session_id": "sessionIdColumn",
}
"""The keys of `_drop.json` that name a column."""
HELD = {"user": "users", "item": "items", "timestamp": "times", "event_type": "event types", "weight": "weights"}
"""What a column of each meaning holds, for sentences."""

#: By meaning: names that win over the others, then names that are taken if a file has just one of them.
_NAMES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "user": (
        ("userid",),
        ("user", "uid", "userindex", "customerid", "customer", "custid", "customerno", "customernumber", "clientid",
         "visitorid", "visitor", "memberid", "member", "personid", "reviewerid", "accountid", "buyerid", "shopperid",
         "householdid", "householdkey", "profileid"),
    ),
    "item": (
        ("itemid",),
        ("item", "iid", "productid", "product", "productcode", "articleid", "article", "asin", "parentasin", "movieid",
         "bookid", "isbn", "stockcode", "sku", "skuid", "trackid", "songid", "artistid", "gameid", "animeid",
         "contentid", "offerid", "goodsid", "recipeid", "listingid", "videoid", "businessid"),
    ),
    "timestamp": (
        ("timestamp",),
        ("time", "ts", "datetime", "date", "eventtime", "eventtimestamp", "eventdate", "createdat", "created",
         "unixreviewtime", "reviewtime", "reviewdate", "invoicedate", "orderdate", "ordertime", "orderdatetime",
         "orderedat", "purchasedate", "purchasetime", "purchasedat", "transactiondate", "tdat", "ratedat", "unixtime",
         "epoch", "timestampms", "eventtimems"),
    ),
    "event_type": (
        ("eventtype",),
        ("event", "eventname", "behavior", "behaviour", "behaviortype", "behaviourtype", "action", "actiontype",
         "interactiontype", "interaction"),
    ),
    "weight": (("weight",), ("rating", "overall", "stars", "bookrating", "score", "playcount")),
}  # fmt: skip

_ITEM_NAMES = ("itemid", "id", *_NAMES["item"][1])


class Shape(NamedTuple):
    """A file with several names of one meaning: its own names, the columns that count, and the form of its times where
    the day and the month cannot be told apart.
    """

    names: frozenset[str]
    columns: dict[str, str]
    time_format: str | None = None


_SHAPES = (
    # Amazon reviews 2014 and 2018, JSON: https://jmcauley.ucsd.edu/data/amazon/
    Shape(
        frozenset({"reviewerid", "asin", "overall", "unixreviewtime"}),
        {"user": "reviewerid", "item": "asin", "timestamp": "unixreviewtime", "weight": "overall"},
    ),
    # Amazon reviews 2023, JSON and CSV: https://amazon-reviews-2023.github.io/
    Shape(
        frozenset({"userid", "parentasin", "rating", "timestamp"}),
        {"user": "userid", "item": "parentasin", "timestamp": "timestamp", "weight": "rating"},
    ),
    # Orders of Olist, joined: each order has a customer_id. https://www.kaggle.com/datasets/olistbr/brazilian-ecommerce
    Shape(
        frozenset({"customerid", "customeruniqueid", "productid", "orderpurchasetimestamp"}),
        {"user": "customeruniqueid", "item": "productid", "timestamp": "orderpurchasetimestamp"},
    ),
    # Online Retail I and II: https://archive.ics.uci.edu/dataset/352 and /502. A cancellation has a quantity below 0.
    Shape(
        frozenset({"stockcode", "quantity", "invoicedate", "customerid"}),
        {"user": "customerid", "item": "stockcode", "timestamp": "invoicedate", "weight": "quantity"},
        "M/d/yyyy H:mm",
    ),
)

_INTEGER = re.compile(r"[0-9]+")
#: Amazon's ids of reviewers and products.
_REVIEWER = re.compile(r"A[0-9A-Z]{9,20}")
_ASIN = re.compile(r"(B[0-9A-Z]{9}|[0-9]{9}[0-9X])")


def normal(name: str) -> str:
    """Letters and digits in lower case: `userid` for `User-ID`."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def catalogue_id(names: Sequence[str], items: Collection[str]) -> str | None:
    """The column of a catalogue with a header that has the ids of items; None if there is none. `items`: the names of
    the column of items in the interactions.
    """
    known = {normal(name): name for name in reversed(names)}
    own = next((name for name in names if name in items), None)
    return own or next((known[name] for name in _ITEM_NAMES if name in known), None)


def by_names(names: Sequence[str], taken: set[str]) -> dict[str, list[str]]:
    """The candidates for each meaning."""
    free = [name for name in names if name not in taken]
    shape = shape_of(free)
    if shape is None:
        return candidates(free)
    known = {normal(name): name for name in free}
    return {**candidates(free), **{meaning: [known[column]] for meaning, column in shape.columns.items()}}


def shape_of(names: Sequence[str]) -> Shape | None:
    known = {normal(name) for name in names}
    return next((shape for shape in _SHAPES if shape.names <= known), None)


def candidates(names: Sequence[str]) -> dict[str, list[str]]:
    found = {}
    for meaning, tiers in _NAMES.items():
        for tier in tiers:
            found[meaning] = [name for name in names if normal(name) in tier]
            if found[meaning]:
                break
    return found


def by_values(layout: Layout, called: str) -> dict[str, list[str]]:
    """The columns of a file without a header, if its values are those of a known shape."""
    names = layout.names
    texts = [[row[position] for row in layout.rows] for position in range(len(names))]

    def all_are(position: int, fits: Callable[[str], object]) -> bool:
        return bool(texts[position]) and all(fits(text) for text in texts[position])

    def at(*positions: int) -> dict[str, list[str]]:
        return {meaning: [names[position]] for meaning, position in zip(MEANINGS, positions, strict=False)}

    if len(names) == 4:
        weight = {"weight": [names[2]]}
        # MovieLens: ratings.dat, and u.data of 100K.
        if layout.separator == "::" or called.rpartition("/")[2] == "u.data":
            return at(0, 1, 3) | weight
        # Amazon reviews: ratings without a header, in both orders.
        if all_are(0, _REVIEWER.fullmatch) and all_are(1, _ASIN.fullmatch):
            return at(0, 1, 3) | weight
        if all_are(1, _REVIEWER.fullmatch) and all_are(0, _ASIN.fullmatch):
            return at(1, 0, 3) | weight
    # UserBehavior of Taobao: user, item, category, behaviour, time.
    if len(names) == 5 and all_are(4, _INTEGER.fullmatch) and all_are(3, {"pv", "buy", "cart", "fav"}.__contains__):
        return at(0, 1, 4, 3)
    return {}
