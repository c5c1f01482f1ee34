"""Vectors of items without interactions, from their attributes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from ncf.attributes import FEATURES, MOST_SHARE, Attributes, Regression, attributes_of, give_vectors
from ncf.dataset import Dataset, Pairs
from ncf.interface import Context
from ncf.item_fields import ItemFields
from ncf.models import als, ease
from ncf.models.popularity import Popularity
from ncf.network import Recommender
from ncf.recent import WithRecent
from ncf.registry import kind_named

pytestmark = pytest.mark.slow

USERS, ITEMS = 40, 40


def board(fields: Sequence[Mapping[str, Any]] = (), categories: list[list[str]] | None = None) -> Dataset:
    """Even users have even items, odd users odd ones. Nobody has the last 4 items; user 0 lacks items 0 and 2 too."""
    pairs = [
        (user, item)
        for user in range(USERS)
        for item in range(user % 2, ITEMS - 4, 2)
        if (user, item) not in ((0, 0), (0, 2)) and (user + item) % 5
    ]
    user, item = (np.array(column) for column in zip(*pairs, strict=True))
    train = Pairs.of(user, item, USERS, ITEMS)
    return Dataset(
        "v",
        "0" * 64,
        [f"u{number}" for number in range(USERS)],
        [f"i{number}" for number in range(ITEMS)],
        train,
        Pairs.none(USERS),
        np.bincount(train.item, minlength=ITEMS),
        np.full(USERS, -1),
        categories=categories or [],
        fields=ItemFields.pack(fields) if fields else ItemFields(),
    )


def colours(items: int = ITEMS) -> list[list[str]]:
    return [["even" if item % 2 == 0 else "odd"] for item in range(items)]


def fitted(dataset: Dataset, model: str = "als") -> Any:
    kind = kind_named(model)
    small = {"factors": 4, "mlp_layers": (8, 4), "epochs": 10, "fusion_factors": 4, "ease_l2": 10.0}
    declared = {one.name for one in dataclasses.fields(kind.parameters)}
    return kind.fit(dataset, kind.parameters.of(**{k: v for k, v in small.items() if k in declared}), Context())


@pytest.mark.parametrize("model", ["als", "gmf"])
def test_people_like_the_new_items_that_are_like_theirs(model: str) -> None:
    dataset = board(categories=colours())
    found = fitted(dataset, model)
    given = give_vectors(dataset, found)
    assert given and (given.items, given.described, given.attributes) == (4, 4, 2)
    assert given.is_personal
    stored = found.stored if isinstance(found, WithRecent) else found
    even, odd = stored.catalogue(torch.tensor([2, 3]))[:, -4:]
    assert even[[0, 2]].min() > even[[1, 3]].max()
    assert odd[[1, 3]].min() > odd[[0, 2]].max()


def test_new_items_have_no_more_than_their_share_of_the_first_places() -> None:
    dataset = board(categories=colours())
    given = give_vectors(dataset, fitted(dataset))
    assert given and given.share <= min(MOST_SHARE, 4 / ITEMS)


def test_the_items_with_interactions_keep_their_vectors() -> None:
    dataset = board(categories=colours())
    model = fitted(dataset)
    before = model.catalogue(torch.arange(USERS)).clone()
    give_vectors(dataset, model)
    assert torch.equal(model.catalogue(torch.arange(USERS))[:, :-4], before[:, :-4])


def test_a_new_item_is_related_to_items_of_its_kind() -> None:
    dataset = board(categories=colours())
    model = fitted(dataset)
    given = give_vectors(dataset, model)
    similar = model.related(ITEMS - 2)
    assert given and given.is_personal and similar is not None
    assert similar[0:36:2].min() > similar[1:36:2].max()


def test_items_without_attributes_are_all_the_mean_item() -> None:
    dataset = board()
    model = fitted(dataset)
    given = give_vectors(dataset, model)
    assert given and (given.described, given.attributes) == (0, 0)
    scores = model.catalogue(torch.arange(USERS))[:, -4:]
    assert torch.allclose(scores, scores[:, :1].expand(-1, 4), atol=1e-5)


def test_an_item_without_attributes_among_others_is_the_mean_item() -> None:
    some = colours()
    some[-1] = []
    dataset = board(categories=some)
    model = fitted(dataset)
    given = give_vectors(dataset, model)
    assert given and (given.items, given.described) == (4, 3)
    ((table, _),) = model.item_vectors()
    ridge = Regression(attributes_of(dataset), dataset.popularity).of(table)
    others = ridge.of(attributes_of(dataset).rows(np.arange(ITEMS)))[-4:-1].float()
    assert torch.allclose(table[-4:-1] - table[-1], others - ridge.mean.float(), atol=1e-5)


def test_an_attribute_with_one_value_tells_nothing() -> None:
    dataset = board([{"title": "Tea", "brand": "one", "price": 3, "is_new": True}] * ITEMS)
    assert attributes_of(dataset).names == []


def test_an_attribute_with_a_value_for_each_item_tells_nothing() -> None:
    dataset = board([{"url": f"https://shop/{item}", "brand": "ab"[item % 2]} for item in range(ITEMS)])
    assert attributes_of(dataset).names == ["brand=a", "brand=b"]


def test_of_very_many_values_the_most_frequent_count() -> None:
    items = 100_000
    words = ItemFields.pack({"brand": f"b{item // 2}", "kind": item % 3} for item in range(items))
    none = Pairs.of(np.zeros(1, np.int64), np.zeros(1, np.int64), 1, items)
    dataset = dataclasses.replace(
        board(), item_ids=list(map(str, range(items))), fields=words, train=none, popularity=np.ones(items, np.int64),
        history=type(board().history)(none.item.astype(np.int32), np.zeros(1, np.bool_)), repeats=Pairs.none(),
        events=np.ones(1, np.int32), worth=np.ones(1, np.float32), is_bought=np.ones(1, np.bool_),
        user_ids=["u"],
    )  # fmt: skip
    found = attributes_of(dataset)
    assert len(found.names) == FEATURES and found.names[:3] == ["kind#1", "kind#2", "kind#3"]
    assert found.indptr.size == items + 1


def test_reads_categories_words_values_and_parts_of_numbers_and_passes_over_what_is_missing() -> None:
    fields: list[dict[str, Any]] = [{} for _ in range(ITEMS)]
    fields[0] = {"title": "Red tea!", "category": "a|b", "brand": "Acme", "price": 1.5, "is_new": True}
    fields[1] = {"title": "RED cup", "brand": "Acme", "price": 90, "is_new": None}
    fields[2] = {"price": 90.0, "is_new": True}
    found = attributes_of(board(fields, categories=[["a", "b"], ["a"], *[[]] * (ITEMS - 2)]))
    assert set(found.names) == {"category=a", "title~red", "brand=Acme", "price#5", "is_new=True"}
    assert found.rows(np.array([3])).sum() == 0
    assert found.rows(np.array([0, 1])).square().sum(dim=1).tolist() == pytest.approx([1.0, 1.0])


def test_the_regression_finds_what_attributes_explain() -> None:
    generator = np.random.default_rng(1)
    has = generator.random((300, 3)) < 0.5
    attributes = Attributes(
        ["a", "b", "c"], np.append(0, np.cumsum(has.sum(axis=1))), np.concatenate([np.flatnonzero(row) for row in has])
    )
    x = attributes.rows(np.arange(300))
    truth = torch.tensor([[1.0, 0.0], [0.0, -2.0], [3.0, 1.0]], dtype=torch.float64)
    interactions = np.append(np.full(299, 1000), 0)
    ridge = Regression(attributes, interactions).of((x @ truth + 5.0).float())
    described = torch.as_tensor(has.any(axis=1))
    assert torch.allclose(ridge.of(x)[described], (x @ truth + 5.0)[described], atol=0.1)


def test_attributes_that_explain_nothing_are_shrunk_away() -> None:
    generator = torch.Generator().manual_seed(1)
    names, indptr, indices = [f"a{n}" for n in range(20)], np.arange(201), np.arange(200) % 20
    ridge = Regression(Attributes(names, indptr, indices), np.full(200, 9)).of(torch.randn(200, 3, generator=generator))
    assert ridge.coefficients.abs().max() < 0.2


def test_nothing_happens_without_new_items_or_without_vectors() -> None:
    dataset = board(categories=colours())
    popular = Popularity(torch.as_tensor(dataset.popularity).double())
    assert give_vectors(dataset, popular) is None
    whole = dataclasses.replace(dataset, popularity=np.ones(ITEMS, np.int64))
    assert give_vectors(whole, als.Als(torch.ones(USERS, 2), torch.ones(ITEMS, 2))) is None


def test_the_recent_part_stays_as_it_is() -> None:
    dataset = board(categories=colours())
    model = fitted(dataset, "gmf")
    recent = model.recent if isinstance(model, WithRecent) else None
    give_vectors(dataset, model)
    assert isinstance(model, Recommender) or model.recent is recent


def test_items_without_interactions_change_nothing_in_ease(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = board()
    train = Pairs.of(dataset.train.user, dataset.train.item, USERS, ITEMS - 4)
    alone = ease.item_item(train, ITEMS - 4, 10.0, 0.0, torch.device("cpu"))
    monkeypatch.setattr("ncf.models.ease.MAXIMUM_ITEMS", dataset.learned_items)
    found = ease.item_item(dataset.train, ITEMS, 10.0, 0.0, torch.device("cpu"))
    assert torch.allclose(found[:-4, :-4], alone, atol=1e-6) and not found[-4:].any() and not found[:, -4:].any()
