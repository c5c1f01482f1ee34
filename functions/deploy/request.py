"""The SageMaker calls of a deployment. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shared import likeness, names, tags, volumes

STARTUP_SECONDS = 900
FLEET_SECONDS = 3000
"""Time for a fleet to start and for the earlier one to end, in seconds."""
LONGEST_UPDATE_SECONDS = 28_800
"""The most that SageMaker takes as MaximumExecutionTimeoutInSeconds."""
SERVING_NAME = "SERVING_NAME"
"""The server's environment variable of the dimension `service` of its metrics."""
STRATEGIES = ("ALL_AT_ONCE", "CANARY", "LINEAR", "ROLLING")
# With alarms, the new fleet is watched this long before the old one is removed. Both waits are set: with all traffic at
# once there are no steps to wait between, and SageMaker's example keeps the old fleet with TerminationWaitInSeconds.
BAKE_SECONDS = 300


def container(registered: dict[str, Any], bundle_digest: str | None) -> dict[str, Any]:
    """Return the container of a registered model. Its server refuses a bundle with another digest; None, for a model
    that was registered without one, compares nothing.
    """
    environment = {"Environment": {"SERVING_BUNDLE_DIGEST": bundle_digest}} if bundle_digest else {}
    return {"Image": registered["Image"], "ModelDataUrl": registered["ModelDataUrl"], **environment}


def create_model(name_prefix: str, run_id: str, container: dict[str, Any], role_arn: str) -> dict[str, Any]:
    """Return the CreateModel call for the container. Its server's metrics have `name_prefix` as `service`, so that two
    stacks' never merge.
    """
    environment = {**container.get("Environment", {}), SERVING_NAME: name_prefix}
    return {
        "ModelName": names.model(name_prefix, run_id),
        "PrimaryContainer": {**container, "Environment": environment},
        "ExecutionRoleArn": role_arn,
        "EnableNetworkIsolation": True,
        "Tags": tags.listed(name_prefix, runId=run_id),
    }


@dataclass(frozen=True)
class Fleet:
    """The machines of a variant; an empty `ami_version` leaves the choice to SageMaker."""

    instance_type: str
    instance_count: int
    ami_version: str = ""
    kms_key_arn: str = ""

    def key(self) -> dict[str, str]:
        """Return the key of the machines' volumes, as an endpoint configuration has it."""
        key = volumes.key_of(self.instance_type, self.kms_key_arn)
        return {"KmsKeyId": key} if key else {}


def create_endpoint_config(name_prefix: str, run_id: str, fleet: Fleet) -> dict[str, Any]:
    """Return the CreateEndpointConfig call with one variant."""
    return {
        "EndpointConfigName": names.model(name_prefix, run_id),
        "ProductionVariants": [_variant(names.VARIANT, names.model(name_prefix, run_id), 1.0, fleet)],
        "Tags": tags.listed(name_prefix, runId=run_id),
        **fleet.key(),
    }


def create_split_config(name_prefix: str, run_id: str, other: str, percent: int, fleet: Fleet) -> dict[str, Any]:
    """Return the CreateEndpointConfig call with two variants: `other` gets `percent` of the requests, `run_id` the
    rest.
    """
    shares = ((names.VARIANT, run_id, 100 - percent), (names.OTHER_VARIANT, other, percent))
    return {
        "EndpointConfigName": names.split(name_prefix, run_id, other, percent),
        "ProductionVariants": [
            _variant(name, names.model(name_prefix, run), float(share), fleet) for name, run, share in shares
        ],
        "Tags": tags.listed(name_prefix, runId=run_id),
        **fleet.key(),
    }


def _variant(name: str, model_name: str, weight: float, fleet: Fleet) -> dict[str, Any]:
    variant: dict[str, Any] = {
        "VariantName": name,
        "ModelName": model_name,
        "InstanceType": fleet.instance_type,
        "InitialInstanceCount": fleet.instance_count,
        "InitialVariantWeight": weight,
        "ModelDataDownloadTimeoutInSeconds": STARTUP_SECONDS,
        "ContainerStartupHealthCheckTimeoutInSeconds": STARTUP_SECONDS,
        "RoutingConfig": {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"},
    }
    if fleet.ami_version:
        variant["InferenceAmiVersion"] = fleet.ami_version
    return variant


def create_endpoint(name_prefix: str, endpoint_name: str, config_name: str) -> dict[str, Any]:
    """Return the CreateEndpoint call."""
    return {"EndpointName": endpoint_name, "EndpointConfigName": config_name, "Tags": tags.listed(name_prefix)}


@dataclass(frozen=True)
class Traffic:
    """How traffic moves to a new fleet: `strategy` is one of STRATEGIES, `percent` is the first step of CANARY and
    every step of LINEAR and ROLLING, `wait_seconds` is the time between two steps.
    """

    strategy: str = "ALL_AT_ONCE"
    percent: int = 10
    wait_seconds: int = BAKE_SECONDS

    def longest_seconds(self, bake: int) -> int:
        """Return the time that an update may take, in seconds, at most what SageMaker takes: FLEET_SECONDS, what its
        steps wait, `bake` in which the alarms watch the end, and with ROLLING STARTUP_SECONDS for each further batch.
        """
        steps = {"ALL_AT_ONCE": 1, "CANARY": 2}.get(self.strategy, math.ceil(100 / self.percent))
        waits = bake if self.strategy == "ALL_AT_ONCE" else steps * self.wait_seconds
        starts = (steps - 1) * STARTUP_SECONDS if self.strategy == "ROLLING" else 0
        return min(FLEET_SECONDS + waits + bake + starts, LONGEST_UPDATE_SECONDS)


AT_ONCE = Traffic()


def update_endpoint(
    endpoint_name: str,
    config_name: str,
    alarm_names: tuple[str, ...],
    traffic: Traffic = AT_ONCE,
    *,
    is_scaled: bool = False,
) -> dict[str, Any]:
    """Return the UpdateEndpoint call: traffic moves by `traffic`, and SageMaker rolls back if an alarm fires.

    All strategies except ROLLING are blue/green: they need a second fleet until the end. ROLLING replaces the instances
    in batches. With `is_scaled` the new fleet keeps the old one's current number of instances.
    """
    bake = BAKE_SECONDS if alarm_names else 0
    step = {"Type": "CAPACITY_PERCENT", "Value": traffic.percent}
    if traffic.strategy == "ROLLING":
        policy: dict[str, Any] = {
            "RollingUpdatePolicy": {
                "MaximumBatchSize": step,
                "WaitIntervalInSeconds": traffic.wait_seconds,
                "MaximumExecutionTimeoutInSeconds": traffic.longest_seconds(bake),
            }
        }
    else:
        routing: dict[str, Any] = {"Type": traffic.strategy, "WaitIntervalInSeconds": bake}
        if traffic.strategy in ("CANARY", "LINEAR"):
            routing["WaitIntervalInSeconds"] = traffic.wait_seconds
            routing["CanarySize" if traffic.strategy == "CANARY" else "LinearStepSize"] = step
        policy = {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": routing,
                "TerminationWaitInSeconds": bake,
                "MaximumExecutionTimeoutInSeconds": traffic.longest_seconds(bake),
            }
        }
    if alarm_names:
        policy["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": name} for name in alarm_names]}
    call: dict[str, Any] = {
        "EndpointName": endpoint_name,
        "EndpointConfigName": config_name,
        "DeploymentConfig": policy,
    }
    if is_scaled:
        call["RetainAllVariantProperties"] = True
        call["ExcludeRetainedVariantProperties"] = [{"VariantPropertyType": "DesiredWeight"}]
    return call


Comparison = Callable[[dict[str, Any], dict[str, Any]], bool]
"""True if the second, a description by AWS, is what the first, a call, creates."""


def same_container(call: dict[str, Any], described: dict[str, Any]) -> bool:
    """True if DescribeModel shows the image, the archive and the digest that `call` has. Models made before the server
    had a name have none.
    """
    found = _judged(described.get("PrimaryContainer", {}))
    return all(found.get(name) == value for name, value in _judged(call["PrimaryContainer"]).items())


def _judged(container: dict[str, Any]) -> dict[str, Any]:
    environment = {name: value for name, value in container.get("Environment", {}).items() if name != SERVING_NAME}
    return {**container, "Environment": environment}


def same_model(call: dict[str, Any], described: dict[str, Any]) -> bool:
    """True if DescribeModel shows the model that `call` would create."""
    return same_container(call, described) and described.get("ExecutionRoleArn") == call["ExecutionRoleArn"]


_MODELS = ("VariantName", "ModelName", "InitialVariantWeight")
_FLEET = ("InstanceType", "InitialInstanceCount", "InferenceAmiVersion")


def same_endpoint_config(call: dict[str, Any], described: dict[str, Any]) -> bool:
    """True if DescribeEndpointConfig shows the configuration that `call` would create."""
    return same_models(call, described) and _variants(call, _FLEET) == _variants(described, _FLEET)


def same_models(call: dict[str, Any], described: dict[str, Any]) -> bool:
    """True if DescribeEndpointConfig shows the models and shares of `call`, whatever the machines are."""
    unasked = any(described.get(name) for name in likeness.UNASKED)
    return not unasked and _variants(call, _MODELS) == _variants(described, _MODELS)


def _variants(config: dict[str, Any], compared: tuple[str, ...]) -> list[Any]:
    variants = sorted(config.get("ProductionVariants", []), key=lambda variant: str(variant["VariantName"]))
    return [[variant.get(name) for name in compared] for variant in variants]
