"""The meaning of event types: what the shop says, and what is usual where it says nothing."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.documents import Unfit
from contracts.event_types import DEFAULT, EventType, EventTypes


def read(**types: Any) -> EventTypes:
    return EventTypes.from_document({"schemaVersion": "1.0", "types": types}, "types.json")


def test_a_type_is_named_without_regard_to_case() -> None:
    types = read(Wish={"outcome": "click", "isBought": True}, shown={"isHistory": False})
    assert types.of("WISH") == EventType(outcome="click", is_bought=True)
    assert types.of("never heard of") == EventType()
    assert types.apart_from_history() == ["shown"]


def test_what_is_written_is_read_again() -> None:
    for types in (DEFAULT, read(Wish={}), read()):
        assert EventTypes.from_document(types.to_document(), "it") == types


@pytest.mark.parametrize(
    ("types", "reason"),
    [
        ({"view": {"outcome": "seen"}},
         "types.view.outcome must be one of none, impression, click, purchase, not 'seen'"),
        ({"view": {"weight": 2}}, "types.view has an unknown key weight; the keys are isHistory, isBought, outcome"),
        ({"view": {}, "View": {}}, "types has 'view' and 'View', which are one type: keep one of them"),
    ],
)  # fmt: skip
def test_a_document_that_cannot_be_used_says_why(types: Any, reason: str) -> None:
    with pytest.raises(Unfit) as caught:
        read(**types)
    assert str(caught.value) == f"types.json: {reason}"
