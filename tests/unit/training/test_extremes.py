"""People who have everything, and people who have one thing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from contracts import schemas
from contracts.golden import differences
from ncf import bundle as bundles
from ncf import registry
from ncf.ranking import rank
from tests.unit.ncf.datasets import shop, write_dataset

pytestmark = pytest.mark.slow

FEW_EPOCHS = {"epochs": 1, "batch_size": 256}


def of(model: str) -> dict[str, Any]:
    known = {field.name for field in fields(registry.kinds()[model].parameters)}
    return {"model": model} | (FEW_EPOCHS if FEW_EPOCHS.keys() <= known else {})


@pytest.mark.parametrize("model", sorted(registry.kinds()))
def test_who_has_everything_gets_a_short_list_and_who_has_one_item_a_whole_one(
    job: Callable[..., Any], tmp_path: Path, model: str
) -> None:
    pairs = shop(users=40, items=30, each=8)
    items = sorted({item for _, item in pairs})
    # The indices follow the ids, so the first user is the one with everything, and the last has one item.
    pairs += [("a has all", item) for item in items] + [("z has one", items[3])]
    done = job(write_dataset(tmp_path / "dataset", pairs), **of(model)).run()
    assert done.status == 0, done.stderr
    jsonschema.validate(done.output("evaluation.json"), schemas.load("evaluation"))
    bundle = bundles.load(done.model)
    assert differences(bundle.golden, lambda request: rank(bundle, request)) == []
    assert bundle.golden[0]["response"]["itemList"]
    assert rank(bundle, {"userId": "a has all", "numResults": 10})["itemList"] == []
    assert len(rank(bundle, {"userId": "a has all", "numResults": 10, "excludeSeen": False})["itemList"]) == 10
    assert len(rank(bundle, {"userId": "z has one", "numResults": 10})["itemList"]) == 10
    assert len(rank(bundle, {"userId": "z has one", "numResults": 100})["itemList"]) == len(items) - 1
