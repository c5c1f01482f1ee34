"""The model registry of the emulated SageMaker against what AWS does, and its resource type in stacks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from laptop_aws.tests.conformance.hosting import ACCOUNT, REGION, Host, eventually, unique
from laptop_aws.tests.conformance.sagemaker_fixtures import EventTap, bucket, put_model, refusal


@pytest.fixture(scope="module")
def model_uri(host: Host) -> str:
    return put_model(host, bucket(host), "one")


@pytest.fixture
def group(host: Host) -> str:
    name = unique("group")
    host.client("sagemaker").create_model_package_group(ModelPackageGroupName=name, ModelPackageGroupDescription="d")
    return name


def package_request(group: str, image: str, model_uri: str, **changes: Any) -> dict[str, Any]:
    return {
        "ModelPackageGroupName": group,
        "InferenceSpecification": {
            "Containers": [{"Image": image, "ModelDataUrl": model_uri}],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
        "CustomerMetadataProperties": {"runId": "v1-r1"},
    } | changes


def arn_of(kind: str, name: str) -> str:
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/{name}"


def test_groups_are_described_listed_and_deleted(host: Host, group: str) -> None:
    client = host.client("sagemaker")
    found = client.describe_model_package_group(ModelPackageGroupName=group)
    assert found["ModelPackageGroupArn"] == arn_of("model-package-group", group)
    assert (found["ModelPackageGroupStatus"], found["ModelPackageGroupDescription"]) == ("Completed", "d")
    listed = client.list_model_package_groups(NameContains=group)["ModelPackageGroupSummaryList"]
    assert [entry["ModelPackageGroupName"] for entry in listed] == [group]
    assert refusal(client.create_model_package_group, ModelPackageGroupName=group) == (
        "ValidationException",
        f"Model Package Group already exists: {arn_of('model-package-group', group)}",
    )
    client.delete_model_package_group(ModelPackageGroupName=group)
    assert refusal(client.describe_model_package_group, ModelPackageGroupName=group) == (
        "ValidationException",
        f"ModelPackageGroup {arn_of('model-package-group', group)} does not exist.",
    )


def test_versions_count_up_and_wait_for_approval(host: Host, group: str, image: str, model_uri: str) -> None:
    client = host.client("sagemaker")
    arns = [
        client.create_model_package(**package_request(group, image, model_uri))["ModelPackageArn"] for _ in range(2)
    ]
    assert arns == [arn_of("model-package", f"{group}/{number}") for number in (1, 2)]
    found = client.describe_model_package(ModelPackageName=arns[1])
    assert found["ModelPackageVersion"] == 2
    assert found["ModelApprovalStatus"] == "PendingManualApproval"
    assert found["ModelPackageStatus"] == "Completed"
    assert found["CustomerMetadataProperties"] == {"runId": "v1-r1"}
    assert found["InferenceSpecification"]["Containers"][0]["ModelDataUrl"] == model_uri


def test_the_same_client_token_registers_once(host: Host, group: str, image: str, model_uri: str) -> None:
    client, token = host.client("sagemaker"), unique("token")
    request = package_request(group, image, model_uri, ClientToken=token)
    first, second = (client.create_model_package(**request)["ModelPackageArn"] for _ in range(2))
    assert first == second
    listed = client.list_model_packages(ModelPackageGroupName=group)["ModelPackageSummaryList"]
    assert [entry["ModelPackageArn"] for entry in listed] == [first]


def test_a_deleted_version_number_is_not_given_again(host: Host, group: str, image: str, model_uri: str) -> None:
    client = host.client("sagemaker")
    first = client.create_model_package(**package_request(group, image, model_uri))["ModelPackageArn"]
    client.delete_model_package(ModelPackageName=first)
    assert refusal(client.describe_model_package, ModelPackageName=first) == (
        "ValidationException",
        f"ModelPackage {first} does not exist.",
    )
    second = client.create_model_package(**package_request(group, image, model_uri))["ModelPackageArn"]
    assert second == arn_of("model-package", f"{group}/2")
    code, message = refusal(client.delete_model_package_group, ModelPackageGroupName=group)
    assert code == "ConflictException"
    assert "contains Model Packages" in message


def test_lists_filter_by_approval_and_sort_versions_as_numbers(
    host: Host, group: str, image: str, model_uri: str
) -> None:
    client = host.client("sagemaker")
    for number in range(1, 12):
        status = "Approved" if number % 5 == 0 else "Rejected"
        client.create_model_package(**package_request(group, image, model_uri, ModelApprovalStatus=status))
    pages = list(
        client.get_paginator("list_model_packages").paginate(
            ModelPackageGroupName=group, SortBy="CreationTime", SortOrder="Descending", PaginationConfig={"PageSize": 4}
        )
    )
    versions = [entry["ModelPackageVersion"] for page in pages for entry in page["ModelPackageSummaryList"]]
    assert versions == list(range(11, 0, -1))
    approved = client.list_model_packages(ModelPackageGroupName=group, ModelApprovalStatus="Approved")
    assert [entry["ModelPackageVersion"] for entry in approved["ModelPackageSummaryList"]] == [5, 10]
    first = client.list_model_packages(ModelPackageGroupName=group, MaxResults=1)["ModelPackageSummaryList"]
    assert [entry["ModelPackageVersion"] for entry in first] == [1]


def test_a_package_needs_its_group_and_its_artefact(host: Host, group: str, image: str, model_uri: str) -> None:
    client = host.client("sagemaker")
    assert refusal(client.create_model_package, **package_request("absent", image, model_uri)) == (
        "ValidationException",
        f"ModelPackageGroup {arn_of('model-package-group', 'absent')} does not exist.",
    )
    missing = model_uri + ".missing"
    code, message = refusal(client.create_model_package, **package_request(group, image, missing))
    assert code == "ValidationException"
    assert message.startswith(f"Could not access model data at {missing}.")
    assert client.list_model_packages(ModelPackageGroupName=group)["ModelPackageSummaryList"] == []


def test_approval_is_an_event_and_opens_the_way_to_a_model(host: Host, group: str, image: str, model_uri: str) -> None:
    client = host.client("sagemaker")
    tap = EventTap(host, "aws.sagemaker", "SageMaker Model Package State Change")
    arn = client.create_model_package(**package_request(group, image, model_uri))["ModelPackageArn"]
    container = {"ModelPackageName": arn}
    role = f"arn:aws:iam::{ACCOUNT}:role/serving"
    code, message = refusal(client.create_model, ModelName=group, ExecutionRoleArn=role, PrimaryContainer=container)
    assert code == "ValidationException"
    assert "PendingManualApproval" in message

    client.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved", ApprovalDescription="good")
    client.create_model(ModelName=group, ExecutionRoleArn=role, PrimaryContainer=container)
    events = tap.until(lambda event: event["detail"]["ModelApprovalStatus"] == "Approved")
    own = [event for event in events if event["detail"]["ModelPackageArn"] == arn]
    assert [event["detail"]["ModelApprovalStatus"] for event in own] == ["PendingManualApproval", "Approved"]
    detail = own[-1]["detail"]
    assert own[-1]["resources"] == [arn]
    assert (detail["ModelPackageGroupName"], detail["ModelPackageVersion"]) == (group, 1)
    assert (detail["ModelPackageStatus"], detail["ApprovalDescription"]) == ("Completed", "good")
    assert isinstance(detail["CreationTime"], int)
    assert detail["CustomerMetadataProperties"] == {"runId": "v1-r1"}


def test_models_and_configurations_refuse_in_aws_words(host: Host, image: str, model_uri: str) -> None:
    client, name = host.client("sagemaker"), unique("model")
    role = f"arn:aws:iam::{ACCOUNT}:role/serving"
    model = {"ModelName": name, "ExecutionRoleArn": role}
    assert refusal(client.describe_model, ModelName=name) == (
        "ValidationException",
        f'Could not find model "{arn_of("model", name)}".',
    )
    code, message = refusal(
        client.create_model, **model, PrimaryContainer={"Image": image[:-64] + 64 * "0", "ModelDataUrl": model_uri}
    )
    assert code == "ValidationException"
    assert message.startswith("Requested image ")
    code, message = refusal(
        client.create_model, **model, PrimaryContainer={"Image": image, "ModelDataUrl": model_uri + "x"}
    )
    assert message.startswith(f"Could not access model data at {model_uri}x.")
    client.create_model(**model, PrimaryContainer={"Image": image, "ModelDataUrl": model_uri})
    assert refusal(client.create_model, **model, PrimaryContainer={"Image": image, "ModelDataUrl": model_uri}) == (
        "ValidationException",
        f'Cannot create already existing model "{arn_of("model", name)}".',
    )
    found = client.describe_model(ModelName=name)
    assert found["PrimaryContainer"] == {"Image": image, "ModelDataUrl": model_uri}

    variant = {"VariantName": "AllTraffic", "InstanceType": "ml.g4dn.xlarge", "InitialInstanceCount": 1}
    assert refusal(
        client.create_endpoint_config, EndpointConfigName=name, ProductionVariants=[variant | {"ModelName": "absent"}]
    ) == ("ValidationException", f'Could not find model "{arn_of("model", "absent")}".')
    config = {"EndpointConfigName": name, "ProductionVariants": [variant | {"ModelName": name}]}
    client.create_endpoint_config(**config)
    assert refusal(client.create_endpoint_config, **config) == (
        "ValidationException",
        f'Cannot create already existing endpoint configuration "{arn_of("endpoint-config", name)}".',
    )
    assert client.describe_endpoint_config(EndpointConfigName=name)["ProductionVariants"] == [
        variant | {"ModelName": name, "InitialVariantWeight": 1.0}
    ]
    client.delete_endpoint_config(EndpointConfigName=name)
    assert refusal(client.describe_endpoint_config, EndpointConfigName=name) == (
        "ValidationException",
        f'Could not find endpoint configuration "{arn_of("endpoint-config", name)}".',
    )
    client.delete_model(ModelName=name)
    assert refusal(client.delete_model, ModelName=name)[0] == "ValidationException"


def groups_named(host: Host, name: str) -> list[Any]:
    return list(host.client("sagemaker").list_model_package_groups(NameContains=name)["ModelPackageGroupSummaryList"])


def test_a_stack_holds_a_model_package_group(host: Host) -> None:
    stack, name = unique("stack"), unique("group")
    cloudformation = host.client("cloudformation")

    def template(tags: list[dict[str, str]], group_name: str = name) -> str:
        properties = {"ModelPackageGroupName": group_name, "ModelPackageGroupDescription": "d", "Tags": tags}
        return json.dumps(
            {
                "Resources": {"Group": {"Type": "AWS::SageMaker::ModelPackageGroup", "Properties": properties}},
                "Outputs": {
                    "Ref": {"Value": {"Ref": "Group"}},
                    "Arn": {"Value": {"Fn::GetAtt": ["Group", "ModelPackageGroupArn"]}},
                    "Status": {"Value": {"Fn::GetAtt": ["Group", "ModelPackageGroupStatus"]}},
                },
            }
        )

    cloudformation.create_stack(StackName=stack, TemplateBody=template([{"Key": "a", "Value": "1"}]))
    found = host.settled_stack(stack)
    assert found["StackStatus"] == "CREATE_COMPLETE"
    outputs = {entry["OutputKey"]: entry["OutputValue"] for entry in found["Outputs"]}
    arn = arn_of("model-package-group", name)
    assert outputs == {"Ref": arn, "Arn": arn, "Status": "Completed"}

    cloudformation.update_stack(StackName=stack, TemplateBody=template([{"Key": "b", "Value": "2"}]))
    assert host.settled_stack(stack)["StackStatus"] == "UPDATE_COMPLETE"
    assert host.client("sagemaker").list_tags(ResourceArn=arn)["Tags"] == [{"Key": "b", "Value": "2"}]

    renamed = unique("group")
    cloudformation.update_stack(StackName=stack, TemplateBody=template([], renamed))
    assert host.settled_stack(stack)["StackStatus"] == "UPDATE_COMPLETE"
    assert host.client("sagemaker").describe_model_package_group(ModelPackageGroupName=renamed)
    eventually(lambda: not groups_named(host, name))

    cloudformation.delete_stack(StackName=stack)
    eventually(lambda: not groups_named(host, renamed))
