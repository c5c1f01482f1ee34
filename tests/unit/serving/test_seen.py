"""`excludeSeen`: which of a person's own items the server leaves out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ncf import bundle as bundles
from ncf.bundle import Bundle
from ncf.ranking import rank
from serving.invocation import InvalidInvocation, from_document
from serving.scorer import Scorer


def offered(directory: Path) -> tuple[Bundle, Scorer]:
    """A bundle in which every second item of a person was bought."""
    bundle = bundles.load(directory)
    bundle = replace(bundle, is_bought=np.arange(bundle.seen_indices.size) % 2 == 0)
    return bundle, Scorer(bundle)


def ids(answer: Any) -> list[str]:
    return [entry["itemId"] for entry in answer["itemList"]]


@pytest.mark.parametrize("model", ["neumf", "als", "recent neumf"])
@pytest.mark.parametrize("user", ["user-0", "user-3", "user-6", "nobody"])
def test_a_list_leaves_out_what_was_asked_for_and_no_more(
    make_bundle: Callable[..., Path], model: str, user: str
) -> None:
    bundle, scorer = offered(make_bundle(model))
    index = bundle.user_index.get(user)
    seen = {f"item-{item}" for item in (bundle.seen(index) if index is not None else ())}
    bought = {f"item-{item}" for item in bundle.left_out(index, "bought")}
    assert len(bought) in ((2, 3) if seen else (0,))
    history = [{"itemId": "item-1", "isBought": True}, {"itemId": "item-2"}, {"itemId": "none", "isBought": True}]
    for more, fresh, fresh_bought in (({}, set(), set()), ({"history": history}, {"item-1", "item-2"}, {"item-1"})):
        for kind, left_out in (("none", set()), ("bought", bought | fresh_bought), ("any", seen | fresh)):
            request = {"userId": user, "numResults": 100, "excludeSeen": kind, **more}
            answer = scorer.answer(from_document(request))
            assert set(ids(answer)) == {f"item-{item}" for item in range(40)} - left_out
            assert ids(answer) == ids(rank(bundle, request))
    candidates = {"userId": user, "candidates": [f"item-{item}" for item in range(40)]}
    assert len(ids(scorer.answer(from_document(candidates)))) == 40
    answer = scorer.answer(from_document({**candidates, "excludeSeen": "bought"}))
    assert set(ids(answer)) == {f"item-{item}" for item in range(40)} - bought


def test_what_is_not_known_to_be_a_view_counts_as_bought(bundle_directory: Path) -> None:
    scorer = Scorer(bundles.load(bundle_directory))
    bought, any_kind = (
        scorer.answer(from_document({"userId": "user-0", "numResults": 100, "excludeSeen": kind}))
        for kind in ("bought", "any")
    )
    assert ids(bought) == ids(any_kind)


@pytest.mark.parametrize("value", ["yes", 0, None])
def test_refuses_an_entry_of_the_history_that_tells_no_truth_value(value: Any) -> None:
    with pytest.raises(InvalidInvocation) as caught:
        from_document({"userId": "1", "history": [{"itemId": "a"}, {"itemId": "b", "isBought": value}]})
    assert caught.value.field == "history"
    assert caught.value.message.startswith("history[1].isBought must be true or false, not ")


def test_what_was_bought_before_the_model_learned_it_is_left_out(bundle_directory: Path) -> None:
    bundle = bundles.load(bundle_directory)
    bundle.is_bought = np.zeros(bundle.seen_indices.size, np.bool_)  # the preparation did not know it for a purchase
    item = bundle.item_ids[bundle.seen(1)[0]]
    asked = {"userId": "user-1", "numResults": 40, "excludeSeen": "bought"}
    history = [{"itemId": item, "ageSeconds": 9e8, "isBought": True}]
    given = Scorer(bundle).answer(from_document(asked | {"history": history}))
    assert len(given["itemList"]) == 39 and item not in {entry["itemId"] for entry in given["itemList"]}
