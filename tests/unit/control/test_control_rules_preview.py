"""The lists before and after a draft: asked of the model, or estimated from the API's answer if it cannot be asked."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from contracts import event_types
from control import lists, people, rules_preview
from control.connection import Connection
from control.lists import Entry, Listed, NoList, Options, Person
from control.people import Recent
from control.rules import EVENT_TYPES, PLACEMENTS, RULES
from control.rules_preview import ESTIMATED, EXACT, Effect

ENTRIES = tuple(
    Entry(item, score, {"category": "Shoes", "title": item.upper()}) for item, score in (("a", 0.9), ("b", 0.5))
)
CONNECTION = cast(Connection, object())


@pytest.fixture(autouse=True)
def shop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "recent", lambda connection, person: Recent(()))
    monkeypatch.setattr(people, "types_in_force", lambda connection: event_types.DEFAULT)
    monkeypatch.setattr(
        lists, "from_shop", lambda connection, person, request: Listed("", ENTRIES[: request.number], "r1", "popular")
    )


def model(
    connection: Any, which: str, person: Person, request: Options, history: Sequence[Any], given: Mapping[str, Any]
) -> Listed:
    return Listed("", tuple(one for one in ENTRIES if one.item_id not in given.get("deny", [])), "r1", "personalized")


def test_the_model_is_asked_with_the_rules_in_force_and_with_the_draft(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "from_model", model)
    [one] = rules_preview.effects(CONNECTION, ["u"], {"deny": ["b"]}, {"deny": ["a"]}, Options(number=2))
    assert [entry.item_id for entry in one.before] == ["a"]
    assert [entry.item_id for entry in one.after] == ["b"], "what the draft denies no more comes back"
    assert (one.is_exact, one.is_changed, one.summary) == (
        True,
        True,
        "0 in the same place (=), 0 moved (↑↓), 1 new (+), 1 gone (−).",
    )
    assert rules_preview.note([one]) == EXACT


@pytest.mark.parametrize(
    "error",
    [
        NoList("it is gone"),
        ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "InvokeEndpoint"),
    ],
)
def test_without_the_model_the_effect_is_estimated_and_said_to_be(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def absent(*arguments: Any) -> Listed:
        raise error

    monkeypatch.setattr(lists, "from_model", absent)
    [one] = rules_preview.effects(
        CONNECTION, ["u"], {}, {"categoryCaps": {"Shoes": 1}, "boosts": {"b": 3}}, Options(number=1)
    )
    assert [entry.item_id for entry in one.before] == ["a"]
    assert [(entry.item_id, entry.score) for entry in one.after] == [("b", 1.5)]
    assert rules_preview.note([one]) == ESTIMATED


def test_a_person_without_a_list_is_said_and_others_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*arguments: Any) -> Listed:
        raise NoList("the API answered 503")

    monkeypatch.setattr(lists, "from_model", none)
    monkeypatch.setattr(lists, "from_shop", none)
    assert rules_preview.effects(CONNECTION, ["u"], {}, {}, Options()) == [Effect("u", problem="the API answered 503")]


def test_at_most_ten_people_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "from_model", model)
    found = rules_preview.effects(CONNECTION, [f"u{number}" for number in range(30)], {}, {}, Options())
    assert [one.person for one in found] == [f"u{number}" for number in range(10)]


def test_a_draft_of_placements_counts_with_the_rules_in_its_own_place() -> None:
    home = {"numResults": 4, "excludeSeen": "bought", "deny": ["b"]}
    in_force: dict[str, dict[str, Any]] = {"rules": {"deny": ["a"]}, "placements": {"placements": {"home": {}}}}
    draft = {"placements": {"home": home, "hot": {"list": "trending"}}}
    drafted = rules_preview.draft_rules(PLACEMENTS, draft, in_force, "home")
    assert drafted is not None
    before, after, request = drafted
    assert (before["deny"], after["deny"]) == (["a"], ["a", "b"])
    assert (request.number, request.exclude_seen) == (4, "bought")
    assert rules_preview.draft_rules(PLACEMENTS, draft, in_force, "hot") is None
    assert rules_preview.draft_rules(PLACEMENTS, draft, in_force, "none") is None
    assert rules_preview.draft_rules(EVENT_TYPES, {"types": {}}, in_force, "") is None
    given = rules_preview.draft_rules(RULES, {"deny": ["c"]}, in_force, "")
    assert given == ({"deny": ["a"]}, {"deny": ["c"]}, Options())


def test_the_table_has_a_row_for_each_place_and_no_formula() -> None:
    rows = list(
        csv.reader(rules_preview.as_csv([Effect("=1+1", ENTRIES, ENTRIES[1:], "personalized", True)]).splitlines())
    )
    assert rows[1] == ["'=1+1", "before", "1", "a", "A", "0.9", "True"]
    assert [row[1:4] for row in rows[2:]] == [["before", "2", "b"], ["after", "1", "b"]]
