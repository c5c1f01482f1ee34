"""The transform job: one at a time, adopted by a retry, replaced if it failed or its lists are too short."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from botocore.stub import Stubber

from shared.errors import CapacityUnavailable, InvalidInput, MissingResource
from shared.ledger import Token
from shared.records import JobKind
from start_batch import plan
from tests.unit.functions.cloud import (
    ARTIFACTS,
    BATCH,
    CONTEXT,
    DATA,
    JOB,
    RUN,
    TAGS,
    TOKEN,
    VERSION,
    Cloud,
    sample_event,
    success,
    transform_job,
)

NOT_FOUND = ("describe_transform_job", "ValidationException", "Could not find requested job with name", 400)


def arn(name: str = BATCH) -> dict[str, str]:
    return {"TransformJobArn": f"arn:aws:sagemaker:eu-central-1:123456789012:transform-job/{name}"}


@pytest.mark.parametrize(
    ("users", "parts"),
    [(0, 1), (1, 1), (256, 1), (257, 2), (6040, 24), (256_000, 1000), (5_000_000, 19_532), (99_999_999, 100_000)],
)
def test_a_part_holds_some_256_users(users: int, parts: int) -> None:
    assert plan.shards(users, 50) == parts


@pytest.mark.parametrize("num_results", [1, 10, 50, 70, 100])
@pytest.mark.parametrize("users", [1, 300, 100_000, 5_000_000, 13_000_000])
def test_a_part_is_bounded_in_bytes_however_many_users_there_are(users: int, num_results: int) -> None:
    lists = -(-users // plan.shards(users, num_results))
    assert lists <= plan.USERS_PER_SHARD
    assert lists * num_results * plan.ITEM_BYTES <= plan.PART_BYTES


def test_the_parts_are_divided_between_several_instances() -> None:
    call = plan.create_transform_job(BATCH, JOB, ARTIFACTS, "ml.m5.xlarge", 3, name_prefix="ncf")
    assert call["TransformResources"] == {"InstanceType": "ml.m5.xlarge", "InstanceCount": 3}
    assert call["Tags"] == TAGS
    with pytest.raises(InvalidInput, match="BatchInstanceCount must be at least 1, not 0"):
        plan.create_transform_job(BATCH, JOB, ARTIFACTS, "ml.m5.xlarge", 0, name_prefix="ncf")


def test_the_parts_are_requests_that_the_server_understands() -> None:
    from serving.invocation import Shard, from_body

    requests = [from_body(content) for content in plan.inputs(3, 50).values()]
    assert requests == [Shard(0, 3, 50), Shard(1, 3, 50), Shard(2, 3, 50)]
    assert list(plan.inputs(3, 50)) == ["0000.json", "0001.json", "0002.json"]


@pytest.fixture
def app(load: Callable[..., ModuleType], cloud: Cloud) -> ModuleType:
    cloud.put("SERVING", "CURRENT", kind="SERVING", runId=RUN, datasetVersion=VERSION)
    cloud.write(DATA, f"datasets/{VERSION}/manifest.json", {"counts": {"users": 300}})
    return load("start_batch")


def test_asks_the_model_that_serves_for_every_part_and_leaves(
    app: ModuleType, sagemaker: Stubber, cloud: Cloud
) -> None:
    sagemaker.add_client_error(*NOT_FOUND)
    sagemaker.add_response(
        "create_transform_job",
        arn(),
        plan.create_transform_job(BATCH, JOB, ARTIFACTS, "ml.m5.xlarge", name_prefix="ncf"),
    )
    sagemaker.add_response("describe_transform_job", transform_job("InProgress"))
    answer = app.handler(sample_event("start_batch"), CONTEXT)
    assert (answer["outcome"], answer["console"].endswith(f"#/transform-jobs/{BATCH}")) == ("Started", True)
    held = cloud.item(f"JOB#TRANSFORM#{BATCH}", "TOKEN")
    assert (held["taskToken"], held["runId"], held["datasetVersion"]) == (TOKEN, RUN, VERSION)
    keys = [entry["Key"] for entry in cloud.s3.list_objects_v2(Bucket=ARTIFACTS, Prefix="batch/")["Contents"]]
    assert keys == [f"batch/{BATCH}/input/0000.json", f"batch/{BATCH}/input/0001.json"]
    figures = cloud.item(f"RUN#{RUN}", "DECISION#batch")["figures"]
    assert figures == {"attempt": 1, "jobName": BATCH, "numResults": 50}


def test_nothing_serves(load: Callable[..., ModuleType], cloud: Cloud, stub: Callable[[Any], Stubber]) -> None:
    app = load("start_batch")
    answers = stub(app.JOBS.client("stepfunctions"))
    answers.add_response("send_task_success", {}, success({"outcome": "NothingServes"}))
    assert app.handler(sample_event("start_batch"), CONTEXT) == {"outcome": "NothingServes"}


def test_lists_that_stand_are_not_written_again(app: ModuleType, answers: Stubber, cloud: Cloud) -> None:
    cloud.write(ARTIFACTS, "serving/batch.json", {"runId": RUN, "numResults": 50})
    answers.add_response("send_task_success", {}, success({"outcome": "AlreadyPublished", "runId": RUN}))
    app.handler(sample_event("start_batch"), CONTEXT)


@pytest.mark.parametrize("pointer", [b"{", b"[]", {"runId": "older", "numResults": 50}])
def test_a_pointer_to_others_or_to_nothing_hinders_nobody(
    app: ModuleType, sagemaker: Stubber, cloud: Cloud, pointer: Any
) -> None:
    cloud.write(ARTIFACTS, "serving/batch.json", pointer)
    sagemaker.add_client_error(*NOT_FOUND)
    sagemaker.add_response("create_transform_job", arn())
    sagemaker.add_response("describe_transform_job", transform_job("InProgress"))
    app.handler(sample_event("start_batch"), CONTEXT)


def test_a_second_execution_leaves_the_first_ones_job_alone(
    app: ModuleType, sagemaker: Stubber, answers: Stubber, cloud: Cloud
) -> None:
    app.LEDGER.hold_token(Token(JobKind.TRANSFORM, BATCH, "theirs", "another-execution", run_id=RUN))
    sagemaker.add_response("describe_transform_job", transform_job("InProgress"))
    answer = {"outcome": "AlreadyRunning", "runId": RUN, "jobName": BATCH}
    answers.add_response("send_task_success", {}, success(answer))
    app.handler(sample_event("start_batch"), CONTEXT)
    assert cloud.item(f"JOB#TRANSFORM#{BATCH}", "TOKEN")["taskToken"] == "theirs"


def test_a_retry_answers_for_the_job_that_is_over(app: ModuleType, sagemaker: Stubber, answers: Stubber) -> None:
    sagemaker.add_response("describe_transform_job", transform_job("Completed"))
    sagemaker.add_response("describe_transform_job", transform_job("Completed"))
    answers.add_response("send_task_success", {}, success({"outcome": "Written", "runId": RUN, "jobName": BATCH}))
    app.handler(sample_event("start_batch"), CONTEXT)


FILTERED = {"InputFilter": "$.a", "OutputFilter": "$", "JoinSource": "None"}
INPUT, OUTPUT = transform_job("Completed")["TransformInput"], transform_job("Completed")["TransformOutput"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"ModelName": "other"}, f"model is other, not {JOB}"),
        ({"TransformOutput": {**OUTPUT, "S3OutputPath": "s3://other"}}, "output is s3://other, not s3://"),
        (
            {"TransformInput": {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://other/"}}}},
            "input is s3://other/, not s3://",
        ),
        ({"TransformInput": {**INPUT, "SplitType": "Line"}}, "split is Line, not None"),
        ({"BatchStrategy": "MultiRecord"}, "batch strategy is MultiRecord, not SingleRecord"),
        ({"Environment": {"A": "1"}}, "environment A is 1, which the run did not ask for"),
        ({"DataProcessing": FILTERED}, "InputFilter is $.a, not $"),
    ],
)
@pytest.mark.parametrize("status", ["Completed", "InProgress"])
@pytest.mark.fault("P19")
@pytest.mark.slow
def test_a_foreign_job_of_the_batchs_name_is_not_adopted_and_the_next_batch_takes_another_name(
    app: ModuleType, sagemaker: Stubber, cloud: Cloud, changed: dict[str, Any], words: str, status: str
) -> None:
    second = f"ncf-{RUN}-b2"
    sagemaker.add_response("describe_transform_job", transform_job(status, **changed))
    with pytest.raises(InvalidInput) as caught:
        app.handler(sample_event("start_batch"), CONTEXT)
    assert str(caught.value).startswith(f"transform job {BATCH} exists and is not the one of this run: ")
    assert words in str(caught.value)
    assert str(caught.value).endswith(f"It was left alone. Start the batch again: its job is {second}")
    assert cloud.item(f"JOB#TRANSFORM#{BATCH}", "TOKEN") == {}

    sagemaker.add_client_error(*NOT_FOUND)
    sagemaker.add_response("create_transform_job", arn(second))
    sagemaker.add_response("describe_transform_job", transform_job("InProgress", second), {"TransformJobName": second})
    assert app.handler(sample_event("start_batch"), CONTEXT)["outcome"] == "Started"


@pytest.mark.fault("P19")
def test_a_foreign_job_that_comes_between_is_not_adopted(app: ModuleType, sagemaker: Stubber, cloud: Cloud) -> None:
    sagemaker.add_client_error(*NOT_FOUND)
    sagemaker.add_client_error("create_transform_job", "ResourceInUse", "Job names must be unique", 400)
    sagemaker.add_response("describe_transform_job", transform_job("InProgress", ModelName="other"))
    with pytest.raises(InvalidInput, match="model is other"):
        app.handler(sample_event("start_batch"), CONTEXT)
    assert cloud.item(f"JOB#TRANSFORM#{BATCH}", "TOKEN") == {}


@pytest.mark.parametrize(
    ("status", "num_results"), [("Failed", 50), ("Stopped", 50), ("Completed", 20)], ids=["failed", "stopped", "short"]
)
def test_a_job_that_is_of_no_use_is_replaced_under_a_new_name(
    app: ModuleType, sagemaker: Stubber, cloud: Cloud, status: str, num_results: int
) -> None:
    second = f"ncf-{RUN}-b2"
    figures = {"attempt": 1, "numResults": num_results}
    cloud.put(f"RUN#{RUN}", "DECISION#batch", kind="DECISION", verdict="STARTED", figures=figures)
    sagemaker.add_response("describe_transform_job", transform_job(status))
    sagemaker.add_response("create_transform_job", arn(second))
    sagemaker.add_response("describe_transform_job", transform_job("InProgress", second), {"TransformJobName": second})
    app.handler(sample_event("start_batch"), CONTEXT)
    assert cloud.item(f"RUN#{RUN}", "DECISION#batch")["figures"]["attempt"] == 2


def test_no_capacity_is_told_apart_so_that_the_state_machine_waits(app: ModuleType, sagemaker: Stubber) -> None:
    sagemaker.add_client_error(*NOT_FOUND)
    sagemaker.add_client_error("create_transform_job", "ResourceLimitExceeded", "0 of ml.m5.xlarge", 400)
    with pytest.raises(CapacityUnavailable):
        app.handler(sample_event("start_batch"), CONTEXT)


def test_a_dataset_that_is_gone_is_named(app: ModuleType, sagemaker: Stubber, cloud: Cloud) -> None:
    cloud.s3.delete_object(Bucket=DATA, Key=f"datasets/{VERSION}/manifest.json")
    sagemaker.add_client_error(*NOT_FOUND)
    with pytest.raises(MissingResource, match=f"datasets/{VERSION}/manifest.json is gone"):
        app.handler(sample_event("start_batch"), CONTEXT)


def test_without_a_token_nothing_is_done(app: ModuleType) -> None:
    with pytest.raises(InvalidInput, match="taskToken must be a string"):
        app.handler({}, CONTEXT)


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (b"[]", "must be a JSON object, not a list"),
        (b'{"counts": {"users": 1, "users": 2}}', "has the key 'users' twice"),
        ({"counts": []}, "counts.users must be an integer of at least 1, not None"),
        ({"counts": {"users": "300"}}, "counts.users must be an integer of at least 1, not '300'"),
        ({"counts": {"users": 10**400}}, "counts.users must be a number within the range of a double"),
    ],
)
def test_a_manifest_that_does_not_say_how_many_users_there_are_is_named(
    app: ModuleType, sagemaker: Stubber, cloud: Cloud, manifest: Any, words: str
) -> None:
    cloud.write(DATA, f"datasets/{VERSION}/manifest.json", manifest)
    sagemaker.add_client_error(*NOT_FOUND)
    with pytest.raises(Exception, match=re.escape(words)) as caught:
        app.handler(sample_event("start_batch"), CONTEXT)
    assert type(caught.value).__name__ == "InvalidInput" and "manifest.json" in str(caught.value)
