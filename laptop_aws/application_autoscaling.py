"""Application Auto Scaling for endpoint variants: stores scalable targets and their policies, with AWS's checks.

A difference from AWS: nothing scales. A laptop runs one process per variant, whatever the requested capacity.
"""

from __future__ import annotations

import re
import sys
import uuid

from laptop_aws import json_service, registry
from laptop_aws.sagemaker import endpoints
from laptop_aws.scalable_targets import store
from laptop_aws.service_model import ServiceError, validation_error
from laptop_aws.store import Record, now, public, scope

SERVICE = "application-autoscaling"
NAMESPACE, DIMENSION = "sagemaker", "sagemaker:variant:DesiredInstanceCount"
_RESOURCE = re.compile(r"endpoint/([^/]+)/variant/([^/]+)")


def register_target(request: Record) -> Record:
    resource = _resource(request)
    with store.lock:
        known = store.tables().targets.get(resource)
        if known is None and ("MinCapacity" not in request or "MaxCapacity" not in request):
            raise validation_error("Both minimum and maximum capacity must be specified for a new scalable target.")
        endpoint, variant = _names(resource)
        if not endpoints.has_variant(endpoint, variant):
            raise validation_error(f"SageMaker endpoint variant does not exist: {endpoint}/{variant}")
        target = known or {"CreationTime": now(), "RoleARN": _role(), "ScalableTargetARN": _arn("scalable-target")}
        target |= {name: request[name] for name in ("MinCapacity", "MaxCapacity") if name in request}
        if target["MinCapacity"] > target["MaxCapacity"]:
            raise validation_error("Maximum capacity cannot be less than minimum capacity")
        store.tables().targets[resource] = target | _identity(resource)
        return {"ScalableTargetARN": target["ScalableTargetARN"]}


def describe_targets(request: Record) -> Record:
    _supported(request)
    wanted = request.get("ResourceIds")
    with store.lock:
        found = [public(one) for name, one in store.tables().targets.items() if wanted is None or name in wanted]
    return {"ScalableTargets": found}


def deregister_target(request: Record) -> Record:
    resource = _resource(request)
    with store.lock:
        if store.tables().targets.pop(resource, None) is None:
            raise _absent(resource)
        policies = store.tables().policies
        for name in [name for name, policy in policies.items() if policy["ResourceId"] == resource]:
            del policies[name]
    return {}


def put_policy(request: Record) -> Record:
    resource = _resource(request)
    with store.lock:
        if resource not in store.tables().targets:
            raise _absent(resource)
        key = f"{resource}/{request['PolicyName']}"
        kept = store.tables().policies.get(key, {"CreationTime": now(), "PolicyARN": _arn("scaling-policy")})
        named = {name: value for name, value in request.items() if name.startswith("Policy") or "Configuration" in name}
        store.tables().policies[key] = kept | named | _identity(resource)
        return {"PolicyARN": kept["PolicyARN"], "Alarms": []}


def describe_policies(request: Record) -> Record:
    _supported(request)
    with store.lock:
        found = [
            public(one)
            for one in store.tables().policies.values()
            if request.get("ResourceId") in (None, one["ResourceId"])
        ]
    return {"ScalingPolicies": found}


def delete_policy(request: Record) -> Record:
    resource = _resource(request)
    with store.lock:
        if store.tables().policies.pop(f"{resource}/{request['PolicyName']}", None) is None:
            raise ServiceError("ObjectNotFoundException", f"No scaling policy found for resource ID: {resource}")
    return {}


def _resource(request: Record) -> str:
    _supported(request)
    resource: str = request["ResourceId"]
    if not _RESOURCE.fullmatch(resource):
        raise validation_error(f"Unsupported service namespace, resource type or scalable dimension: {resource}")
    return resource


def _supported(request: Record) -> None:
    if request["ServiceNamespace"] != NAMESPACE or request.get("ScalableDimension", DIMENSION) != DIMENSION:
        raise validation_error(
            f"The embedded AWS scales only {DIMENSION}, not {request.get('ScalableDimension')} of "
            f"{request['ServiceNamespace']}"
        )


def _names(resource: str) -> tuple[str, str]:
    match = _RESOURCE.fullmatch(resource)
    assert match is not None
    return match[1], match[2]


def _identity(resource: str) -> Record:
    return {"ServiceNamespace": NAMESPACE, "ResourceId": resource, "ScalableDimension": DIMENSION}


def _arn(kind: str) -> str:
    account, region = scope()
    return f"arn:aws:application-autoscaling:{region}:{account}:{kind}/{uuid.uuid4().hex}"


def _role() -> str:
    role = "aws-service-role/sagemaker.application-autoscaling.amazonaws.com"
    return f"arn:aws:iam::{scope()[0]}:role/{role}/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"


def _absent(resource: str) -> ServiceError:
    return ServiceError("ObjectNotFoundException", f"No scalable target found for resource ID: {resource}")


OPERATIONS: json_service.Operations = {
    "RegisterScalableTarget": register_target,
    "DescribeScalableTargets": describe_targets,
    "DeregisterScalableTarget": deregister_target,
    "PutScalingPolicy": put_policy,
    "DescribeScalingPolicies": describe_policies,
    "DeleteScalingPolicy": delete_policy,
}


async def handle_request(
    method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
) -> registry.Response:
    return await registry.offload(json_service.answer, SERVICE, OPERATIONS, headers.get("x-amz-target", ""), body)


def register() -> None:
    """Joins the host by target prefix and signing name."""
    registry.register_service(
        SERVICE,
        sys.modules[__name__],
        target_prefixes=["AnyScaleFrontendService."],
        credential_scope=SERVICE,
        host_patterns=[r"application-autoscaling\."],
    )


get_state, load_persisted_state, reset = store.get_state, store.load, store.clear
