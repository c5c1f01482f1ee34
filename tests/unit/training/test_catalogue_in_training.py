"""The catalogue in a training: withdrawn items, and fields of popular items."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
