"""Ages and keys of windows."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from control import health


@pytest.mark.parametrize(("seconds", "words"), [(90, "2 min"), (7200, "2 h"), (3 * 86400, "3 days")])
def test_says_an_age_in_a_fitting_unit(seconds: int, words: str) -> None:
    assert health.age(1_000_000, 1_000_000 + seconds) == words


def test_an_age_without_a_time_is_unknown() -> None:
    assert health.age(None, 1.0) == "unknown"


def test_a_day_of_windows_ends_now() -> None:
    assert health.day_before(datetime(2026, 3, 1, 10, 15, tzinfo=UTC)) == ("2026-02-28T10:15Z", "2026-03-01T10:15Z")


def test_the_newest_dataset_is_found_whatever_the_order() -> None:
    times = ["2026-01-02T00:00:00+00:00", "2026-01-03T00:00:00+00:00", "2026-01-01T00:00:00+00:00"]
    assert health.newest({"updatedAt": at} for at in times) == times[1]
    assert health.newest([]) is None


class Cloud:
    """CloudWatch, SageMaker and SQS as far as `health` asks them."""

    def client(self, service: str) -> Any:
        return self

    def get_paginator(self, name: str) -> Any:
        return self

    def paginate(self, **given: Any) -> list[dict[str, Any]]:
        return [
            {
                "Metrics": [
                    {"Dimensions": [{"Name": "service", "Value": one}, {"Name": "source", "Value": source}]}
                    for one, source in (("ncf", "popular"), ("ncf", "personalized"), ("ncf-prod", "session"))
                ]
                + [{"Dimensions": [{"Name": "service", "Value": "ncf"}]}]
            }
        ]

    def get_metric_statistics(self, **given: Any) -> dict[str, Any]:
        dimensions = {one["Name"]: one["Value"] for one in given["Dimensions"]}
        if given["MetricName"] == "RecommendationServed":
            return {"Datapoints": [{"Sum": 40.0}, {"Sum": 2.0}] if dimensions["source"] == "personalized" else []}
        assert dimensions == {"FunctionName": "ncf-recommend"}
        if given["MetricName"] == "Errors":
            return {"Datapoints": [{"Sum": 1.0}]}
        return {"Datapoints": [{"ExtendedStatistics": {"p50": 4.0, "p99": 21.5}}]}

    def describe_endpoint(self, EndpointName: str) -> dict[str, Any]:
        if EndpointName == "gone":
            raise ClientError({"Error": {"Code": "ValidationException", "Message": "Could not find endpoint"}}, "D")
        return {"EndpointStatus": "Failed", "FailureReason": "no capacity"}


def test_answers_of_the_last_hour_are_those_of_this_stack_by_source() -> None:
    assert health.answers(Cloud(), "ncf", datetime(2026, 3, 1, tzinfo=UTC)) == health.Answers(
        {"personalized": 42}, 1, 4.0, 21.5
    )


def test_the_endpoint_is_told_in_a_sentence() -> None:
    assert health.endpoint(Cloud(), "there", {}) == "The endpoint is Failed: no capacity."
    assert health.endpoint(Cloud(), "gone", {}).startswith("There is no endpoint: the API answers with")
    resting = health.endpoint(Cloud(), "gone", {"isResting": True})
    assert resting.startswith("The endpoint rests outside EndpointHours: the API answers with")


def test_what_waits_for_a_person_is_said() -> None:
    tokens = [
        {"jobKind": "APPROVAL", "jobName": "arn:aws:sagemaker:x:1:model-package/ncf-recommender/3", "runId": "v-r1"},
        {"jobKind": "TRAINING", "jobName": "ncf-v-r1"},
    ]
    assert health.waits(tokens) == [("a person, for 3, since -", "v-r1"), ("training ncf-v-r1, since -", "")]


@pytest.mark.parametrize(
    ("pk", "sk", "sentence"),
    [
        ("RUN#v1-r1", "NOTICE#failure-0", "Run v1-r1 failed"),
        ("RUN#v1-r1", "NOTICE#failure-1", "Run v1-r1 failed, for the 2. time"),
        ("RUN#v1-r1", "NOTICE#parked-0a1b2c", "Run v1-r1 waits (parked), and goes on by itself"),
        ("DATASET#v1", "NOTICE#failure-0", "Preparation v1 failed"),
        ("DATASET#v2", "NOTICE#failure-0", "The data of v2 were refused: Runs has the reasons"),
        ("EVENT_TYPES", "NOTICE#0a1b", "Event types were refused: the earlier ones stay in force"),
        ("RUN#v1-r1", "NOTICE#something_new", "Run v1-r1 something new"),
    ],
)
def test_a_notification_is_told_in_words(pk: str, sk: str, sentence: str) -> None:
    assert health.sentence_of({"pk": pk, "sk": sk}, refused=["v2"])[0] == sentence


class Alarms:
    """CloudWatch with these ringing alarms."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def client(self, service: str) -> Any:
        return self

    def get_paginator(self, name: str) -> Any:
        return self

    def paginate(self, AlarmNamePrefix: str, StateValue: str) -> list[dict[str, Any]]:
        return [{"MetricAlarms": [{"AlarmName": one} for one in self.names if one.startswith(AlarmNamePrefix)]}]


def test_an_alarm_of_another_stack_rings_for_the_other_stack_only() -> None:
    both = Alarms("ncf-api-errors", "ncf-prod-api-errors")
    assert health.ringing(both, "ncf") == ["ncf-api-errors"]
    assert health.ringing(both, "ncf-prod") == ["ncf-prod-api-errors"]


def test_every_alarm_of_the_template_is_known() -> None:
    template = (Path(__file__).resolve().parents[3] / "template.yaml").read_text("utf-8")
    assert set(re.findall(r"AlarmName: !Sub \$\{NamePrefix\}-(\S+)", template)) == set(health.ALARMS)
