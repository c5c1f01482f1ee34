"""Quality of the lists of items that nobody has in train: 5 % of the items are hidden and ranked among each other.

Each row is recall@10 and NDCG@10 over the people with at least 5 interactions in train, whose hidden items are to be
found among all hidden ones. `popularity` is the mean popularity of the items in train that share an attribute. `share`
is what the hidden items have of the first 10 places in the whole catalogue, where they get no help.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv as csv
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from rich.table import Table
from torch import Tensor

import ncf
from ncf.attributes import attributes_of, give_vectors
from ncf.dataset import Dataset, History, Pairs
from ncf.item_fields import ItemFields
from ncf.recent import WithRecent

HIDDEN = 0.05
LEAST = 5
K = 10
_USERS_AT_ONCE = 256

Rows = tuple[Any, Any, Any]
"""Ids of users, ids of items, and times."""


def movies(folder: Path) -> tuple[Rows, dict[str, dict[str, Any]]]:
    """ml-latest-small: ratings, and titles and genres."""
    ratings = csv.read_csv(folder / "ml-latest-small" / "ratings.csv")
    listed = csv.read_csv(folder / "ml-latest-small" / "movies.csv").to_pylist()
    catalogue = {row["movieId"]: {"title": row["title"], "category": row["genres"]} for row in listed}
    users, items, times = (ratings[name].to_pylist() for name in ("userId", "movieId", "timestamp"))
    return (users, items, times), catalogue


def retail(folder: Path) -> tuple[Rows, dict[str, dict[str, Any]]]:
    """online-retail: purchases, and the most frequent description and the median price of each item."""
    names = ("CustomerID", "StockCode", "InvoiceDate", "Description", "UnitPrice", "Quantity")
    table = pq.read_table(folder / "online-retail" / "online_retail.parquet", columns=list(names))
    columns = [table[name].to_pylist() for name in names]
    rows = [row for row in zip(*columns, strict=True) if row[0] is not None and row[0] == row[0] and row[5] > 0]
    titles, prices = defaultdict[str, Counter[Any]](Counter), defaultdict[str, list[float]](list)
    for _, item, _, title, price, _ in rows:
        titles[item][title] += 1
        prices[item].append(price)
    catalogue = {
        item: {"title": titles[item].most_common(1)[0][0], "price": float(np.median(prices[item]))} for item in titles
    }
    users, items, times = (list(column) for column in zip(*(row[:3] for row in rows), strict=True))
    return (users, items, times), catalogue


SETS: dict[str, Callable[[Path], tuple[Rows, dict[str, dict[str, Any]]]]] = {
    "ml-latest-small": movies,
    "online-retail": retail,
}


def hide(rows: Rows, catalogue: dict[Any, dict[str, Any]], seed: int = 0) -> tuple[Dataset, NDArray[np.int64]]:
    """Return a dataset whose test has all interactions with the hidden items, and these items."""
    items = {name: place for place, name in enumerate(catalogue)}
    people = {name: place for place, name in enumerate(dict.fromkeys(rows[0]))}
    user, item = np.array([people[one] for one in rows[0]]), np.array([items[one] for one in rows[1]])
    moment = np.array(rows[2]).astype("datetime64[s]").astype(np.int64) if not isinstance(rows[2][0], int) else rows[2]
    order = np.lexsort((np.asarray(moment), user))
    user, item, moment = user[order], item[order], np.asarray(moment)[order]
    _, first = np.unique((user * len(items) + item)[::-1], return_index=True)
    kept = np.sort(user.size - 1 - first)
    user, item, moment = user[kept], item[kept], moment[kept]
    hidden = np.sort(np.random.default_rng(seed).permutation(len(items))[: int(HIDDEN * len(items))])
    is_hidden = np.isin(item, hidden)
    train = Pairs.of(user[~is_hidden], item[~is_hidden], len(people), len(items))
    is_tied = np.append(False, (np.diff(user[~is_hidden]) == 0) & (np.diff(moment[~is_hidden]) == 0))
    is_tested = is_hidden & (np.diff(train.indptr)[user] >= LEAST)
    latest = np.full(len(people), -1)
    latest[user[~is_hidden]] = item[~is_hidden]
    categories = [sorted({*str(row.get("category") or "").split("|")} - {""}) for row in catalogue.values()]
    dataset = Dataset(
        "benchmark",
        "benchmark",
        list(map(str, people)),
        list(map(str, items)),
        train,
        Pairs.of(user[is_tested], item[is_tested], len(people), len(items)),
        np.bincount(train.item, minlength=len(items)),
        latest,
        categories=categories if any(categories) else [],
        history=History(item[~is_hidden].astype(np.int32), is_tied),
        fields=ItemFields.pack(catalogue.values()),
    )
    return dataset, hidden


def by_popularity(dataset: Dataset, prefix: str) -> Tensor:
    """Return for each item the mean popularity of items that share an attribute whose name has the prefix: [items]."""
    attributes = attributes_of(dataset)
    has = (attributes.rows(np.arange(dataset.items)) > 0).float()
    has = has[:, [place for place, name in enumerate(attributes.names) if name.startswith(prefix)]]
    popularity = torch.as_tensor(dataset.popularity).float()
    learned = popularity > 0
    mean = has[learned].T @ popularity[learned] / has[learned].sum(dim=0).clamp(min=1.0)
    return has @ mean / has.sum(dim=1).clamp(min=1.0)


def measure(dataset: Dataset, hidden: NDArray[np.int64], scores: Callable[[Tensor], Tensor]) -> tuple[str, str]:
    """Return recall@K and NDCG@K of the hidden items among each other, with the standard error of the latter."""
    recalls, gains = [], []
    discount = 1.0 / np.log2(np.arange(K) + 2.0)
    for users in torch.as_tensor(np.unique(dataset.test.user)).split(_USERS_AT_ONCE):
        found = scores(users)[:, torch.as_tensor(hidden)]
        best = hidden[found.topk(K, dim=1).indices.numpy()]  # [users, K]
        for user, listed in zip(users.tolist(), best, strict=True):
            wanted = dataset.test.item[dataset.test.indptr[user] : dataset.test.indptr[user + 1]]
            hits, most = np.isin(listed, wanted), min(K, wanted.size)
            recalls.append(hits.sum() / most)
            gains.append((hits * discount).sum() / discount[:most].sum())
    return f"{np.mean(recalls):.3f}", f"{np.mean(gains):.3f} ± {np.std(gains) / len(gains) ** 0.5:.3f}"


def _rows(name: str, folder: Path) -> Iterator[tuple[str, ...]]:
    dataset, hidden = hide(*SETS[name](folder))
    about = f"{hidden.size} of {dataset.items} items, {np.unique(dataset.test.user).size} people"
    generator = torch.Generator().manual_seed(1)

    def constant(scores: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda users: scores.expand(users.numel(), -1)

    yield name, "random", *measure(dataset, hidden, lambda u: torch.rand(u.numel(), dataset.items, generator=generator))
    if dataset.categories:
        yield about, "popularity by category", *measure(dataset, hidden, constant(by_popularity(dataset, "category=")))
    yield about, "popularity by attribute", *measure(dataset, hidden, constant(by_popularity(dataset, "")))
    model = ncf.fit("neumf", dataset)
    stored = model.stored if isinstance(model, WithRecent) else model
    yield "", "neumf without attributes", *measure(dataset, hidden, lambda users: stored.catalogue(users).detach())
    began = time.process_time()
    given = give_vectors(dataset, model)
    assert given is not None
    seconds = f"share {given.share:.1%}, {given.attributes} attributes, {time.process_time() - began:.1f} cpu-s"
    yield seconds, "neumf with attributes", *measure(dataset, hidden, lambda users: stored.catalogue(users).detach())


def table(folder: Path) -> Table:
    """Return the table for the data in `folder`."""
    found = Table("data", "order of new items", f"recall@{K}", f"NDCG@{K}", title="Items without interactions")
    for name in SETS:
        for row in _rows(name, folder):
            found.add_row(*row)
        found.add_section()
    return found
