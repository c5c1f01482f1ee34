"""The model registry: package groups, versioned (and unversioned) model packages, approval, tags."""

from __future__ import annotations

from typing import Any

from laptop_aws import objects
from laptop_aws.objects import S3Uri, TransferFailed
from laptop_aws.sagemaker import events, listing
from laptop_aws.sagemaker.store import arn, store, tag
from laptop_aws.service_model import ServiceError, validation_error
from laptop_aws.store import Record, now, public

_UPDATABLE = (
    "ModelApprovalStatus",
    "ApprovalDescription",
    "InferenceSpecification",
    "SourceUri",
    "ModelCard",
    "ModelLifeCycle",
)
_NOT_KEPT = ("Tags", "ClientToken")


# ---- groups ----------------------------------------------------------------------------------------------------------


def create_group(request: Record) -> Record:
    name = request["ModelPackageGroupName"]
    group_arn = arn("model-package-group", name)
    with store.lock:
        if name in store.tables().package_groups:
            raise validation_error(f"Model Package Group already exists: {group_arn}")
        store.tables().package_groups[name] = {
            "ModelPackageGroupName": name,
            "ModelPackageGroupArn": group_arn,
            "ModelPackageGroupDescription": request.get("ModelPackageGroupDescription"),
            "CreationTime": now(),
            "CreatedBy": {},
            "ModelPackageGroupStatus": "Completed",
            "_LastVersion": 0,
        }
    tag(group_arn, request.get("Tags"))
    return {"ModelPackageGroupArn": group_arn}


def describe_group(request: Record) -> Record:
    with store.lock:
        return public(find_group(request["ModelPackageGroupName"]))


def delete_group(request: Record) -> Record:
    with store.lock:
        group = find_group(request["ModelPackageGroupName"])
        name = group["ModelPackageGroupName"]
        if any(package.get("ModelPackageGroupName") == name for package in store.tables().packages.values()):
            raise ServiceError(
                "ConflictException",
                "Model Package Group cannot be deleted because it contains Model Packages: "
                f"{group['ModelPackageGroupArn']}",
            )
        del store.tables().package_groups[name]
        store.tables().tags.pop(group["ModelPackageGroupArn"], None)
    return {}


def list_groups(request: Record) -> Record:
    with store.lock:
        rows, token = listing.select(store.tables().package_groups.values(), request, name="ModelPackageGroupName")
        members = (
            "ModelPackageGroupName",
            "ModelPackageGroupArn",
            "ModelPackageGroupDescription",
            "CreationTime",
            "ModelPackageGroupStatus",
        )
        return listing.answer(
            "ModelPackageGroupSummaryList", [listing.summary(public(row), *members) for row in rows], token
        )


def find_group(name: str) -> Record:
    """A group by name or ARN. Raises ServiceError."""
    name = name.rpartition("/")[2]
    group = store.tables().package_groups.get(name)
    if group is None:
        raise validation_error(f"ModelPackageGroup {arn('model-package-group', name)} does not exist.")
    return group


# ---- packages --------------------------------------------------------------------------------------------------------


def create_package(request: Record) -> Record:
    group_name, own_name = request.get("ModelPackageGroupName"), request.get("ModelPackageName")
    if bool(group_name) == bool(own_name):
        raise validation_error("Exactly one of ModelPackageName and ModelPackageGroupName must be given.")
    if made_before := _made_before(request.get("ClientToken")):
        return {"ModelPackageArn": made_before}
    for container in request.get("InferenceSpecification", {}).get("Containers", ()):
        check_model_data(container.get("ModelDataUrl"))
    moment = now()
    with store.lock:
        if made_before := _made_before(request.get("ClientToken")):
            return {"ModelPackageArn": made_before}
        package: dict[str, Any] = {name: value for name, value in request.items() if name not in _NOT_KEPT}
        if group_name:
            group = find_group(group_name)
            group["_LastVersion"] += 1
            version = group["_LastVersion"]
            package |= {
                "ModelPackageGroupName": group["ModelPackageGroupName"],
                "ModelPackageVersion": version,
                "ModelPackageArn": arn("model-package", f"{group['ModelPackageGroupName']}/{version}"),
                "ModelApprovalStatus": request.get("ModelApprovalStatus", "PendingManualApproval"),
                "_Key": f"{group['ModelPackageGroupName']}/{version:010d}",
            }
        else:
            package |= {"ModelPackageArn": arn("model-package", str(own_name)), "_Key": own_name}
            if package["ModelPackageArn"] in store.tables().packages:
                raise validation_error(f"Model Package already exists: {package['ModelPackageArn']}")
        package |= {
            "CreationTime": moment,
            "CreatedBy": {},
            "ModelPackageStatus": "Completed",
            "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
            "CertifyForMarketplace": request.get("CertifyForMarketplace", False),
            "_ClientToken": request.get("ClientToken"),
        }
        store.tables().packages[package["ModelPackageArn"]] = package
        snapshot = public(package)
    tag(package["ModelPackageArn"], request.get("Tags"))
    events.model_package_changed(snapshot)
    return {"ModelPackageArn": package["ModelPackageArn"]}


def _made_before(token: str | None) -> str | None:
    with store.lock:
        for package in store.tables().packages.values():
            if token and package.get("_ClientToken") == token:
                return str(package["ModelPackageArn"])
    return None


def describe_package(request: Record) -> Record:
    with store.lock:
        package = public(find_package(request["ModelPackageName"]))
    return {"ModelPackageName": package.get("ModelPackageGroupName", "")} | package


def update_package(request: Record) -> Record:
    with store.lock:
        package = find_package(request["ModelPackageArn"])
        if request.get("ModelApprovalStatus") and "ModelPackageGroupName" not in package:
            raise validation_error("ModelApprovalStatus can only be set on versioned model packages.")
        package |= {name: request[name] for name in _UPDATABLE if name in request}
        properties = package.get("CustomerMetadataProperties", {}) | request.get("CustomerMetadataProperties", {})
        for name in request.get("CustomerMetadataPropertiesToRemove", ()):
            properties.pop(name, None)
        if properties or "CustomerMetadataProperties" in package:
            package["CustomerMetadataProperties"] = properties
        if request.get("AdditionalInferenceSpecificationsToAdd"):
            package.setdefault("AdditionalInferenceSpecifications", []).extend(
                request["AdditionalInferenceSpecificationsToAdd"]
            )
        package |= {"LastModifiedTime": now(), "LastModifiedBy": {}}
        snapshot = public(package)
    events.model_package_changed(snapshot)
    return {"ModelPackageArn": snapshot["ModelPackageArn"]}


def list_packages(request: Record) -> Record:
    kind = request.get("ModelPackageType") or ("Versioned" if request.get("ModelPackageGroupName") else "Unversioned")
    with store.lock:
        group = request.get("ModelPackageGroupName")
        wanted_group = find_group(group)["ModelPackageGroupName"] if group else None
        chosen = [
            package
            for package in store.tables().packages.values()
            if kind in ("Both", "Versioned" if "ModelPackageVersion" in package else "Unversioned")
            and wanted_group in (None, package.get("ModelPackageGroupName"))
            and request.get("ModelApprovalStatus") in (None, package.get("ModelApprovalStatus"))
        ]
        rows, token = listing.select(chosen, request, name="_Key")
        members = (
            "ModelPackageName",
            "ModelPackageGroupName",
            "ModelPackageVersion",
            "ModelPackageArn",
            "ModelPackageDescription",
            "CreationTime",
            "ModelPackageStatus",
            "ModelApprovalStatus",
        )
        return listing.answer(
            "ModelPackageSummaryList", [listing.summary(public(row), *members) for row in rows], token
        )


def delete_package(request: Record) -> Record:
    with store.lock:
        package = find_package(request["ModelPackageName"])
        del store.tables().packages[package["ModelPackageArn"]]
        store.tables().tags.pop(package["ModelPackageArn"], None)
    return {}


def find_package(name: str) -> Record:
    """A package by ARN, or an unversioned one by name. Raises ServiceError."""
    package_arn = name if name.startswith("arn:") else arn("model-package", name)
    package = store.tables().packages.get(package_arn)
    if package is None:
        raise validation_error(f"ModelPackage {package_arn} does not exist.")
    return package


def check_model_data(url: str | None) -> None:
    """Raises ServiceError if the model artefact is not in S3, as AWS does at registration."""
    if not url:
        return
    try:
        found = objects.exists(S3Uri.parse(url))
    except TransferFailed:
        found = False
    if not found:
        raise validation_error(
            f"Could not access model data at {url}. Please ensure that the role exists and that its trust "
            "relationship policy allows the action "
            '"sts:AssumeRole" for the service principal "sagemaker.amazonaws.com". Also ensure that the role has '
            '"s3:GetObject" permissions and that '
            "the object is located in the same region."
        )


# ---- tags ------------------------------------------------------------------------------------------------------------


def add_tags(request: Record) -> Record:
    _check_tagged(request["ResourceArn"])
    tag(request["ResourceArn"], request["Tags"])
    return list_tags({"ResourceArn": request["ResourceArn"]})


def list_tags(request: Record) -> Record:
    _check_tagged(request["ResourceArn"])
    with store.lock:
        return {
            "Tags": [
                {"Key": key, "Value": value}
                for key, value in store.tables().tags.get(request["ResourceArn"], {}).items()
            ]
        }


def delete_tags(request: Record) -> Record:
    _check_tagged(request["ResourceArn"])
    with store.lock:
        for key in request["TagKeys"]:
            store.tables().tags.get(request["ResourceArn"], {}).pop(key, None)
    return {}


def _check_tagged(resource: str) -> None:
    tables = store.tables()
    kind, _, name = resource.rpartition(":")[2].partition("/")
    known = {
        "training-job": tables.training_jobs,
        "model-package-group": tables.package_groups,
        "model": tables.models,
        "endpoint-config": tables.endpoint_configs,
        "endpoint": tables.endpoints,
        "model-package": {key.partition("/")[2]: package for key, package in tables.packages.items()},
    }
    if name not in known.get(kind, {}):
        raise validation_error(f"Resource not found: {resource}")
