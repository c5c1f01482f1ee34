"""Golden requests and popular items that verify reads: what is refused, and how many are allowed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.errors import GoldenRequestMismatch, InvalidInput
from verify import golden

EXAMPLE = {"request": {"userId": "u1"}, "response": {"itemList": [{"itemId": "a", "score": 0.5}]}}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"0": EXAMPLE}, "golden.json must be an array of 1 to 100 requests"),
        ([], "golden.json must be an array of 1 to 100 requests"),
        ([EXAMPLE] * 101, "golden.json must be an array of 1 to 100 requests"),
        ([{**EXAMPLE, "request": "u1"}], r"golden.json\[0\] must have a request and a response"),
        ([{**EXAMPLE, "response": []}], r"golden.json\[0\] must have a request and a response"),
    ],
)
def test_golden_requests_of_another_form_are_refused(document: Any, words: str) -> None:
    with pytest.raises(GoldenRequestMismatch, match=words):
        golden.parse(json.dumps(document).encode())


def test_a_hundred_golden_requests_are_allowed() -> None:
    assert len(golden.parse(json.dumps([EXAMPLE] * 100).encode())) == 100


def test_an_empty_list_of_popular_items_is_refused() -> None:
    with pytest.raises(InvalidInput, match="an itemList that is not empty"):
        golden.popular(b'{"schemaVersion": "1.0", "itemList": []}', "popular.json")
