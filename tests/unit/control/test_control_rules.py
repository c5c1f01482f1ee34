"""The shop's documents: the form and the document say the same, faults are sentences, a draft's effect is foretold."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from apply_documents.documents import KINDS as PUT_IN_FORCE
from contracts.documents import Unfit
from control import rules
from control.connection import Connection
from control.rules import EVENT_TYPES, PLACEMENTS, RULES, Form, Found, Kind, Scored, State
from recommend.list_filter import ListFilter
from shared.rules import Rules

DOCUMENT: Mapping[str, Any] = {
    "schemaVersion": "1.0",
    "deny": ["42"],
    "boosts": {"7": 1.5, "a = b": 2},
    "categoryCaps": {"Shoes": 3},
    "exploration": {"share": 0.1, "fewerThan": 5},
}
WRITTEN = datetime(2026, 1, 1, tzinfo=UTC)
CONNECTION = cast(Connection, SimpleNamespace(outputs={"ArtifactsBucketName": "artifacts"}))


def test_the_form_of_a_document_says_the_document() -> None:
    form = rules.to_form(DOCUMENT)
    assert form.boosts == "7 = 1.5\na = b = 2"
    assert rules.read_form(form) == DOCUMENT
    assert rules.read_form(Form()) == {"schemaVersion": "1.0"}


@pytest.mark.parametrize("text", ["7", "7 = many", "= 2", "7 = 1\n7 = 2"])
def test_a_line_that_cannot_be_read_is_named(text: str) -> None:
    with pytest.raises(Unfit, match="boosts: "):
        rules.read_form(Form(boosts=text))


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        (Form(boosts="7 = 0"), "boosts.7 must be a number above 0 and at most 100, not 0"),
        (Form(boosts="7 = nan"), "boosts.7 must be a number above 0 and at most 100, not nan"),
        (Form(caps="Shoes = 1.5"), "categoryCaps.Shoes must be an integer from 0 to 100, not 1.5"),
        (Form(share=0.7, fewer_than=3), "exploration.share must be a number from 0 to 0.5, not 0.7"),
        (Form(share=0.1), "exploration"),
    ],
)
def test_what_the_schema_refuses_is_said_before_it_is_sent(form: Form, sentence: str) -> None:
    document = rules.read_form(form)
    assert sentence in "; ".join(rules.faults(RULES, document))
    with pytest.raises(Unfit):
        rules.publication(CONNECTION, RULES, document, State(RULES, None, None))


def test_two_spellings_of_one_event_type_are_refused() -> None:
    twice = {"schemaVersion": "1.0", "types": {"Buy": {}, "buy": {}}}
    assert "are one type" in "; ".join(rules.faults(EVENT_TYPES, twice))


@pytest.mark.parametrize("kind", rules.KINDS.values(), ids=lambda kind: kind.name)
def test_the_keys_are_those_that_are_put_in_force(kind: Kind) -> None:
    wanted = {(one.source_key, one.in_force_key, one.notice) for one in PUT_IN_FORCE}
    assert (kind.source_key, kind.in_force_key, kind.notice) in wanted
    assert rules.faults(kind, rules.EMPTY[kind.name]) == []


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        (RULES, {**DOCUMENT, "deny": ["42", "42"], "categoryCaps": {}}),
        (EVENT_TYPES, {"schemaVersion": "1.0", "types": {"Order": {"isBought": True}}}),
        (PLACEMENTS, {"schemaVersion": "1.0", "placements": {"home": {"numResults": 3}}}),
    ],
)
def test_a_document_comes_into_force_as_the_function_writes_it(kind: Kind, document: dict[str, Any]) -> None:
    applied = next(one for one in PUT_IN_FORCE if one.source_key == kind.source_key)
    assert rules.as_in_force(kind, document) == applied.read(document, kind.source_key)


def found(document: dict[str, Any] | None, later: float = 0.0) -> Found:
    return Found("", document, "e", WRITTEN + timedelta(seconds=later))


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (State(RULES, None, None), "ABSENT"),
        (State(RULES, found(dict(DOCUMENT)), None), "WAITING"),
        (State(RULES, found(dict(DOCUMENT), 5), found(dict(DOCUMENT))), "WAITING"),
        (State(RULES, found(dict(DOCUMENT)), found({"schemaVersion": "1.0"}, 5)), "WAITING"),
        (State(RULES, found(dict(DOCUMENT)), found(dict(DOCUMENT), 5)), "APPLIED"),
        (State(RULES, found(dict(DOCUMENT)), found({"schemaVersion": "1.0"}), is_refused=True), "REFUSED"),
        (State(RULES, found({"schemaVersion": "1.0", "deny": 3}), None), "REFUSED"),
        (State(RULES, found(None), None), "REFUSED"),
    ],
)
def test_a_written_document_waits_until_it_is_in_force_or_refused(state: State, status: str) -> None:
    assert state.status == status
    assert bool(state.reasons) == (status == "REFUSED" and not state.is_refused)


def test_changes_name_each_value() -> None:
    after = {"schemaVersion": "1.0", "deny": ["42", "43"], "boosts": {"7": 2}, "categoryCaps": {"Shoes": 3, "Hats": 1}}
    assert rules.changes(DOCUMENT, after) == [
        "deny: + 43",
        "boosts.7: 1.5 → 2",
        "boosts.a = b: 2 is left out",
        "exploration.share: 0.1 is left out",
        "exploration.fewerThan: 5 is left out",
        "categoryCaps.Hats: 1 is new",
    ]
    assert rules.changes(DOCUMENT, DOCUMENT) == []


def test_items_concerned_are_those_that_rules_and_placements_name() -> None:
    assert rules.items_of(DOCUMENT)[:2] == [("42", "never recommended"), ("7", "score × 1.5")]
    placed = {"placements": {"home": {"deny": ["9"], "boosts": {"8": 3}}}}
    assert rules.items_of(placed) == [("9", "never recommended in home"), ("8", "score × 3 in home")]


def test_publication_writes_the_document_and_says_what_changes() -> None:
    action = rules.publication(CONNECTION, RULES, DOCUMENT, State(RULES, None, None))
    [call] = action.calls
    assert (call.service, call.method) == ("s3", "put_object")
    assert (call.parameters["Bucket"], call.parameters["Key"]) == ("artifacts", "rules/rules.json")
    assert rules.read_text(call.parameters["Body"].decode(), "it") == DOCUMENT
    assert "categoryCaps.Shoes: 3 is new" in action.consequences


def test_a_document_is_written_only_over_the_one_that_its_author_read() -> None:
    known = Found("{}", {}, "e1", datetime.now(UTC))
    version = rules.Version("v1", datetime.now(UTC), 2, False)
    earlier = Found(rules.to_bytes(DOCUMENT).decode(), dict(DOCUMENT), "e0", datetime.now(UTC))
    for source, condition in ((None, {"IfNoneMatch": "*"}), (known, {"IfMatch": "e1"})):
        state = State(RULES, source, None)
        for action in (
            rules.publication(CONNECTION, RULES, DOCUMENT, state),
            rules.restoration(CONNECTION, RULES, version, earlier, state),
        ):
            given = action.calls[0].parameters
            assert {name: given[name] for name in ("IfMatch", "IfNoneMatch") if name in given} == condition


LONGER = [
    Scored("a", 0.9, ("Shoes",)),
    Scored("b", 0.8, ("Shoes",)),
    Scored("c", 0.7, ("Hats",)),
    Scored("d", 0.4, ("Hats", "Shoes")),
    Scored("e", 0.3),
]


@pytest.mark.parametrize(
    "draft",
    [
        {},
        {"deny": ["a", "c"]},
        {"boosts": {"e": 4, "a": 0.1}},
        {"categoryCaps": {"Shoes": 1}},
        {"deny": ["b"], "boosts": {"d": 3}, "categoryCaps": {"Hats": 1, "Shoes": 1}},
        {"categoryCaps": {"Shoes": 0}},
    ],
)
def test_the_estimate_is_what_the_shop_does_with_the_same_items(draft: dict[str, Any]) -> None:
    shop = ListFilter(Rules.from_document({"schemaVersion": "1.0", **draft}))
    wanted = shop.best([(one.item_id, one.score) for one in LONGER], {one.item_id: one.categories for one in LONGER}, 3)
    made = rules.estimate(LONGER, {}, draft, 3)
    assert [(one.item_id, one.score) for one in made] == list(wanted)


def test_boosts_in_force_are_taken_out_before_those_of_the_draft() -> None:
    made = rules.estimate([Scored("a", 1.8), Scored("b", 1.0)], {"boosts": {"a": 2.0}}, {"boosts": {"b": 1.5}}, 2)
    assert [(one.item_id, one.score) for one in made] == [("b", 1.5), ("a", 0.9)]


def test_a_placement_adds_to_the_rules_and_goes_before_them() -> None:
    placement = {"deny": ["9"], "boosts": {"7": 3}, "categoryCaps": {"Shoes": 1}}
    joined = rules.for_placement(DOCUMENT, placement)
    assert joined["deny"] == ["42", "9"]
    assert joined["boosts"] == {"7": 3, "a = b": 2}
    assert joined["categoryCaps"] == {"Shoes": 1}
    assert joined["exploration"] == DOCUMENT["exploration"]
