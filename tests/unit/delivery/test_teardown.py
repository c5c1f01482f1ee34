"""A stack is removed with what its runs made, and nothing of another stack is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from delivery import teardown
from delivery.teardown import NoStack, Teardown

RUN = "v20261129t101500z-0a1b2c3d-r1"
MACHINE = "arn:aws:states:eu-west-1:123456789012:stateMachine:"


class Stacks:
    """CloudFormation, as far as a teardown knows it (moto's needs more packages than these tests)."""

    def __init__(self) -> None:
        self.outputs: dict[str, list[dict[str, str]]] = {}

    def describe_stacks(self, StackName: str) -> dict[str, Any]:
        if StackName not in self.outputs:
            error = {"Code": "ValidationError", "Message": f"Stack with id {StackName} does not exist"}
            raise ClientError({"Error": error}, "DescribeStacks")
        return {"Stacks": [{"Outputs": self.outputs[StackName]}]}

    def delete_stack(self, StackName: str) -> None:
        self.outputs.pop(StackName, None)

    def get_waiter(self, name: str) -> Stacks:
        assert name == "stack_delete_complete"
        return self

    def wait(self, StackName: str) -> None:
        assert StackName not in self.outputs


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        session, stacks = boto3.Session(region_name="eu-west-1"), Stacks()
        yield lambda service: stacks if service == "cloudformation" else session.client(service)


def deploy(clients: Any, stack: str, prefix: str) -> None:
    outputs = {"EndpointName": f"{prefix}-recommender"}
    states = clients("stepfunctions")
    for machine in teardown.MACHINES:
        arn = states.create_state_machine(
            name=f"{prefix}-{machine.lower()}",
            definition=json.dumps({"StartAt": "S", "States": {"S": {"Type": "Succeed"}}}),
            roleArn="arn:aws:iam::123456789012:role/r",
        )["stateMachineArn"]
        outputs[f"{machine}StateMachineArn"] = arn
    clients("scheduler").create_schedule(
        Name=f"{prefix}-rest-endpoint",
        ScheduleExpression="rate(15 minutes)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": "arn:aws:lambda:eu-west-1:123456789012:function:f",
            "RoleArn": "arn:aws:iam::123456789012:role/r",
        },
    )
    described = [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()]
    clients("cloudformation").outputs[stack] = described


def serve(clients: Any, prefix: str) -> None:
    sagemaker, name = clients("sagemaker"), f"{prefix}-{RUN}"
    sagemaker.create_model(ModelName=name, ExecutionRoleArn="arn:aws:iam::123456789012:role/r")
    sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[
            {"VariantName": "AllTraffic", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
        ],
    )
    sagemaker.create_endpoint(EndpointName=f"{prefix}-recommender", EndpointConfigName=name)
    clients("application-autoscaling").register_scalable_target(
        ServiceNamespace="sagemaker",
        ResourceId=f"endpoint/{prefix}-recommender/variant/AllTraffic",
        ScalableDimension="sagemaker:variant:DesiredInstanceCount",
        MinCapacity=1,
        MaxCapacity=2,
    )


def made(clients: Any) -> list[str]:
    sagemaker = clients("sagemaker")
    targets = clients("application-autoscaling").describe_scalable_targets(ServiceNamespace="sagemaker")
    return sorted(
        [one["EndpointName"] for one in sagemaker.list_endpoints()["Endpoints"]]
        + [one["EndpointConfigName"] for one in sagemaker.list_endpoint_configs()["EndpointConfigs"]]
        + [one["ModelName"] for one in sagemaker.list_models()["Models"]]
        + [one["ResourceId"] for one in targets["ScalableTargets"]]
        + [one["Name"] for one in clients("scheduler").list_schedules()["Schedules"]]
        + list(clients("cloudformation").outputs)
    )


def test_only_what_the_stack_and_its_runs_made_is_removed(clients: Any) -> None:
    for stack, prefix in (("shop", "ncf"), ("shop-prod", "ncf-prod"), ("older", "my-ncf")):
        deploy(clients, stack, prefix)
        serve(clients, prefix)
    steps: list[str] = []
    Teardown.of(clients, "shop").remove(steps.append)
    assert made(clients) == sorted(
        name
        for stack, prefix in (("shop-prod", "ncf-prod"), ("older", "my-ncf"))
        for name in (
            f"{prefix}-recommender",
            f"{prefix}-{RUN}",
            f"{prefix}-{RUN}",
            f"endpoint/{prefix}-recommender/variant/AllTraffic",
            f"{prefix}-rest-endpoint",
            stack,
        )
    )
    assert steps == [
        "deleted the endpoint ncf-recommender",
        f"deleted the endpoint configuration ncf-{RUN}",
        f"deleted the model ncf-{RUN}",
        "deleted the stack shop",
        teardown.KEPT,
    ]


def test_a_teardown_that_was_cut_goes_on(clients: Any) -> None:
    deploy(clients, "shop", "ncf")
    serve(clients, "ncf")
    clients("sagemaker").delete_endpoint(EndpointName="ncf-recommender")
    clients("scheduler").delete_schedule(Name="ncf-rest-endpoint")
    Teardown.of(clients, "shop").remove(lambda step: None)
    assert made(clients) == []


def test_the_plan_removes_nothing_and_says_what_stays(clients: Any) -> None:
    deploy(clients, "shop", "ncf")
    serve(clients, "ncf")
    before = made(clients)
    plan = Teardown.of(clients, "shop").plan()
    assert (plan[0], plan[-2], plan[-1]) == (
        "delete the endpoint ncf-recommender",
        "delete the stack shop",
        teardown.KEPT,
    )
    assert made(clients) == before


def test_a_stack_that_there_is_not_is_named(clients: Any) -> None:
    with pytest.raises(NoStack, match="there is no stack shop"):
        Teardown.of(clients, "shop")
