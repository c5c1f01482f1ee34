"""Endpoints and the runtime of the emulated SageMaker against what AWS does."""

from __future__ import annotations

import io
import os
import signal
import tarfile
import threading
from typing import Any

import pytest
from botocore.exceptions import ClientError

from laptop_aws.tests.conformance.hosting import ACCOUNT, REGION, Host, eventually, unique
from laptop_aws.tests.conformance.sagemaker_fixtures import (
    EventTap,
    ask,
    bucket,
    build_image,
    config_of,
    is_alive,
    put_model,
    refusal,
    settled,
)

NOT_HEALTHY = (
    "The primary container for production variant AllTraffic did not pass the ping health check. "
    "Please check CloudWatch logs for this endpoint."
)


def endpoint_arn(name: str) -> str:
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/{name}"


def served(host: Host, config: str, **settings: Any) -> str:
    """An endpoint that answers from the configuration; its name."""
    name = unique("endpoint")
    host.client("sagemaker").create_endpoint(EndpointName=name, EndpointConfigName=config, **settings)
    assert settled(host, name)["EndpointStatus"] == "InService"
    return name


@pytest.fixture(scope="module")
def config(host: Host, image: str, place: str) -> str:
    return config_of(host, image, put_model(host, place, "one"), InitialInstanceCount=2)


@pytest.fixture(scope="module")
def endpoint(host: Host, config: str) -> str:
    return served(host, config)


# ---- in service --------------------------------------------------------------------------------------------------


def test_an_endpoint_comes_into_service_and_is_described(host: Host, endpoint: str, config: str, image: str) -> None:
    found = host.client("sagemaker").describe_endpoint(EndpointName=endpoint)
    assert found["EndpointArn"] == endpoint_arn(endpoint)
    assert found["EndpointConfigName"] == config
    assert "FailureReason" not in found
    variant = found["ProductionVariants"][0]
    assert variant["VariantName"] == "AllTraffic"
    assert variant["DeployedImages"][0]["SpecifiedImage"] == image
    # One process per variant on a laptop, whatever the desired count (a stated difference).
    assert (variant["DesiredInstanceCount"], variant["CurrentInstanceCount"]) == (2, 1)
    listed = host.client("sagemaker").list_endpoints(NameContains=endpoint, StatusEquals="InService")["Endpoints"]
    assert [entry["EndpointName"] for entry in listed] == [endpoint]


def test_the_container_answers_with_its_own_type_and_variant(host: Host, endpoint: str) -> None:
    answer = host.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=endpoint, ContentType="application/json", Accept="text/csv", Body=b"{}"
    )
    assert answer["Body"].read() == b"a,b"
    assert answer["ContentType"] == "text/csv"
    assert answer["InvokedProductionVariant"] == "AllTraffic"


def test_the_container_has_its_model_and_no_way_to_aws(host: Host, endpoint: str) -> None:
    answer = ask(host, endpoint)
    assert (answer["version"], answer["names"]) == ("one", ["nested"])
    assert not {"AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} & answer["environment"].keys()
    assert answer["environment"]["SERVING_HOST"] == "127.0.0.1"


@pytest.mark.parametrize(("action", "status", "side"), [("refuse", 400, "client"), ("break", 500, "server")])
def test_an_error_of_the_model_is_a_model_error(host: Host, endpoint: str, action: str, status: int, side: str) -> None:
    with pytest.raises(ClientError) as caught:
        ask(host, endpoint, {"do": action})
    response = caught.value.response
    assert response["Error"]["Code"] == "ModelError"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["OriginalStatusCode"] == status
    assert response["OriginalMessage"] in ('{"error": {"code": "InvalidInput"}}', "Traceback")
    assert response["Error"]["Message"].startswith(f'Received {side} error ({status}) from primary with message "')
    assert response["LogStreamArn"].endswith(f":log-group:/aws/sagemaker/Endpoints/{endpoint}")


def test_an_absent_endpoint_is_a_validation_error_of_the_runtime(host: Host) -> None:
    with pytest.raises(ClientError) as caught:
        ask(host, "absent")
    assert caught.value.response["Error"] == {
        "Code": "ValidationError",
        "Message": f"Endpoint absent of account {ACCOUNT} not found.",
    }


def test_an_absent_variant_is_a_validation_error(host: Host, endpoint: str) -> None:
    code, message = refusal(ask, host, endpoint, TargetVariant="Other")
    assert (code, "Variant Other" in message) == ("ValidationError", True)
    assert ask(host, endpoint, TargetVariant="AllTraffic")["version"] == "one"


def test_six_mebibytes_pass_and_one_byte_more_does_not(host: Host, endpoint: str) -> None:
    runtime = host.client("sagemaker-runtime")
    whole = 6 * 1024 * 1024
    answer = runtime.invoke_endpoint(EndpointName=endpoint, ContentType="application/x", Body=b"x" * whole)
    assert f'"length": {whole}'.encode() in answer["Body"].read()
    with pytest.raises(ClientError) as caught:
        runtime.invoke_endpoint(EndpointName=endpoint, ContentType="application/x", Body=b"x" * (whole + 1))
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413


def test_output_is_in_cloudwatch_logs_and_in_a_file(host: Host, endpoint: str) -> None:
    pid = ask(host, endpoint)["pid"]
    assert f"serving {pid}" in host.log_lines(f"/aws/sagemaker/Endpoints/{endpoint}")
    assert f"serving {pid}" in (host.root / "logs" / "endpoints" / f"{endpoint}.log").read_text()


def test_invocations_are_metrics_that_alarms_can_watch(host: Host, endpoint: str) -> None:
    refusal(ask, host, endpoint, {"do": "break"})
    dimensions = [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": "AllTraffic"}]

    def known() -> bool:
        found = host.client("cloudwatch").list_metrics(Namespace="AWS/SageMaker", Dimensions=dimensions)["Metrics"]
        return {"Invocations", "Invocation5XXErrors", "ModelLatency"} <= {metric["MetricName"] for metric in found}

    eventually(known)


def test_a_container_that_dies_is_replaced(host: Host, endpoint: str) -> None:
    before = ask(host, endpoint)["pid"]
    assert refusal(ask, host, endpoint, {"do": "die"})[0] == "ModelError"

    def answered() -> Any:
        try:
            return ask(host, endpoint)["pid"]
        except ClientError as error:
            assert error.response["Error"]["Code"] in ("ServiceUnavailable", "ModelError")
            return None

    assert eventually(answered) != before
    assert host.client("sagemaker").describe_endpoint(EndpointName=endpoint)["EndpointStatus"] == "InService"


# ---- creation that fails -----------------------------------------------------------------------------------------


def test_a_container_that_cannot_start_fails_the_creation(host: Host, image: str, place: str) -> None:
    tap = EventTap(host, "aws.sagemaker", "SageMaker Endpoint State Change")
    name = unique("endpoint")
    broken = config_of(host, image, put_model(host, place, "broken"), "exit")
    host.client("sagemaker").create_endpoint(EndpointName=name, EndpointConfigName=broken)
    found = settled(host, name)
    assert (found["EndpointStatus"], found["FailureReason"]) == ("Failed", NOT_HEALTHY)
    assert "BrokenBundle: weights.safetensors has another sha256" in host.log_lines(f"/aws/sagemaker/Endpoints/{name}")
    events = tap.until(lambda event: event["detail"]["EndpointStatus"] == "FAILED")
    own = [event["detail"] for event in events if event["detail"]["EndpointName"] == name]
    assert [detail["EndpointStatus"] for detail in own] == ["CREATING", "FAILED"]
    assert own[-1]["FailureReason"] == NOT_HEALTHY
    assert refusal(ask, host, name)[0] == "ValidationError"
    code, _ = refusal(host.client("sagemaker").update_endpoint, EndpointName=name, EndpointConfigName=broken)
    assert code == "ValidationException"
    host.client("sagemaker").delete_endpoint(EndpointName=name)
    eventually(lambda: not host.client("sagemaker").list_endpoints(NameContains=name)["Endpoints"])


@pytest.mark.parametrize("kind", ["escape", "link", "text"])
def test_an_archive_that_cannot_be_trusted_is_not_unpacked(host: Host, image: str, place: str, kind: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        entry = tarfile.TarInfo("../../escaped.txt" if kind == "escape" else "link")
        if kind == "link":
            entry.type, entry.linkname = tarfile.SYMTYPE, "beside.txt"
        tar.addfile(entry, io.BytesIO())
    content = b"no archive" if kind == "text" else buffer.getvalue()
    host.client("s3").put_object(Bucket=place, Key=f"{kind}.tar.gz", Body=content)
    name = unique("endpoint")
    uri = f"s3://{place}/{kind}.tar.gz"
    host.client("sagemaker").create_endpoint(EndpointName=name, EndpointConfigName=config_of(host, image, uri))
    found = settled(host, name)
    assert found["EndpointStatus"] == "Failed"
    assert found["FailureReason"].startswith(
        f'Failed to extract model data archive for container "container_1" from URL "{uri}".'
    )
    assert not list(host.root.rglob("escaped.txt"))


def test_a_container_that_never_answers_ping_is_given_up_in_time(another_host: Any) -> None:
    host = another_host(LAPTOP_AWS_HEALTH_CHECK_SECONDS="1.5").start()
    image, place = build_image(host), bucket(host)
    name = unique("endpoint")
    unhealthy = config_of(host, image, put_model(host, place, "one"), "unhealthy")
    host.client("sagemaker").create_endpoint(EndpointName=name, EndpointConfigName=unhealthy)
    assert settled(host, name)["FailureReason"] == NOT_HEALTHY


# ---- update ------------------------------------------------------------------------------------------------------


def test_an_update_shifts_traffic_without_a_failed_request(host: Host, image: str, place: str) -> None:
    name = served(host, config_of(host, image, put_model(host, place, "old")))
    first = ask(host, name)["pid"]
    new = config_of(host, image, put_model(host, place, "new"))
    answers: list[Any] = []
    stop = threading.Event()

    def keep_asking() -> None:
        while not stop.is_set():
            try:
                answers.append(ask(host, name)["version"])
            except ClientError as error:
                answers.append(error)

    client = host.client("sagemaker")
    asking = threading.Thread(target=keep_asking)
    asking.start()
    try:
        eventually(lambda: answers)
        client.update_endpoint(
            EndpointName=name,
            EndpointConfigName=new,
            DeploymentConfig={
                "BlueGreenUpdatePolicy": {
                    "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
                    "TerminationWaitInSeconds": 0,
                }
            },
        )
        during = client.describe_endpoint(EndpointName=name)
        assert refusal(client.update_endpoint, EndpointName=name, EndpointConfigName=new) == (
            "ValidationException",
            f'Cannot update in-progress endpoint "{endpoint_arn(name)}".',
        )
        assert refusal(client.delete_endpoint, EndpointName=name)[0] == "ValidationException"
        found = settled(host, name)
        eventually(lambda: answers[-1] == "new")
    finally:
        stop.set()
        asking.join()
    assert during["EndpointStatus"] == "Updating"
    assert during["EndpointConfigName"] != new
    assert during["PendingDeploymentSummary"]["EndpointConfigName"] == new
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", new)
    assert "PendingDeploymentSummary" not in found
    assert set(answers) == {"old", "new"}
    assert answers == sorted(answers, reverse=True), "no answer of the old model after the first of the new one"
    eventually(lambda: not is_alive(first))


def test_a_failed_update_leaves_the_old_configuration_in_service_and_no_reason(
    host: Host, image: str, place: str
) -> None:
    old = config_of(host, image, put_model(host, place, "old"))
    name = served(host, old)
    broken = config_of(host, image, put_model(host, place, "broken"), "exit")
    tap = EventTap(host, "aws.sagemaker", "SageMaker Endpoint State Change")
    host.client("sagemaker").update_endpoint(EndpointName=name, EndpointConfigName=broken)
    found = settled(host, name)
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", old)
    assert "FailureReason" not in found
    assert ask(host, name)["version"] == "old"
    events = tap.until(lambda event: event["detail"]["EndpointStatus"] == "IN_SERVICE")
    own = [event["detail"] for event in events if event["detail"]["EndpointName"] == name]
    assert [detail["EndpointStatus"] for detail in own] == ["UPDATING", "ROLLING_BACK", "IN_SERVICE"]
    assert {detail["EndpointConfigName"] for detail in own} == {old}
    assert isinstance(own[-1]["LastModifiedTime"], int)


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_alarm_rolls_the_update_back(host: Host, image: str, place: str, when: str) -> None:
    old = config_of(host, image, put_model(host, place, "old"))
    name, alarm = served(host, old), unique("alarm")
    host.client("cloudwatch").put_metric_alarm(
        AlarmName=alarm,
        Namespace="Conformance",
        MetricName="Errors",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=0.5,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="ignore",
    )

    def ring() -> None:
        host.client("cloudwatch").set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="test")

    if when == "before":
        ring()
    host.client("sagemaker").update_endpoint(
        EndpointName=name,
        EndpointConfigName=config_of(host, image, put_model(host, place, "new")),
        DeploymentConfig={
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 300}
            },
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": alarm}]},
        },
    )
    if when == "after":
        eventually(lambda: ask(host, name)["version"] == "new", interval=0.01)
        ring()
    found = settled(host, name)
    assert (found["EndpointConfigName"], ask(host, name)["version"]) == (old, "old")
    started = [line for line in host.log_lines(f"/aws/sagemaker/Endpoints/{name}") if line.startswith("serving ")]
    assert len(started) == (1 if when == "before" else 2), "no update starts during an ALARM"


def test_weights_change_in_place_and_share_the_traffic(host: Host, image: str, place: str) -> None:
    client, name = host.client("sagemaker"), unique("endpoint")
    models = [config_of(host, image, put_model(host, place, version)) for version in ("left", "right")]
    variant = {"InstanceType": "ml.g4dn.xlarge", "InitialInstanceCount": 1, "InitialVariantWeight": 1.0}
    variants = [variant | {"VariantName": model, "ModelName": model} for model in models]
    client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants)
    client.create_endpoint(EndpointName=name, EndpointConfigName=name)
    settled(host, name)
    assert {ask(host, name)["version"] for _ in range(60)} == {"left", "right"}
    client.update_endpoint_weights_and_capacities(
        EndpointName=name, DesiredWeightsAndCapacities=[{"VariantName": models[0], "DesiredWeight": 0.0}]
    )
    assert settled(host, name)["ProductionVariants"][0]["DesiredWeight"] == 0.0
    assert {ask(host, name)["version"] for _ in range(20)} == {"right"}
    assert ask(host, name, TargetVariant=models[0])["version"] == "left"


# ---- refusals ----------------------------------------------------------------------------------------------------


def test_refusals_are_in_aws_words(host: Host, endpoint: str, config: str) -> None:
    client = host.client("sagemaker")
    absent = f'Could not find endpoint "{endpoint_arn("absent")}".'
    assert refusal(client.describe_endpoint, EndpointName="absent") == ("ValidationException", absent)
    assert refusal(client.delete_endpoint, EndpointName="absent") == ("ValidationException", absent)
    assert refusal(client.update_endpoint, EndpointName="absent", EndpointConfigName=config) == (
        "ValidationException",
        absent,
    )
    assert refusal(client.create_endpoint, EndpointName=endpoint, EndpointConfigName=config) == (
        "ValidationException",
        f'Cannot create already existing endpoint "{endpoint_arn(endpoint)}".',
    )
    missing = f'Could not find endpoint configuration "arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint-config/absent".'
    for call, name in ((client.create_endpoint, unique("endpoint")), (client.update_endpoint, endpoint)):
        assert refusal(call, EndpointName=name, EndpointConfigName="absent") == ("ValidationException", missing)
    assert client.describe_endpoint(EndpointName=endpoint)["EndpointStatus"] == "InService"


def test_a_deleted_endpoint_leaves_nothing(host: Host, config: str) -> None:
    name = served(host, config)
    pid = ask(host, name)["pid"]
    host.client("sagemaker").delete_endpoint(EndpointName=name)

    def gone() -> bool:
        try:
            described = host.client("sagemaker").describe_endpoint(EndpointName=name)
            return bool(described["EndpointStatus"] != "Deleting")
        except ClientError as error:
            return "Could not find endpoint" in error.response["Error"]["Message"]

    eventually(gone)
    assert not is_alive(pid)
    assert not list((host.root / "work" / "endpoints" / name).glob("*"))


# ---- what outlives what ------------------------------------------------------------------------------------------


def test_endpoints_come_back_after_the_host_and_leave_no_process(another_host: Any) -> None:
    host = another_host().start()
    image, place = build_image(host), bucket(host)
    config = config_of(host, image, put_model(host, place, "one"))
    name = served(host, config)
    host.client("sagemaker").delete_endpoint_config(EndpointConfigName=config)
    host.client("sagemaker").delete_model(ModelName=config)
    pid = ask(host, name)["pid"]
    assert host.stop(signal.SIGTERM) == 0
    eventually(lambda: not is_alive(pid))

    again = another_host(host.root).start()
    assert again.client("sagemaker").describe_endpoint(EndpointName=name)["EndpointStatus"] in (
        "SystemUpdating",
        "InService",
    )
    assert settled(again, name)["EndpointStatus"] == "InService"
    answer = ask(again, name)
    assert answer["version"] == "one"
    os.kill(again.process.pid, signal.SIGKILL)
    again.process.wait()
    eventually(lambda: not is_alive(answer["pid"]))
