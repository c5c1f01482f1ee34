"""A history in a request: the compiled loop adds what the model adds, and unreadable histories are refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ncf.recent import Recent
from serving.invocation import InvalidInvocation, from_body, from_document
from serving.recency import Recency
from tests.unit.serving.conftest import ITEMS

LAST = 6


def random_part(seed: int, items: int) -> Recent:
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(0, 8, (items,), generator=generator)
    stored = [torch.randperm(items, generator=generator)[:count] for count in (0, 4, 9)]
    return Recent(
        gain=2.5,
        repeat_gain=1.25,
        neighbour_indptr=torch.cat([torch.zeros(1, dtype=torch.int64), sizes.cumsum(0)]),
        neighbours=torch.randint(items, (int(sizes.sum()),), generator=generator).int(),
        weights=(2 * torch.rand(int(sizes.sum()), generator=generator) - 1).clamp(min=0.0),
        fading=torch.rand(LAST, generator=generator),
        repeats=torch.rand(LAST, generator=generator),
        again=torch.rand(items, generator=generator) * 3,
        prior=torch.randn(items, generator=generator),
        indptr=torch.tensor([0, 0, 4, 13]),
        indices=torch.cat(stored).int(),
        later=torch.randint(0, 9, (13,), generator=generator).to(torch.uint8),
        often=torch.randint(1, 5, (13,), generator=generator).float(),
    )


@given(
    seed=st.integers(0, 50),
    items=st.sampled_from([ITEMS, 50 * ITEMS]),  # with many, few are neighbours of the last items
    user=st.sampled_from([None, 0, 1, 2]),
    history=st.lists(st.integers(0, ITEMS - 1), max_size=12),
    data=st.data(),
)
def test_the_compiled_loop_adds_what_the_model_adds(seed: int, items: int, user: Any, history: Any, data: Any) -> None:
    part = random_part(seed, items)
    size = len(history)
    ages = data.draw(st.none() | st.lists(st.integers(0, 3), min_size=size, max_size=size))
    expected = part.added(part.last(user, history, ages)).numpy()
    np.testing.assert_allclose(Recency(part).of(user, history, ages), expected, rtol=1e-5, atol=1e-6)


def test_a_history_is_read_in_its_order() -> None:
    request = from_document({"userId": "u", "history": [{"itemId": "a"}, {"itemId": "b"}]})
    assert (request.history, request.ages) == (("a", "b"), None)  # type: ignore[union-attr]  # it is an Invocation
    body = b'{"userId": "u", "history": [{"itemId": "a:1", "ageSeconds": 3.5}, {"itemId": "b", "ageSeconds": 0}]}'
    request = from_body(body)
    assert (request.history, request.ages) == (("a:1", "b"), (3.5, 0.0))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("history", "words"),
    [
        ("a", "history must be a list of objects, not a string"),
        (["a"], "history[0] must be an object with itemId and at most ageSeconds and isBought"),
        (
            [{"itemId": "a"}, {"item": "b"}],
            "history[1] must be an object with itemId and at most ageSeconds and isBought",
        ),
        (
            [{"itemId": "a", "eventType": "buy"}],
            "history[0] must be an object with itemId and at most ageSeconds and isBought",
        ),
        ([{"itemId": 7}], "history[0].itemId must be a string, not a number"),
        ([{"itemId": ""}], "history: an itemId must have 1 to 256 characters"),
        ([{"itemId": "a", "ageSeconds": -1}], "history[0].ageSeconds must be a number of at least 0"),
        ([{"itemId": "a", "ageSeconds": "1"}], "history[0].ageSeconds must be a number of at least 0"),
        ([{"itemId": "a", "ageSeconds": True}], "history[0].ageSeconds must be a number of at least 0"),
        ([{"itemId": "a", "ageSeconds": 10**400}], "history[0].ageSeconds must be a number of at least 0"),
        ([{"itemId": "a", "ageSeconds": 1}, {"itemId": "b"}], "ageSeconds must be in all entries or in none"),
        ([{"itemId": "a"}] * 101, "history must hold at most 100 items, not 101: send the newest"),
    ],
)
def test_a_history_that_cannot_be_read_is_refused_by_name(history: Any, words: str) -> None:
    with pytest.raises(InvalidInvocation) as refused:
        from_document({"userId": "u", "history": history})
    assert words in refused.value.message and refused.value.field == "history"


def test_a_name_that_an_entry_has_twice_is_refused() -> None:
    with pytest.raises(InvalidInvocation, match="twice"):
        from_body(b'{"userId": "u", "history": [{"itemId": "a", "itemId": "b"}]}')
