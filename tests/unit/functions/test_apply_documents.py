"""Valid documents take effect, invalid ones cause a notification, in any order of events."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import schemas
from contracts.event_types import EventTypes
from shared.errors import DependencyFailed, InvalidInput
from shared.rules import Rules
from tests.unit.functions.cloud import ARTIFACTS, CONTEXT, Cloud, sample_event

SCHEMA = schemas.load("rules")
RULES = {"schemaVersion": "1.0", "deny": ["9", "9"], "boosts": {"8": 2}, "categoryCaps": {"Drama": 0}}


def changed(**fields: Any) -> dict[str, Any]:
    return {"schemaVersion": "1.0", **fields}


@pytest.fixture
def app(load: Callable[..., ModuleType], cloud: Cloud) -> ModuleType:
    cloud.listen()
    return load("apply_documents")


def write(cloud: Cloud, content: Any) -> None:
    cloud.write(ARTIFACTS, "rules/rules.json", content)


def in_force(cloud: Cloud) -> Any:
    return json.loads(cloud.s3.get_object(Bucket=ARTIFACTS, Key="serving/rules.json")["Body"].read())


def handled(app: ModuleType) -> dict[str, Any]:
    answer: dict[str, Any] = app.handler(sample_event("apply_documents"), CONTEXT)
    return answer


def test_valid_rules_come_into_force_and_twice_is_once(app: ModuleType, cloud: Cloud) -> None:
    write(cloud, RULES)
    assert handled(app) == handled(app) == {"outcome": "APPLIED"}
    assert in_force(cloud) == {
        "schemaVersion": "1.0", "deny": ["9"], "boosts": {"8": 2.0}, "categoryCaps": {"Drama": 0}
    }  # fmt: skip
    assert cloud.notifications() == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", " is not JSON: Expecting property name enclosed in double quotes at line 1 column 2"),
        (b"\xff", " is not UTF-8: byte 0 cannot be decoded"),
        (b"[" * 100_000, " is nested too deeply"),
        (b" " * (1 << 20) + b"{}", " is larger than 1048576 bytes"),
        ([], " must be a JSON object, not a list"),
        (b'{"deny": %s}' % (b"[" * 500 + b"]" * 500), " is nested too deeply"),
        (b'{"schemaVersion": "1.0", "deny": ["8"], "deny": []}', " has the key 'deny' twice"),
        (b'{"schemaVersion": "1.0", "boosts": {"8": 2, "8": 3}}', " has the key '8' twice"),
        (b'{"schemaVersion": "1.0", "boosts": {"8": 1%s}}' % (b"0" * 400),
         ": boosts.8 must be a number above 0 and at most 100, not a number beyond the range of a double"),
        (b'{"schemaVersion": "1.0", "categoryCaps": {"Drama": 1%s}}' % (b"0" * 5000),
         ": categoryCaps.Drama must be an integer from 0 to 100, not inf"),
        (b'{"schemaVersion": "1.0", "boosts": {"8": NaN}}',
         ": boosts.8 must be a number above 0 and at most 100, not nan"),
        (changed(deny=[{"itemId": "9"}]), ": deny[0] must be a string that is not empty, not {'itemId': '9'}"),
        (changed(categoryCaps=["Drama"]), ": categoryCaps must be an object of at most 100 entries, not ['Drama']"),
        ({}, ": schemaVersion is missing; it must be '1.0'"),
        (changed(denied=[]),
         " has an unknown key denied; the keys are schemaVersion, deny, boosts, categoryCaps, exploration"),
        (changed(deny="9"), ": deny must be a list of at most 1000 entries, not '9'"),
        (changed(deny=["9"] * 1001), ": deny must be a list of at most 1000 entries, not 1001 entries"),
        (changed(deny=["9", 7]), ": deny[1] must be a string that is not empty, not 7"),
        (changed(boosts={"9": -1}), ": boosts.9 must be a number above 0 and at most 100, not -1"),
        (changed(categoryCaps={"Drama": 1.5}), ": categoryCaps.Drama must be an integer from 0 to 100, not 1.5"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
@pytest.mark.slow
def test_others_are_told_about_once_and_what_was_in_force_stays(
    app: ModuleType, cloud: Cloud, content: Any, reason: str
) -> None:
    write(cloud, RULES)
    handled(app)
    before = in_force(cloud)
    write(cloud, content)
    reason = f"rules/rules.json{reason}"
    assert handled(app) == handled(app) == {"outcome": "REFUSED", "reason": reason}
    assert in_force(cloud) == before
    (message,) = cloud.notifications()
    assert message["Subject"] == "ncf: business rules refused"
    assert reason in message["Message"]


def test_a_change_while_one_is_applied_has_the_last_word(
    app: ModuleType, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(cloud, RULES)
    put, newer = app.S3.put_object, {**RULES, "deny": ["5"]}

    def slowly(**arguments: Any) -> Any:
        if b'"9"' in arguments["Body"]:  # while the first is applied, a second one is written
            write(cloud, newer)
        return put(**arguments)

    monkeypatch.setattr(app.S3, "put_object", slowly)
    assert handled(app) == {"outcome": "APPLIED"}
    assert in_force(cloud)["deny"] == ["5"]


def test_rules_that_never_stand_still_are_tried_again_later(
    app: ModuleType, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(cloud, RULES)
    put, number = app.S3.put_object, iter(range(100))

    def slowly(**arguments: Any) -> Any:
        write(cloud, {**RULES, "deny": [str(next(number))]})
        return put(**arguments)

    monkeypatch.setattr(app.S3, "put_object", slowly)
    with pytest.raises(DependencyFailed, match=r"rules/rules\.json changes faster than it can be put in force"):
        handled(app)


def test_rules_that_were_deleted_change_nothing(app: ModuleType, cloud: Cloud) -> None:
    assert handled(app) == {"outcome": "ABSENT"}


TYPES = {"schemaVersion": "1.0", "types": {"Wish": {"outcome": "click"}, "shown": {"isHistory": False}}}


def of_types() -> dict[str, Any]:
    event = sample_event("apply_documents")
    event["detail"]["object"]["key"] = "rules/event_types.json"
    return event


def test_each_document_has_a_place_of_its_own(app: ModuleType, cloud: Cloud) -> None:
    write(cloud, RULES)
    cloud.write(ARTIFACTS, "rules/event_types.json", TYPES)
    assert app.handler(of_types(), CONTEXT) == {"outcome": "APPLIED"}
    applied = EventTypes.from_json(cloud.objects(ARTIFACTS)["serving/event_types.json"])
    assert applied == EventTypes.from_document(TYPES, "it")
    assert applied.of("WISH").outcome == "click"
    assert "serving/rules.json" not in cloud.objects(ARTIFACTS)


def test_refused_event_types_are_told_about_once_and_what_was_in_force_stays(app: ModuleType, cloud: Cloud) -> None:
    cloud.write(ARTIFACTS, "rules/event_types.json", TYPES)
    app.handler(of_types(), CONTEXT)
    before = cloud.objects(ARTIFACTS)["serving/event_types.json"]
    cloud.write(ARTIFACTS, "rules/event_types.json", {"schemaVersion": "1.0", "types": {"wish": {"outcome": "no"}}})
    reason = "rules/event_types.json: types.wish.outcome must be one of none, impression, click, purchase, not 'no'"
    assert app.handler(of_types(), CONTEXT) == app.handler(of_types(), CONTEXT)
    assert app.handler(of_types(), CONTEXT) == {"outcome": "REFUSED", "reason": reason}
    assert cloud.objects(ARTIFACTS)["serving/event_types.json"] == before
    (message,) = cloud.notifications()
    assert message["Subject"] == "ncf: event types refused"
    assert reason in message["Message"]


@pytest.mark.parametrize("event", [None, {}, {"detail": {"object": {"key": "rules/other.json"}}}])
def test_an_event_of_another_object_is_refused(app: ModuleType, event: Any) -> None:
    with pytest.raises(InvalidInput):
        app.handler(event, CONTEXT)


some_json = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 200) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
documents = st.fixed_dictionaries(
    {},
    optional={
        "schemaVersion": st.sampled_from(["1.0", "1.0", "2.0"]),
        "deny": st.lists(st.text(max_size=3) | some_json, max_size=3) | some_json,
        "boosts": st.dictionaries(st.text(max_size=3), st.floats(-1, 101) | some_json, max_size=3) | some_json,
        "categoryCaps": st.dictionaries(st.text(max_size=3), st.integers(-1, 101) | some_json, max_size=3) | some_json,
        "more": some_json,
    },
)


@given(documents)
@pytest.mark.slow
def test_the_schema_and_the_code_refuse_the_same(document: dict[str, Any]) -> None:
    fits = not list(jsonschema.Draft202012Validator(SCHEMA).iter_errors(document))
    try:
        Rules.from_document(document)
    except InvalidInput:
        assert not fits
    else:
        assert fits


def test_valid_placements_come_into_force_and_others_leave_the_earlier_ones(app: ModuleType, cloud: Cloud) -> None:
    event = sample_event("apply_documents")
    event["detail"]["object"]["key"] = "rules/placements.json"
    home = {"schemaVersion": "1.0", "placements": {"home": {"numResults": 20}}}
    cloud.write(ARTIFACTS, "rules/placements.json", home)
    assert app.handler(event, CONTEXT) == {"outcome": "APPLIED"}
    assert json.loads(cloud.objects(ARTIFACTS)["serving/placements.json"]) == home
    cloud.write(ARTIFACTS, "rules/placements.json", {"schemaVersion": "1.0", "placements": {"home": {"list": "best"}}})
    reason = "rules/placements.json: placements.home.list must be one of recommendations, related, popular, trending, "
    assert app.handler(event, CONTEXT) == {"outcome": "REFUSED", "reason": f"{reason}not 'best'"}
    assert json.loads(cloud.objects(ARTIFACTS)["serving/placements.json"]) == home
    assert [notice["Subject"] for notice in cloud.notifications()] == ["ncf: placements refused"]
