"""A draft policy is checked, compared with the one in force, and published with its consequences."""

import json

import pytest

from contracts.documents import Unfit
from control import policies
from control.policies import Change, InForce


def test_a_default_that_is_written_out_changes_nothing() -> None:
    assert policies.changes({}, {"better": {"confidence": 0.95}}) == []


def test_each_field_that_changes_is_named_with_both_values() -> None:
    found = policies.changes({}, {"better": {"confidence": 0.9}, "floors": {"coverage": 0.1}})
    assert found == [Change("better.confidence", 0.95, 0.9), Change("floors.coverage", None, 0.1)]
    assert [str(change) for change in found] == ["better.confidence: 0.95 → 0.9", "floors.coverage: no limit → 0.1"]


def test_publishing_puts_the_draft_and_says_how_to_go_back() -> None:
    action = policies.publish("artifacts", InForce({}, "the parameter GatePolicy"), {"minimumTestUsers": 5})
    assert action.consequences[0] == "minimumTestUsers: 20 → 5"
    assert action.consequences[-1].startswith("To go back, delete policy/gate.json")
    (call,) = action.calls
    assert (call.service, call.method) == ("s3", "put_object")
    assert (call.parameters["Bucket"], call.parameters["Key"]) == ("artifacts", "policy/gate.json")
    assert json.loads(call.parameters["Body"]) == {"minimumTestUsers": 5}
    assert call.parameters["IfNoneMatch"] == "*", "another person may have written one meanwhile"
    kept = policies.publish("artifacts", InForce({"minimumTestUsers": 5}, policies.KEY, "e1"), {})
    assert "restore the version" in kept.consequences[-1]
    assert kept.calls[0].parameters["IfMatch"] == "e1"


def test_a_wrong_draft_is_told_in_a_sentence_and_never_published() -> None:
    with pytest.raises(Unfit, match=r"floors\.coverage must be a number from 0 to 1, not 1\.5"):
        policies.publish("artifacts", InForce({}, policies.KEY), {"floors": {"coverage": 1.5}})
    with pytest.raises(Unfit, match="the draft policy is not JSON"):
        policies.draft_in({"text": "{"})
    assert policies.draft_in({"text": '{"minimumTestUsers": 5}'}) == {"minimumTestUsers": 5}
