"""The catalogue in a training: withdrawn items, and fields of popular items."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ncf import bundle as bundles
from ncf import dataset_files
from tests.unit.ncf.datasets import rewrite_items

pytestmark = pytest.mark.slow


def test_withdrawn_items_are_learned_and_not_recommended(
    tmp_path: Path, write: Callable[..., Path], shop_pairs: list[tuple[str, str]], job: Callable[..., Any]
) -> None:
    dataset = write(tmp_path / "catalogue", shop_pairs)
    items = dataset_files.load(dataset)
    most = int(items.popularity.argmax())
    rewrite_items(
        dataset,
        {
            "price": [float(item) for item in range(items.items)],
            "is_withdrawn": [n == most for n in range(items.items)],
        },
        {"price": "number"},
    )
    done = job(dataset, model="ease").run()
    assert done.status == 0, done.stderr
    bundle = bundles.load(done.model)
    assert (bundle.withdrawn.tolist(), bundle.popularity[most]) == ([most], items.popularity[most])
    popular = done.output("popular.json")["itemList"]
    assert items.item_ids[most] not in [entry["itemId"] for entry in popular] and len(popular) == items.items - 1
    assert popular[0]["fields"] == {"price": items.item_ids.index(popular[0]["itemId"])}
    lists = [case["response"]["itemList"] for case in done.output("golden.json") if "candidates" not in case["request"]]
    assert lists and all(items.item_ids[most] not in [entry["itemId"] for entry in listed] for listed in lists)


def test_an_item_without_interactions_is_recommended_by_its_category(
    tmp_path: Path, write: Callable[..., Path], checkerboard_pairs: list[tuple[str, str]], job: Callable[..., Any]
) -> None:
    kept = [(user, item) for user, item in checkerboard_pairs if item not in ("i030", "i031")]
    categories = {item: "even" if int(item[1:]) % 2 == 0 else "odd" for _, item in checkerboard_pairs}
    dataset = write(tmp_path / "new", kept, categories=categories, new_items=["i030", "i031"])
    done = job(dataset, model="als").run()
    assert done.status == 0, done.stderr
    assert "note: 2 of 2 items without interactions have a vector from 2 attributes" in done.stdout
    bundle = bundles.load(done.model)
    assert bundle.manifest["describedItems"] == 2 and bundle.has_vector(bundle.item_index["i030"])
    even, odd = (bundle.model.catalogue(torch.tensor([user]))[0] for user in (0, 1))
    assert even[30] > even[31] and odd[31] > odd[30]
    similar = bundle.model.related(30)
    assert similar is not None and similar[0:30:2].min() > similar[1:30:2].max()


def test_an_item_of_which_nothing_is_known_has_no_vector_of_its_own(
    tmp_path: Path, write: Callable[..., Path], checkerboard_pairs: list[tuple[str, str]], job: Callable[..., Any]
) -> None:
    done = job(write(tmp_path / "new", checkerboard_pairs, new_items=["i900"]), model="als").run()
    assert done.status == 0, done.stderr
    assert "note: 0 of 1 items without interactions have a vector from 0 attributes" in done.stdout
    bundle = bundles.load(done.model)
    assert "describedItems" not in bundle.manifest and not bundle.has_vector(bundle.item_index["i900"])
