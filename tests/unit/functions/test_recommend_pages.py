"""No item comes twice on the pages of a list, and a token is good for the list that it was made for."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommend.pages import Page
from shared.refusal import InvalidRequest

KEY = "arn:aws:cloudformation:us-east-1:123456789012:stack/ncf/6f"


def ranked(*ids: Any) -> tuple[tuple[str, float], ...]:
    return tuple((str(item), 1.0) for item in ids)


def pages(lists: list[list[int]], number: int) -> list[list[str]]:
    """The pages while the list is another one at each request."""
    page, found = Page("42", KEY), []
    for items in lists:
        part = page.cut(ranked(*items[: page.depth(number)]), number)
        found.append([item for item, _ in part])
        token = page.next_token(part, number)
        if token is None:
            break
        page = Page.from_token(token, "42", KEY)
    return found


def test_pages_follow_each_other_to_the_end_of_the_list() -> None:
    assert pages([list(range(5))] * 9, 2) == [["0", "1"], ["2", "3"], ["4"]]
    assert pages([list(range(4))] * 9, 2) == [["0", "1"], ["2", "3"], []]


def test_all_pages_have_at_most_a_hundred_items() -> None:
    found = pages([list(range(500))] * 20, 30)
    assert [len(page) for page in found] == [30, 30, 30, 10]
    assert [len(page) for page in pages([list(range(500))] * 20, 100)] == [100]


@given(st.lists(st.permutations(range(25)), min_size=1, max_size=9), st.integers(1, 10))
def test_no_item_comes_twice_though_the_order_moves(lists: list[list[int]], number: int) -> None:
    found = [item for page in pages(lists, number) for item in page]
    assert len(found) == len(set(found)) == min(25, number * len(lists))


def test_an_item_that_another_source_gives_again_is_left_out() -> None:
    assert pages([[1, 2, 3, 4], [9, 8, 2, 1]], 2) == [["1", "2"], ["9", "8"]]


def token_of(*ids: Any, subject: str = "42", key: str = KEY) -> str:
    made = Page(subject, key).next_token(ranked(*ids), len(ids))
    assert made is not None
    return made


def flipped(token: str, place: int) -> str:
    return token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]


@pytest.mark.parametrize(
    "token",
    [
        "", "x", "é" * 20, "%%%%", "a" * 5000, flipped(token_of(1, 2), 0), flipped(token_of(1, 2), 14),
        token_of(1, 2)[:-4], token_of(1, 2) + "AAAA", token_of(1, 2, subject="43"),
        token_of(1, 2, key="arn:another"), base64.urlsafe_b64encode(bytes(8)).decode().rstrip("="),
        "\x00" * 30, "a\nb",
    ],
)  # fmt: skip
def test_a_token_that_was_changed_or_is_of_another_list_is_refused(token: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Page.from_token(token, "42", KEY)
    assert (caught.value.field, caught.value.status) == ("page", 400)


@pytest.mark.parametrize("item", ["\ud800", "🛒", "x" * 256, "\x00", ","])
def test_an_id_with_odd_characters_is_an_id(item: str) -> None:
    page = Page.from_token(token_of(item), "42", KEY)
    assert page.cut(((item, 1.0), ("7", 0.5)), 1) == (("7", 0.5),)


def test_a_token_tells_no_id_and_fits_a_url() -> None:
    token = token_of(*(f"secret-{number}" for number in range(99)))
    assert len(token) < 900
    assert b"secret" not in base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
