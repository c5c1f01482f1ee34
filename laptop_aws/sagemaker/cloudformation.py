"""``AWS::SageMaker::ModelPackageGroup`` in stacks: ``Ref`` is the ARN; a new name or description replaces the group, as
on AWS."""

from __future__ import annotations

from typing import Any

from laptop_aws import json_service, registry
from laptop_aws.sagemaker import model_registry
from laptop_aws.sagemaker.api import OPERATIONS
from laptop_aws.sagemaker.store import store
from laptop_aws.service_model import ServiceError
from laptop_aws.store import public

TYPE = "AWS::SageMaker::ModelPackageGroup"
_REPLACING = ("ModelPackageGroupName", "ModelPackageGroupDescription")


def register() -> None:
    registry.register_cloudformation_type(TYPE, create=create, update=update, delete=delete)


def create(logical_id: str, properties: dict[str, Any], stack_name: str) -> tuple[str, dict[str, Any]]:
    request = {name: properties[name] for name in (*_REPLACING, "Tags") if properties.get(name)}
    arn = json_service.call("sagemaker", OPERATIONS, "CreateModelPackageGroup", request)["ModelPackageGroupArn"]
    return arn, _attributes(arn)


def update(
    physical_id: str, old: dict[str, Any], new: dict[str, Any], stack_name: str, logical_id: str
) -> tuple[str, dict[str, Any]]:
    if any(old.get(name) != new.get(name) for name in _REPLACING):
        if old.get("ModelPackageGroupName") == new.get("ModelPackageGroupName"):
            raise ValueError(
                "CloudFormation cannot update a stack when a custom-named resource requires replacing. Rename "
                f"{physical_id} and update the stack again."
            )
        return create(logical_id, new, stack_name)
    before = {entry["Key"] for entry in old.get("Tags", [])}
    gone = before - {entry["Key"] for entry in new.get("Tags", [])}
    if gone:
        json_service.call("sagemaker", OPERATIONS, "DeleteTags", {"ResourceArn": physical_id, "TagKeys": sorted(gone)})
    if new.get("Tags"):
        json_service.call("sagemaker", OPERATIONS, "AddTags", {"ResourceArn": physical_id, "Tags": new["Tags"]})
    return physical_id, _attributes(physical_id)


def delete(physical_id: str, properties: dict[str, Any]) -> None:
    try:
        json_service.call(
            "sagemaker",
            OPERATIONS,
            "DeleteModelPackageGroup",
            {"ModelPackageGroupName": physical_id.rpartition("/")[2]},
        )
    except ServiceError as error:
        if "does not exist" not in error.message:
            raise ValueError(error.message) from error


def _attributes(arn: str) -> dict[str, Any]:
    with store.lock:
        group = public(model_registry.find_group(arn))
    return {name: group[name] for name in ("ModelPackageGroupArn", "ModelPackageGroupStatus")} | {
        "CreationTime": str(group["CreationTime"])
    }
