"""Ids of answers: each says by itself what gave it, to the shop that made it and to no other."""

from __future__ import annotations

import string

import pytest

from contracts.recommendation_ids import CHARACTERS, Answered

KEY = "arn:aws:cloudformation:eu-central-1:123456789012:stack/ncf/6f1b0c2e"
MADE = Answered(
    run_id="v20260101t000000z-00000000-r1",
    source="personalized",
    request="6f0c8d9e-1111-2222-3333-444455556666",
    placement="home",
    trial="t1",
    variant="Other",
)


@pytest.mark.parametrize("made", [MADE, Answered(run_id="r1", source="popular", request="q", placement="Für Sie 🎁")])
def test_an_id_is_read_as_what_gave_the_answer(made: Answered) -> None:
    text = made.to_text(KEY)
    assert Answered.read(text, KEY) == made
    assert set(text) <= {*string.ascii_letters, *string.digits, "-", "_"}


def test_the_longest_id_is_read() -> None:
    long = Answered(
        run_id="v20260101t000000z-00000000-r9999", source="personalized", request="6" * 36, placement="p" * 64,
        trial="t" * 80, variant="AllTraffic",
    )  # fmt: skip
    assert len(long.to_text(KEY)) <= CHARACTERS
    assert Answered.read(long.to_text(KEY), KEY) == long


def test_an_id_of_another_shop_is_none() -> None:
    assert Answered.read(MADE.to_text(KEY), KEY + "0") is None


@pytest.mark.parametrize("text", ["", "abc", "ä", "=" * 8, "A" * (CHARACTERS + 1), MADE.to_text(KEY) + "="])
def test_a_text_that_is_no_id_is_none(text: str) -> None:
    assert Answered.read(text, KEY) is None


def test_an_answer_has_one_id_only() -> None:
    """Base64 without padding has bits to spare: several texts have the same bytes."""
    for request in ("q", "qq", "qqq"):
        text = Answered(run_id="r1", source="popular", request=request).to_text(KEY)
        others = [text[:-1] + last for last in string.ascii_letters + string.digits + "-_" if last != text[-1]]
        assert [other for other in others if Answered.read(other, KEY)] == []
    for place in range(len(text)):
        changed = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
        assert Answered.read(changed, KEY) is None
