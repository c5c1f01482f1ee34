"""Dropped data is prepared once, under the version derived from its event."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from botocore.stub import Stubber

from contracts import limits, schemas
from shared.errors import InvalidInput
from start_preparation import plan, request
from start_preparation.plan import Preparation
from tests.unit.functions.cloud import (
    APPLICATION,
    ARTIFACTS,
    CONTEXT,
    DATA,
    ENVIRONMENT,
    TOKEN,
    Cloud,
    job_run,
    sample_event,
    success,
)

EVENT = sample_event("start_preparation")
VERSION = plan.from_event(EVENT, DATA, "", {}).version
OTHER = EVENT["executionArn"] + "-other"


def started(call: dict[str, Any] | None = None, run: str = "00f1") -> tuple[dict[str, Any], dict[str, Any] | None]:
    arn = f"arn:aws:emr-serverless:eu-central-1:123456789012:/applications/{APPLICATION}/jobruns/{run}"
    return {"applicationId": APPLICATION, "jobRunId": run, "arn": arn}, call


def expected_call(attempt: int = 1, parent: str | None = None) -> dict[str, Any]:
    return request.start_job_run(
        Preparation(VERSION, f"s3://{DATA}/raw/2026-11-23/"),
        attempt=attempt,
        parent_version=parent,
        name_prefix="ncf",
        data_bucket=DATA,
        artifacts_bucket=ARTIFACTS,
        application_id=APPLICATION,
        execution_role_arn=ENVIRONMENT["EMR_EXECUTION_ROLE_ARN"],
        entry_point=ENVIRONMENT["PREPARATION_ENTRY_POINT"],
        py_files=ENVIRONMENT["PREPARATION_PY_FILES"],
        code_version="ab" * 32,
        log_uri=f"s3://{ARTIFACTS}/logs/emr/",
        log_group="/aws/emr-serverless/ncf-preparation",
        timeout_minutes=120,
    )


# The plan


def test_a_dropped_marker_names_the_source_and_the_version() -> None:
    preparation = plan.from_event(EVENT, DATA, "s3://default/raw/", {"minimumUserInteractions": 3})
    assert preparation.source == f"s3://{DATA}/raw/2026-11-23/"
    assert preparation.version.startswith("v20261123t151300z-")
    assert preparation.parameters == {"minimumUserInteractions": "3"}


def test_the_input_goes_before_the_templates_defaults() -> None:
    event: dict[str, Any] = {
        "executionArn": "arn",
        "startTime": "2026-11-23T15:13:00Z",
        "source": "s3://b/raw/x/",
        "items": "s3://b/items.csv",
    }
    event["parameters"] = {"minimumUserInteractions": 5, "format": "movielens-csv"}
    preparation = plan.from_event(event, DATA, "s3://default/", {"minimumUserInteractions": 2, "eventTypes": "buy"})
    assert preparation.source == "s3://b/raw/x/"
    assert preparation.items == "s3://b/items.csv"
    assert preparation.parameters == {"eventTypes": "buy", "format": "movielens-csv", "minimumUserInteractions": "5"}


def test_names_the_template_s_parameter_when_the_mistake_is_there() -> None:
    with pytest.raises(
        InvalidInput, match=r"^PreparationParameters\.minimumUsers is unknown; the parameters are format, "
    ):
        plan.from_event(sample_event("start_preparation"), DATA, "", {"minimumUsers": 2})


def test_without_a_source_the_templates_is_taken() -> None:
    event = {"executionArn": "arn", "startTime": "2026-11-23T15:13:00Z"}
    assert plan.from_event(event, DATA, "s3://b/raw/all/", {}).source == "s3://b/raw/all/"


def test_a_drop_says_its_columns_before_the_template_and_after_the_input() -> None:
    """In `_drop.json`, beside the files."""
    said = {"schemaVersion": "1.0", "userColumn": "CustomerID", "eventTypes": "buy", "minimumUserInteractions": 4}
    asked: list[str] = []

    def read(key: str) -> bytes:
        asked.append(key)
        return json.dumps(said).encode()

    event = {**EVENT, "parameters": {"minimumUserInteractions": 5}}
    preparation = plan.from_event(event, DATA, "", {"eventTypes": "view", "split": "global-time"}, read)
    assert asked == ["raw/2026-11-23/_drop.json"]
    assert preparation.parameters == {
        "eventTypes": "buy",
        "minimumUserInteractions": "5",
        "split": "global-time",
        "userColumn": "CustomerID",
    }
    plan.from_event({**EVENT, "trigger": None, "source": f"s3://{DATA}/raw/a/b/"}, DATA, "", {}, read)
    plan.from_event({**EVENT, "trigger": None, "source": "s3://elsewhere/raw/a/"}, DATA, "", {}, read)
    assert asked[1:] == ["raw/a/b/_drop.json"]


def test_the_worth_of_events_is_passed_on() -> None:
    parameters = {"eventWeights": {"buy": 5, "refund": -5}, "halfLifeDays": 30, "values": "multiply"}
    event = {"executionArn": "arn", "startTime": "2026-11-23T15:13:00Z", "parameters": parameters}
    assert plan.from_event(event, DATA, "s3://default/", {}).parameters == {
        "eventWeights": '{"buy":5,"refund":-5}',
        "halfLifeDays": "30",
        "values": "multiply",
    }
    for name, value in (("eventWeights", {"buy": "x" * 5000}), ("eventTypes", {"buy": 5})):
        with pytest.raises(InvalidInput, match=rf"^parameters\.{name} must be "):
            plan.from_event({**event, "parameters": {name: value}}, DATA, "s3://default/", {})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "raw/2026-11-23/_drop.json is not JSON"),
        (b'{"userColumn": "a", "userColumn": "b"}', "_drop.json has the key 'userColumn' twice"),
        (b'{"userColumn": "a"}', "raw/2026-11-23/_drop.json: schemaVersion is missing; it must be '1.0'"),
        (b'{"schemaVersion": "1.0", "user": "a"}', "raw/2026-11-23/_drop.json has an unknown key user; the keys are "),
        (b'{"schemaVersion": "1.0", "userColumn": 1}', "userColumn must be a string of 1 to 256 characters, not 1"),
        (
            b'{"schemaVersion": "1.0", "itemColumn": "-x"}',
            "_drop.json.itemColumn must be 1 to 256 printable",
        ),
        (b" " * (limits.DROP_BYTES + 1), "raw/2026-11-23/_drop.json is larger than 65536 bytes"),
    ],
)
def test_names_the_fault_of_a_drop_s_document(content: bytes, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        plan.from_event(EVENT, DATA, "", {}, lambda key: content)
    assert words in str(caught.value)


def test_a_drop_may_say_every_parameter() -> None:
    assert set(schemas.load("drop")["properties"]) == {"schemaVersion", "kind", *plan.PARAMETERS}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"trigger": None}, "source is missing"),
        ({"trigger": {**EVENT["trigger"], "bucket": "other"}}, f"trigger.bucket must be {DATA}, not 'other'"),
        (
            {"trigger": {**EVENT["trigger"], "key": "datasets/_SUCCESS"}},
            "trigger.key must look like raw/<drop>/_SUCCESS",
        ),
        ({"trigger": {**EVENT["trigger"], "key": "raw/_SUCCESS"}}, "trigger.key must look like raw/<drop>/_SUCCESS"),
        ({"source": "/etc/passwd"}, "source must be an s3:// URI"),
        ({"source": "s3://b/raw\n--conf"}, "source must be an s3:// URI"),
        ({"items": 7}, "items must be an s3:// URI"),
        ({"parameters": ["a"]}, "parameters must be an object, not list"),
        ({"parameters": {"output": "s3://b/"}}, "parameters.output is unknown; the parameters are format"),
        ({"parameters": {"format": True}}, "parameters.format must be a string or a number, not True"),
        ({"parameters": {"format": "--output"}}, "parameters.format must be 1 to 256 printable characters"),
        ({"parameters": {"format": ""}}, "parameters.format must be 1 to 256 printable characters"),
        ({"startTime": "yesterday", "trigger": None, "source": "s3://b/x/"}, "must be ISO 8601"),
        ({"executionArn": None}, "executionArn must be a non-empty string"),
    ],
)
def test_names_the_field_that_cannot_be_used(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        plan.from_event({**EVENT, **change}, DATA, "", {})
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("state", "attempt"),
    [
        (None, 1),
        ({"status": "PREPARING", "executionArn": "mine", "attempt": 2}, 2),
        ({"status": "PREPARING", "executionArn": "other", "attempt": 1}, None),
        ({"status": "FAILED", "executionArn": "mine", "attempt": 1}, 2),
        ({"status": "REFUSED", "executionArn": "other", "attempt": 4}, 5),
        ({"status": "ABORTED", "executionArn": "mine", "attempt": 1}, 2),
        ({"status": "PREPARED", "executionArn": "mine", "attempt": 1}, None),
        ({"status": "CLAIMED"}, None),
        ({"status": "STALE"}, None),
        ({"status": "QUARANTINED"}, None),
    ],
)
def test_a_version_is_prepared_again_only_after_a_failure(state: Any, attempt: int | None) -> None:
    assert plan.attempt_of(state, "mine") == attempt


def test_the_call_has_a_client_token_of_the_attempt_and_every_argument() -> None:
    preparation = Preparation(
        VERSION, "s3://b/raw/x/", "s3://b/items.csv", {"minimumUserInteractions": "5", "eventTypes": "buy,view"}
    )
    call = request.start_job_run(
        preparation,
        attempt=2,
        parent_version="v20261122t000000z-00000000",
        name_prefix="ncf",
        data_bucket=DATA,
        artifacts_bucket=ARTIFACTS,
        application_id=APPLICATION,
        execution_role_arn="arn:role",
        entry_point="s3://a/preprocess.py",
        py_files="s3://a/preparation.zip",
        code_version="ab",
        log_uri="s3://a/logs/emr/",
        log_group="/aws/emr-serverless/ncf-preparation",
        timeout_minutes=60,
    )
    assert call == {
        "applicationId": APPLICATION,
        "clientToken": f"{VERSION}-2",
        "name": f"ncf-{VERSION}",
        "executionRoleArn": "arn:role",
        "executionTimeoutMinutes": 60,
        "jobDriver": {
            "sparkSubmit": {
                "entryPoint": "s3://a/preprocess.py",
                "entryPointArguments": [
                    *("--source", "s3://b/raw/x/"),
                    *("--output", f"s3://{DATA}/datasets"),
                    *("--quarantine", f"s3://{DATA}/quarantine"),
                    *("--dataset-version", VERSION),
                    *("--code-version", "ab"),
                    *("--forgotten", f"s3://{ARTIFACTS}/serving/forgotten.json"),
                    *("--parent-version", "v20261122t000000z-00000000"),
                    *("--items", "s3://b/items.csv"),
                    *("--minimum-user-interactions", "5"),
                    *("--event-types", "buy,view"),
                ],
                "sparkSubmitParameters": "--py-files s3://a/preparation.zip",
            }
        },
        "tags": {"application": "ncf-recommender", "stack": "ncf"},
        "configurationOverrides": {
            "monitoringConfiguration": {
                "s3MonitoringConfiguration": {"logUri": "s3://a/logs/emr/"},
                "cloudWatchLoggingConfiguration": {
                    "enabled": True,
                    "logGroupName": "/aws/emr-serverless/ncf-preparation",
                    "logStreamNamePrefix": f"{VERSION}-2",
                    "logTypes": {"SPARK_DRIVER": ["STDOUT"]},
                },
            }
        },
    }


# The handler


@pytest.fixture
def app(load: Callable[..., ModuleType]) -> ModuleType:
    return load("start_preparation")


@pytest.mark.fault("P19")
def test_a_job_run_that_has_the_client_token_and_other_parameters_is_not_adopted(
    app: ModuleType, emr: Stubber, cloud: Cloud
) -> None:
    words = "The client token was used before with other parameters"
    emr.add_client_error("start_job_run", "ConflictException", words, 409)
    with pytest.raises(Exception, match=f"StartJobRun: ConflictException: {words}"):
        app.handler(EVENT, CONTEXT)
    assert cloud.item(f"JOB#PREPARATION#ncf-{VERSION}", "TOKEN").get("jobId") is None


@pytest.mark.fault("M18")
@pytest.mark.parametrize(
    "changed",
    [
        {"trigger": {**EVENT["trigger"], "time": "2099-12-31T23:59:59Z"}},
        {"trigger": None, "source": "s3://b/raw/x/", "startTime": "2099-12-31T23:59:59Z"},
    ],
)
def test_a_time_ahead_of_now_prepares_nothing(app: ModuleType, cloud: Cloud, changed: dict[str, Any]) -> None:
    with pytest.raises(Exception, match="days ahead of the time, 2026-11-26 00:00 UTC") as caught:
        app.handler({**EVENT, **changed}, CONTEXT)
    assert type(caught.value).__name__ == "InvalidInput"
    assert cloud.table.scan()["Items"] == []


@pytest.mark.fault("M18")
def test_a_forged_newest_version_is_no_parent(app: ModuleType, emr: Stubber, answers: Stubber, cloud: Cloud) -> None:
    cloud.put("DATASET", "NEWEST_CLAIMED", datasetVersion="v20991231t235959z-0000dead")
    emr.add_response("start_job_run", *started(expected_call()))
    emr.add_response("get_job_run", job_run("SUBMITTED"))
    app.handler(EVENT, CONTEXT)


def test_starts_the_job_of_its_sample_event_and_leaves(
    app: ModuleType, emr: Stubber, answers: Stubber, cloud: Cloud
) -> None:
    emr.add_response("start_job_run", *started(expected_call()))
    emr.add_response("get_job_run", job_run("SUBMITTED"), {"applicationId": APPLICATION, "jobRunId": "00f1"})
    answer = app.handler(EVENT, CONTEXT)
    assert (answer["datasetVersion"], answer["started"], answer["jobRunId"]) == (VERSION, True, "00f1")
    assert answer["logs"].endswith(f"/applications/{APPLICATION}/jobs/00f1/")
    state = cloud.item(f"DATASET#{VERSION}")
    assert (state["status"], state["attempt"], state["executionArn"]) == ("PREPARING", 1, EVENT["executionArn"])
    token = cloud.item(f"JOB#PREPARATION#ncf-{VERSION}", "TOKEN")
    assert (token["taskToken"], token["jobId"], token["datasetVersion"]) == (TOKEN, "00f1", VERSION)


def test_the_job_gets_the_parameters_of_the_drop(app: ModuleType, emr: Stubber, answers: Stubber, cloud: Cloud) -> None:
    cloud.write(DATA, "raw/2026-11-23/_drop.json", {"schemaVersion": "1.0", "userColumn": "Customer ID"})
    call = expected_call()
    call["jobDriver"]["sparkSubmit"]["entryPointArguments"] += ["--user-column", "Customer ID"]
    emr.add_response("start_job_run", *started(call))
    emr.add_response("get_job_run", job_run("SUBMITTED"))
    app.handler(EVENT, CONTEXT)


def test_the_token_is_written_before_the_job_exists(app: ModuleType, emr: Stubber, cloud: Cloud) -> None:
    emr.add_client_error("start_job_run", "InternalServerException", "down", 500)
    with pytest.raises(Exception, match="StartJobRun") as caught:
        app.handler(EVENT, CONTEXT)
    assert type(caught.value).__name__ == "DependencyFailed"
    assert cloud.item(f"JOB#PREPARATION#ncf-{VERSION}", "TOKEN")["taskToken"] == TOKEN


def test_a_retry_asks_for_the_very_same_job(app: ModuleType, emr: Stubber, answers: Stubber, cloud: Cloud) -> None:
    emr.add_client_error("start_job_run", "InternalServerException", "the answer was lost", 500)
    with pytest.raises(Exception, match="StartJobRun"):
        app.handler(EVENT, CONTEXT)
    # A version that was claimed in between would be another parent: the retry keeps the first choice.
    cloud.put("DATASET", "NEWEST_CLAIMED", datasetVersion="v20261122t000000z-00000000")
    emr.add_response("start_job_run", *started(expected_call()))
    emr.add_response("get_job_run", job_run("RUNNING"))
    app.handler(EVENT, CONTEXT)


def test_a_job_that_is_over_already_is_answered_at_once(
    app: ModuleType, emr: Stubber, answers: Stubber, cloud: Cloud
) -> None:
    emr.add_response("start_job_run", *started())
    emr.add_response("get_job_run", job_run("SUCCESS"))
    output = {"datasetVersion": VERSION, "jobRunId": "00f1", "alreadyPrepared": False}
    answers.add_response("send_task_success", {}, success(output))
    app.handler(EVENT, CONTEXT)
    assert cloud.item(f"JOB#PREPARATION#ncf-{VERSION}", "TOKEN") == {}


@pytest.mark.parametrize("status", ["PREPARING", "PREPARED", "CLAIMED"])
def test_a_second_execution_for_the_same_drop_starts_nothing(
    app: ModuleType, emr: Stubber, answers: Stubber, cloud: Cloud, status: str
) -> None:
    cloud.put(f"DATASET#{VERSION}", kind="DATASET", status=status, executionArn=OTHER, attempt=1)
    cloud.put(f"JOB#PREPARATION#ncf-{VERSION}", "TOKEN", taskToken="theirs", jobKind="PREPARATION")
    output = {"datasetVersion": VERSION, "alreadyPrepared": True, "status": status}
    answers.add_response("send_task_success", {}, success(output))
    assert app.handler(EVENT, CONTEXT)["started"] is False
    assert cloud.item(f"JOB#PREPARATION#ncf-{VERSION}", "TOKEN")["taskToken"] == "theirs"


def test_a_redriven_preparation_is_a_new_job_of_the_same_version(
    app: ModuleType, emr: Stubber, answers: Stubber, cloud: Cloud
) -> None:
    cloud.put(f"DATASET#{VERSION}", kind="DATASET", status="FAILED", executionArn=EVENT["executionArn"], attempt=1)
    emr.add_response("start_job_run", *started(expected_call(attempt=2), run="00f2"))
    emr.add_response("get_job_run", job_run("RUNNING", "00f2"))
    assert app.handler(EVENT, CONTEXT)["started"] is True
    assert cloud.item(f"DATASET#{VERSION}")["status"] == "PREPARING"


def test_the_newest_claimed_version_is_the_parent(
    app: ModuleType, emr: Stubber, answers: Stubber, cloud: Cloud
) -> None:
    parent = "v20261122t000000z-00000000"
    cloud.put("DATASET", "NEWEST_CLAIMED", datasetVersion=parent)
    emr.add_response("start_job_run", *started(expected_call(parent=parent)))
    emr.add_response("get_job_run", job_run("RUNNING"))
    app.handler(EVENT, CONTEXT)


def test_a_newer_version_is_no_parent(app: ModuleType, emr: Stubber, answers: Stubber, cloud: Cloud) -> None:
    cloud.put("DATASET", "NEWEST_CLAIMED", datasetVersion="v20261224t000000z-00000000")
    emr.add_response("start_job_run", *started(expected_call()))
    emr.add_response("get_job_run", job_run("RUNNING"))
    app.handler(EVENT, CONTEXT)


def test_a_full_account_is_waited_for(app: ModuleType, emr: Stubber) -> None:
    emr.add_client_error("start_job_run", "ServiceQuotaExceededException", "too many vCPU", 402)
    with pytest.raises(Exception, match="too many vCPU") as caught:
        app.handler(EVENT, CONTEXT)
    assert type(caught.value).__name__ == "CapacityUnavailable"
