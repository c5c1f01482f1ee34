"""Names are derived, sortable and short enough."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from shared import names
from shared.errors import InvalidInput

VERSION = "v20261123t151300z-1a2b3c4d"
TRIGGER = {
    "time": "2026-11-23T15:13:00Z",
    "bucket": "b",
    "key": "raw/today/_SUCCESS",
    "sequencer": "0067",
    "etag": "d41d",
}
ARN = "arn:aws:states:eu-central-1:123456789012:execution:ncf-preparation:one"


def test_the_same_event_names_the_same_version_whoever_handles_it() -> None:
    first = names.preparation_version(ARN, "2026-11-23T15:13:02.512Z", TRIGGER)
    again = names.preparation_version(ARN.replace("one", "two"), "2026-11-23T15:14:59Z", dict(TRIGGER))
    assert first == again
    assert re.fullmatch(r"v20261123t151300z-[0-9a-f]{8}", first)


def test_a_versions_name_tells_its_birth() -> None:
    assert names.born(VERSION) == datetime(2026, 11, 23, 15, 13, tzinfo=UTC)
    assert names.born("v20260230t000000z-00000000") is None


@pytest.mark.parametrize("change", [{"bucket": "c"}, {"key": "raw/other/_SUCCESS"}, {"sequencer": "0068"}])
def test_another_event_names_another_version(change: dict[str, str]) -> None:
    assert names.preparation_version(ARN, "", TRIGGER) != names.preparation_version(ARN, "", {**TRIGGER, **change})


def test_the_etag_stands_in_for_a_missing_sequencer() -> None:
    trigger = {name: value for name, value in TRIGGER.items() if name != "sequencer"}
    assert names.preparation_version(ARN, "", trigger) != names.preparation_version(
        ARN, "", {**trigger, "etag": "other"}
    )


def test_an_execution_by_hand_names_its_own_version_to_the_second() -> None:
    assert names.preparation_version(ARN, "2026-11-23T15:13:02.512Z", None) == names.preparation_version(
        ARN, "2026-11-23T16:13:02+01:00", None
    )


@pytest.mark.parametrize(
    ("trigger", "field"),
    [
        ("text", "trigger"),
        ({}, "trigger.time"),
        ({**TRIGGER, "key": ""}, "trigger.key"),
        ({**TRIGGER, "time": "noon"}, "time"),
        ({**TRIGGER, "time": "\u0662\u0660\u0662\u0666-11-23T15:13:00Z"}, "time"),
    ],
)
def test_refuses_a_trigger_without_what_names_it(trigger: object, field: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(field)):
        names.preparation_version(ARN, "", trigger)


def test_every_name_fits_sagemaker_with_the_longest_prefix() -> None:
    prefix, run = "a" * 20, f"{VERSION}-r99"
    for name in (names.training_job(prefix, run, 99), names.model(prefix, run), names.preparation_job(prefix, VERSION)):
        assert len(name) <= 63
        assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", name)


def test_a_later_training_attempt_has_a_name_of_its_own() -> None:
    assert names.training_job("ncf", f"{VERSION}-r1") == f"ncf-{VERSION}-r1"
    assert names.training_job("ncf", f"{VERSION}-r1", 2) == f"ncf-{VERSION}-r1-t2"


@pytest.mark.parametrize(
    "value", [None, 1, "", VERSION, f"{VERSION}-r0", f"{VERSION}-r1\n", f"x{VERSION}-r1", f"{VERSION}-r1; DROP",
              f"{VERSION}-r\u0661", f"{VERSION.replace('2026', chr(0x662) + '026')}-r1", {"runId": VERSION}, [VERSION]]
)  # fmt: skip
def test_refuses_what_is_no_run_id(value: object) -> None:
    with pytest.raises(InvalidInput, match="runId must be a run id"):
        names.require_run_id(value)


def test_knows_the_arn_of_an_execution_before_it_exists() -> None:
    machine = "arn:aws:states:eu-central-1:123456789012:stateMachine:ncf-retraining"
    assert names.execution_arn(machine, "x") == "arn:aws:states:eu-central-1:123456789012:execution:ncf-retraining:x"


@pytest.mark.parametrize("number", ["\u0661", "\u00b2", "1_0", "", "x", "9" * 5000])
def test_the_attempt_of_a_transform_job_has_ascii_digits(number: str) -> None:
    with pytest.raises(InvalidInput, match="jobName must name a transform job of a batch"):
        names.transform_attempt(f"ncf-{VERSION}-r1-b{number}")
