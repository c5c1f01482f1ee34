"""Whatever AWS answers, a function says one of three things, and done again it ends as if nothing had happened.

Which errors there are is read from botocore's own models, not written down here. Faults are injected below botocore, so
that its parsing and its retries take part.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, ReadTimeoutError
from botocore.retries.standard import ThrottledRetryableChecker

from shared import names
from shared.clients import calling
from shared.errors import CapacityUnavailable, DependencyFailed, FunctionError, InvalidInput, MissingResource
from tests.infrastructure.test_permissions import NAMES, SERVICES, reachable_calls
from tests.unit.functions.cloud import (
    ACCOUNT,
    ARTIFACTS,
    BATCH,
    CONTEXT,
    DATA,
    DIGEST,
    ENVIRONMENT,
    EXECUTION,
    IMAGE,
    JOB,
    MODEL_URL,
    OUTPUT_URL,
    REGION,
    RUN,
    TOKEN,
    VERSION,
    Cloud,
    endpoint,
    model_package,
    sample_event,
    tags_of_training,
    training_job,
)
from tests.unit.functions.sagemaker_fake import SageMakerFake
from tests.unit.functions.wire import Fault, Wire, refused, unheard

pytestmark = pytest.mark.slow

OURS = (InvalidInput, MissingResource, DependencyFailed)
RETRYABLE = (DependencyFailed, CapacityUnavailable)
EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired")
FORBIDDEN = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")


def cause_of(code: str, status: int) -> type[Exception]:
    """The error of a function whose call fails with `code`."""
    answer: Any = {"Error": {"Code": code, "Message": "told"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    with pytest.raises(FunctionError) as caught, calling("the call"):
        raise ClientError(answer, "Operation")
    assert str(caught.value) == f"the call: {code}: told"
    return type(caught.value)


def modelled() -> Iterator[tuple[str, str, int, bool]]:
    """(operation, error, HTTP status, whether AWS says that trying again helps) of every call that a function makes."""
    session = botocore.session.get_session()
    wanted = set().union(*(reachable_calls(name) for name in NAMES))
    for service, prefix in SERVICES.items():
        model = session.get_service_model(service)
        for name in model.operation_names:
            if f"{prefix}:{name}" not in wanted:
                continue
            for shape in model.operation_model(name).error_shapes:
                error = shape.metadata.get("error", {})
                code = error.get("code", shape.name)
                yield f"{service}.{name}", code, int(error.get("httpStatusCode", 400)), "retryable" in shape.metadata


MODELLED = sorted(set(modelled()))


def test_there_are_errors_to_look_at() -> None:
    assert len({operation for operation, *_ in MODELLED}) >= 15
    assert len(MODELLED) >= 60


@pytest.mark.parametrize(("operation", "code", "status", "retryable"), MODELLED)
def test_every_modelled_error_has_one_of_our_names_and_is_tried_again_where_that_helps(
    operation: str, code: str, status: int, retryable: bool
) -> None:
    cause = cause_of(code, status)
    assert issubclass(cause, OURS)
    if retryable or status >= 500:
        assert issubclass(cause, RETRYABLE), f"{operation} {code} is to be tried again"


@pytest.mark.parametrize("code", [*sorted(ThrottledRetryableChecker._THROTTLED_ERROR_CODES), *EXPIRED])
@pytest.mark.fault("M02", "M14")
def test_throttling_and_expired_credentials_are_tried_again(code: str) -> None:
    assert issubclass(cause_of(code, 400), RETRYABLE)


@pytest.mark.parametrize("code", FORBIDDEN)
def test_what_may_not_be_done_is_not_tried_again(code: str) -> None:
    assert cause_of(code, 403) is MissingResource


@pytest.mark.parametrize("error", [ConnectTimeoutError, ReadTimeoutError])
def test_a_service_that_does_not_answer_is_tried_again(error: Any) -> None:
    with pytest.raises(DependencyFailed), calling("the call"):
        raise error(endpoint_url="https://aws")


# Each call of a function, refused or unheard


def evaluate(cloud: Cloud, aws: SageMakerFake) -> dict[str, Any]:
    from tests.unit.functions.test_evaluate import deliver
    from tests.unit.functions.test_gate import report

    cloud.listen()
    deliver(cloud, report())
    return cloud.pinned("evaluate")


def record_outcome(cloud: Cloud, aws: SageMakerFake) -> dict[str, Any]:
    cloud.listen()
    cloud.put(f"RUN#{RUN}", kind="RUN", status="RUNNING", runId=RUN, executionArn=EXECUTION)
    cloud.put("LOCK", "DEPLOYMENT", runId=RUN, fence=1, leasedUntil=99_999_999_999)
    return sample_event("record_outcome")


def awaited(cloud: Cloud, kind: str, name: str, **more: Any) -> None:
    more |= {"runId": RUN, "datasetVersion": VERSION, "executionArn": EXECUTION, "taskToken": TOKEN}
    cloud.put(f"JOB#{kind}#{name}", "TOKEN", kind="TOKEN", jobKind=kind, jobName=name, **more)


def handle_failure(cloud: Cloud, aws: SageMakerFake) -> dict[str, Any]:
    awaited(cloud, "TRAINING", JOB)
    aws.training[JOB] = training_job("InProgress")
    return {**record_outcome(cloud, aws), **sample_event("handle_failure")}


def publish_batch(cloud: Cloud, aws: SageMakerFake) -> dict[str, Any]:
    cloud.put("SERVING", "CURRENT", kind="SERVING", runId=RUN, datasetVersion=VERSION)
    cloud.write(ARTIFACTS, f"batch/{BATCH}/input/0000.json", {"shard": 0, "shards": 1, "numResults": 50})
    answer = {"schemaVersion": "1.0", "modelVersion": RUN, "shard": 0, "shards": 1, "users": {}}
    cloud.write(ARTIFACTS, f"batch/{BATCH}/lists/0000.json.out", answer)
    return sample_event("publish_batch")


def apply_documents(cloud: Cloud, aws: SageMakerFake) -> dict[str, Any]:
    cloud.listen()
    event = sample_event("apply_documents")
    event["detail"]["bucket"]["name"] = ARTIFACTS
    cloud.write(ARTIFACTS, "rules/rules.json", {"schemaVersion": "1.0", "deny": ["7"]})
    return event


def start_training(cloud: Cloud, aws: SageMakerFake) -> dict[str, Any]:
    cloud.put("SERVING", "CURRENT", kind="SERVING", runId=OTHER_RUN, modelDataUrl="s3://a/incumbent.tar.gz")
    return sample_event("start_training")


def start_training_again(cloud: Cloud, aws: SageMakerFake) -> dict[str, Any]:
    """After the run's first job found no capacity."""
    cloud.put(f"RUN#{RUN}", kind="RUN", status="PARKED", runId=RUN, executionArn=EXECUTION)
    aws.training[JOB] = training_job("Failed", FailureReason="CapacityError: none left")
    return sample_event("start_training")


def start_training_adopting(cloud: Cloud, aws: SageMakerFake) -> dict[str, Any]:
    """After an earlier try created the job."""
    cloud.put(f"RUN#{RUN}", kind="RUN", status="RUNNING", runId=RUN, executionArn=EXECUTION)
    aws.training[JOB] = training_job("InProgress")
    aws.tags[training_job()["TrainingJobArn"]] = tags_of_training()["Tags"]
    return sample_event("start_training")


def on_job_finished(cloud: Cloud, aws: SageMakerFake) -> dict[str, Any]:
    awaited(cloud, "TRAINING", JOB)
    aws.training[JOB] = training_job()
    for url in (MODEL_URL, OUTPUT_URL):
        cloud.write(ARTIFACTS, url.removeprefix(f"s3://{ARTIFACTS}/"), b"a")
    return sample_event("on_job_finished")


def register(cloud: Cloud, aws: SageMakerFake) -> dict[str, Any]:
    aws.training[JOB] = training_job()
    cloud.write(ARTIFACTS, MODEL_URL.removeprefix(f"s3://{ARTIFACTS}/"), b"a")
    return sample_event("register")


def registered(aws: SageMakerFake, status: str) -> None:
    content = {"Containers": [{"Image": IMAGE, "ModelDataUrl": MODEL_URL}]}
    known = {"runId": RUN, "modelDataETag": "0cc175b9c0f1b6a831c399e269772661", "bundleDigest": DIGEST}
    aws.packages.append(model_package(status, InferenceSpecification=content, CustomerMetadataProperties=known))


def request_approval(cloud: Cloud, aws: SageMakerFake) -> dict[str, Any]:
    cloud.listen()
    registered(aws, "PendingManualApproval")
    return sample_event("request_approval")


def deploy(cloud: Cloud, aws: SageMakerFake) -> dict[str, Any]:
    registered(aws, "Approved")
    cloud.write(ARTIFACTS, MODEL_URL.removeprefix(f"s3://{ARTIFACTS}/"), b"a")
    cloud.put(f"RUN#{RUN}", kind="RUN", status="RUNNING", runId=RUN, executionArn=EXECUTION)
    return sample_event("deploy")


def deploy_update(cloud: Cloud, aws: SageMakerFake) -> dict[str, Any]:
    """An endpoint whose alarms are in state OK."""
    for name in ENVIRONMENT["ENDPOINT_ALARM_NAMES"].split(","):
        boto3.client("cloudwatch").put_metric_alarm(
            AlarmName=name, MetricName="m", Namespace="n", Period=60, EvaluationPeriods=1, Threshold=1,
            ComparisonOperator="GreaterThanThreshold", Statistic="Sum",
        )  # fmt: skip
    aws.endpoint = endpoint("InService", f"ncf-{OTHER_RUN}")
    return deploy(cloud, aws)


def deploy_rollback(cloud: Cloud, aws: SageMakerFake) -> dict[str, Any]:
    aws.endpoint = endpoint("InService", f"ncf-{RUN}")
    figures = {"endpointConfigName": f"ncf-{RUN}", "previousEndpointConfigName": f"ncf-{OTHER_RUN}"}
    cloud.put(f"RUN#{RUN}", "DECISION#deployment", kind="DECISION", verdict="UPDATE", reasons=[], figures=figures)
    return sample_event("deploy_rollback")


def verify(cloud: Cloud, aws: SageMakerFake) -> dict[str, Any]:
    from tests.unit.functions.test_verify import KNOWN, OTHER, POPULAR, STRANGER

    examples = [KNOWN, STRANGER, OTHER]
    aws.endpoint = endpoint("InService", f"ncf-{RUN}")
    registered(aws, "Approved")
    aws.responses = {example["request"]["userId"]: example["response"] for example in examples}
    cloud.write(ARTIFACTS, f"runs/{RUN}/golden.json", examples)
    cloud.write(ARTIFACTS, f"runs/{RUN}/popular.json", POPULAR)
    return sample_event("verify")


def start_batch(cloud: Cloud, aws: SageMakerFake) -> dict[str, Any]:
    cloud.put("SERVING", "CURRENT", kind="SERVING", runId=RUN, datasetVersion=VERSION)
    cloud.write(DATA, f"datasets/{VERSION}/manifest.json", {"counts": {"users": 300}})
    return sample_event("start_batch")


def start_preparation(cloud: Cloud, aws: SageMakerFake) -> dict[str, Any]:
    return sample_event("start_preparation")


def on_data_ready(cloud: Cloud, aws: SageMakerFake) -> dict[str, Any]:
    from tests.unit.functions.test_on_data_ready_app import upload

    upload(cloud)
    return sample_event("on_data_ready")


def collect_versions(cloud: Cloud, aws: SageMakerFake) -> dict[str, Any]:
    for run in (RUN, OTHER_RUN):
        aws.models[f"ncf-{run}"] = aws.configs[f"ncf-{run}"] = {}
    cloud.put(f"CHAMPION#{RUN}", kind="CHAMPION", runId=RUN, datasetVersion=VERSION, endpointConfigName=f"ncf-{RUN}")
    aws.endpoint = endpoint("InService", f"ncf-{RUN}")
    return {}


def choose_version(cloud: Cloud, aws: SageMakerFake) -> dict[str, Any]:
    event = sample_event("choose_version")
    for run in (RUN, event["to"]):
        known = {"runId": run, "datasetVersion": run[:-3], "modelPackageArn": "arn:p", "modelDataUrl": "s3://a/m"}
        cloud.put(f"CHAMPION#{run}", kind="CHAMPION", endpointConfigName=f"ncf-{run}", **known)
    cloud.put("SERVING", "CURRENT", kind="SERVING", runId=RUN, datasetVersion=VERSION)
    return event


def write_report(cloud: Cloud, aws: SageMakerFake) -> dict[str, Any]:
    cloud.put(f"RUN#{RUN}", kind="RUN", status="DEPLOYED", runId=RUN, trainingAttempt=1)
    aws.training[JOB] = training_job()
    cloud.write(DATA, f"datasets/{VERSION}/manifest.json", {"counts": {"users": 300}})
    return sample_event("write_report")


def scale_endpoint(cloud: Cloud, aws: SageMakerFake) -> dict[str, Any]:
    aws.endpoint = endpoint("InService", f"ncf-{RUN}")
    scaling = boto3.client("application-autoscaling")
    for target in scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]:
        scaling.deregister_scalable_target(**{name: target[name] for name in names.scalable_target("")})
    return sample_event("scale_endpoint")


def reconcile(cloud: Cloud, aws: SageMakerFake) -> dict[str, Any]:
    """A job that ended without an event, and an approval request without a decision in time."""
    cloud.put("DATASET", "NEWEST_CLAIMED", datasetVersion=VERSION)
    return on_job_finished(cloud, aws)


OTHER_RUN = "v20261120t000000z-00000000-r1"
SITUATIONS: dict[str, Callable[[Cloud, SageMakerFake], dict[str, Any]]] = {
    situation.__name__: situation
    for situation in (
        evaluate, record_outcome, handle_failure, publish_batch, apply_documents, start_training, start_training_again,
        start_training_adopting, on_job_finished, register, request_approval, deploy, deploy_update, deploy_rollback,
        verify, start_batch, start_preparation, on_data_ready, collect_versions, choose_version, write_report,
        scale_endpoint, reconcile,
    )
}  # fmt: skip
# recommend and events have files of their own, and publish_code answers CloudFormation.
OTHERS = {"recommend", "events", "publish_code"}
PASSING = (
    "updatedAt",
    "endedAt",
    "lookedAt",
    "decidedAt",
    "startedAt",
    "begunAt",
    "since",
    "inForceSince",
    "erasedAt",
    "receipt",
    "writtenAt",
    "expiresAt",
    "until",
    "leasedUntil",
    "fence",
    "readAt",
)


def function_of(situation: str) -> str:
    """`start_training` of `start_training_again`."""
    return max((name for name in NAMES if situation.startswith(name)), key=len)


def of_its_own_test(function: str) -> Callable[[Cloud, SageMakerFake], dict[str, Any]]:
    """`situation(cloud, aws)` of the function's own test file, for functions without one here."""
    try:
        module = importlib.import_module(f"tests.unit.functions.test_{function}")
        found: Callable[[Cloud, SageMakerFake], dict[str, Any]] = module.situation
        return found
    except (ImportError, AttributeError) as error:
        raise LookupError(f"test_{function}.py needs a function `situation(cloud, aws)`, as those above") from error


SITUATIONS |= {
    name: of_its_own_test(name)
    for name in NAMES
    if name not in OTHERS | {function_of(situation) for situation in SITUATIONS} and reachable_calls(name)
}


def without_moments(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: "a moment" if name in PASSING else without_moments(one) for name, one in value.items()}
    return value


def left_behind(cloud: Cloud, aws: SageMakerFake) -> Any:
    """The ledger, the objects and SageMaker, without the moments at which they were written."""
    items = [without_moments(item) for item in cloud.items()]
    for item in items:
        if item["sk"].startswith("SINCE#"):
            item["sk"] = "SINCE#"
        if item["sk"].startswith("RECEIPT#"):  # what a failed call removed and could not record, its counts lack
            item["sk"] = "RECEIPT#"
            item.pop("removed"), item.pop("searched")
    objects = {}
    for bucket in (ARTIFACTS, DATA):
        for key, content in cloud.objects(bucket).items():
            if key.startswith("training/"):  # the function's input; an archive has the moment of its making
                continue
            objects[key] = without_moments(json.loads(content)) if key.endswith(DATED) else content
    from moto.applicationautoscaling.models import applicationautoscaling_backends  # with EC2, which loads for a second

    scaling = applicationautoscaling_backends[ACCOUNT][REGION]
    targets = scaling.describe_scalable_targets("sagemaker", None, None)
    fleet = [(target.min_capacity, target.max_capacity) for target in targets], len(scaling.policies)
    return sorted(items, key=lambda item: (item["pk"], item["sk"])), objects, aws.state(), fleet


@pytest.fixture
def wire(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, naps: list[float]) -> Iterator[Wire]:
    with Wire(refused, SageMakerFake()).laid(monkeypatch) as wire:
        yield wire


@pytest.mark.parametrize("fault", [refused, unheard], ids=["refused", "unheard"])
@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.fault("R02", "P15", "M14")
def test_whichever_call_fails_the_next_try_ends_as_if_nothing_had_happened(
    load: Callable[..., ModuleType], cloud: Cloud, wire: Wire, situation: str, fault: Fault
) -> None:
    prepare, aws = SITUATIONS[situation], wire.sagemaker
    assert aws is not None
    event = prepare(cloud, aws)
    app = load(function_of(situation), **VARIABLES.get(situation, {}))
    wire.fault = fault
    wire.begin(None)
    answer = app.handler(event, CONTEXT)
    clean, stopped = left_behind(cloud, aws), 0
    numbers = [number for number, place in enumerate(wire.places) if place not in wire.places[:number]]
    if situation not in ONCE_A_PLACE:
        numbers = list(range(len(wire.calls)))
    for number in [*numbers, len(wire.calls)]:
        wire.begin(None)
        cloud.empty()
        aws.empty()
        prepare(cloud, aws)
        wire.begin(number)
        try:
            app.handler(event, CONTEXT)
        except Exception as error:
            stopped += 1
            assert type(error).__name__ in ("DependencyFailed", "CapacityUnavailable"), (wire.calls[number], error)
        called = wire.calls[number][0] if number < len(wire.calls) else ""
        if fault is unheard and READS.match(called.rpartition(".")[2]):
            continue  # a read has no effect: heard or refused, the same is left behind
        wire.begin(None)
        again = app.handler(event, CONTEXT)
        assert left_behind(cloud, aws) == clean, f"after call {number}, {called}, failed"
        if situation not in MAY_ANSWER_OTHERWISE:
            assert {**again, "notified": 0} == {**answer, "notified": 0}, f"after call {number}, {called}, failed"
    assert numbers and stopped >= 1, "there were calls, and their faults were felt"


DATED = ("batch.json", "popular_now.json")
READS = re.compile("Get|List|Describe|Query|Scan|Head|Invoke")
ONCE_A_PLACE = ("erase", "count_outcomes")
"""Whose calls fail once for each place in the code: the search does the same in six places of the shop, and the count
in each window."""
VARIABLES = {"collect_versions": {"KEPT_VERSIONS": "1"}, "scale_endpoint": {"ENDPOINT_MAXIMUM_INSTANCES": "5"}}
MAY_ANSWER_OTHERWISE = (
    "on_job_finished", "reconcile", "request_approval", "deploy", "deploy_update", "deploy_rollback", "start_batch",
    "on_data_ready", "collect_versions", "forget", "erase", "close_events", "publish_popular", "count_outcomes",
)  # fmt: skip
"""Their answers tell what this try has done, and nothing reads them but the log."""
