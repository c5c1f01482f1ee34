"""Endpoints: creation, blue/green update with rollback, deletion, and their return after a restart of the host.

An update starts the new containers next to the old ones and shifts traffic when all are healthy; then the old ones end.
If the new ones do not become healthy, or an alarm of the deployment configuration is in ALARM, the endpoint is
InService again on the *old* configuration with no FailureReason, as on AWS: success is InService *and* the wanted
``EndpointConfigName``.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from typing import Any

from laptop_aws import calls, registry
from laptop_aws.sagemaker import events, listing, settings
from laptop_aws.sagemaker.containers import Container, Fleet
from laptop_aws.sagemaker.models import find_config, find_model
from laptop_aws.sagemaker.store import arn, store, tag
from laptop_aws.scalable_targets import is_scaled
from laptop_aws.service_model import validation_error
from laptop_aws.store import Record, now, public, scope

logger = logging.getLogger("emulator")

DEFAULT_HEALTH_CHECK_SECONDS = 480
_IN_PROGRESS = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
_choice = random.Random()


class _Deployment:
    """The fleets of one endpoint: the one that gets traffic, and the one being started, if any."""

    def __init__(self) -> None:
        self.serving: Fleet | None = None
        self.starting: Fleet | None = None
        self.abandoned = threading.Event()

    def fleets(self) -> list[Fleet]:
        return [fleet for fleet in (self.serving, self.starting) if fleet is not None]


_deployments: dict[tuple[tuple[str, str], str], _Deployment] = {}


# ---- operations ------------------------------------------------------------------------------------------------------


def create(request: Record) -> Record:
    name, endpoint_arn = request["EndpointName"], arn("endpoint", request["EndpointName"])
    with store.lock:
        if name in store.tables().endpoints:
            raise validation_error(f'Cannot create already existing endpoint "{endpoint_arn}".')
        variants = _resolved(find_config(request["EndpointConfigName"]))
        moment = now()
        endpoint = {
            "EndpointName": name,
            "EndpointArn": endpoint_arn,
            "EndpointConfigName": request["EndpointConfigName"],
            "EndpointStatus": "Creating",
            "CreationTime": moment,
            "LastModifiedTime": moment,
            "_Variants": variants,
            "_DeploymentConfig": request.get("DeploymentConfig"),
        }
        store.tables().endpoints[name] = endpoint
        deployment = _deployments[scope(), name] = _Deployment()
    tag(endpoint_arn, request.get("Tags"))
    registry.in_background(_deploy_first, endpoint, deployment, name=f"endpoint-{name}")
    return {"EndpointArn": endpoint_arn}


def update(request: Record) -> Record:
    name = request["EndpointName"]
    with store.lock:
        endpoint = _find(name)
        _refuse_in_progress(endpoint)
        if endpoint["EndpointStatus"] != "InService":
            raise validation_error(
                f'Cannot update endpoint "{endpoint["EndpointArn"]}" in status {endpoint["EndpointStatus"]}.'
            )
        variants = _resolved(find_config(request["EndpointConfigName"]))
        _refuse_if_scaled(endpoint, variants)
        if request.get("RetainAllVariantProperties"):
            _retain(endpoint, variants, request.get("ExcludeRetainedVariantProperties", []))
        deployment = _deployments[scope(), name]
        endpoint["PendingDeploymentSummary"] = {
            "EndpointConfigName": request["EndpointConfigName"],
            "ProductionVariants": [{**_summary(variant), "CurrentInstanceCount": 0} for variant in variants],
            "StartTime": now(),
        }
        if not request.get("RetainDeploymentConfig"):
            endpoint["_DeploymentConfig"] = request.get("DeploymentConfig")
        endpoint["EndpointStatus"] = "Updating"
    _enter(endpoint, "Updating")
    registry.in_background(
        _deploy_update, endpoint, deployment, request["EndpointConfigName"], variants, name=f"endpoint-{name}"
    )
    return {"EndpointArn": endpoint["EndpointArn"]}


def update_weights(request: Record) -> Record:
    with store.lock:
        endpoint = _find(request["EndpointName"])
        _refuse_in_progress(endpoint)
        by_name = {variant["VariantName"]: variant for variant in endpoint["_Variants"]}
        for wanted in request["DesiredWeightsAndCapacities"]:
            variant = by_name.get(wanted["VariantName"])
            if variant is None:
                raise validation_error(
                    f'The variant name(s) "{wanted["VariantName"]}" is/are not present within endpoint configuration'
                )
            variant["InitialVariantWeight"] = wanted.get("DesiredWeight", variant["InitialVariantWeight"])
            variant["InitialInstanceCount"] = wanted.get("DesiredInstanceCount", variant["InitialInstanceCount"])
    _enter(endpoint, "Updating")
    _enter(endpoint, "InService", ProductionVariants=[_summary(variant) for variant in endpoint["_Variants"]])
    return {"EndpointArn": endpoint["EndpointArn"]}


def describe(request: Record) -> Record:
    with store.lock:
        endpoint = _find(request["EndpointName"])
        shown = public(endpoint)
        if endpoint.get("_DeploymentConfig"):
            shown["LastDeploymentConfig"] = endpoint["_DeploymentConfig"]
        return shown


def delete(request: Record) -> Record:
    name = request["EndpointName"]
    with store.lock:
        endpoint = _find(name)
        _refuse_in_progress(endpoint)
        deployment = _deployments.get((scope(), name))
        endpoint["EndpointStatus"] = "Deleting"
    _enter(endpoint, "Deleting")
    registry.in_background(_delete, endpoint, deployment, name=f"endpoint-{name}")
    return {}


def list_endpoints(request: Record) -> Record:
    with store.lock:
        rows, token = listing.select(
            store.tables().endpoints.values(), request, name="EndpointName", status="EndpointStatus", descending=True
        )
        members = ("EndpointName", "EndpointArn", "CreationTime", "LastModifiedTime", "EndpointStatus")
        return listing.answer("Endpoints", [listing.summary(row, *members) for row in rows], token)


def serving_container(name: str, variant: str | None) -> Container | None:
    """The container that answers the next request: by weight, or the named variant's. None when the endpoint does not
    serve.

    Raises KeyError for a variant that the endpoint does not have.
    """
    with store.lock:
        endpoint = store.tables().endpoints.get(name)
        deployment = _deployments.get((scope(), name))
        if endpoint is None or deployment is None or deployment.serving is None:
            return None
        containers = {container.name: container for container in deployment.serving.containers}
        weights = {entry["VariantName"]: entry["InitialVariantWeight"] for entry in endpoint["_Variants"]}
    if variant is not None:
        return containers[variant]
    names = list(containers)
    chances = [weights.get(name, 1.0) for name in names]
    return containers[_choice.choices(names, chances if sum(chances) > 0 else None)[0]]


def _find(name: str) -> Record:
    endpoint = store.tables().endpoints.get(name)
    if endpoint is None:
        raise validation_error(f'Could not find endpoint "{arn("endpoint", name)}".')
    return endpoint


def _refuse_in_progress(endpoint: Record) -> None:
    if endpoint["EndpointStatus"] in _IN_PROGRESS:
        raise validation_error(f'Cannot update in-progress endpoint "{endpoint["EndpointArn"]}".')


def _resolved(config: Record) -> list[Record]:
    """A copy of all that the variants need, so that deleting a configuration or model later does not end the running
    containers. Raises ServiceError."""
    variants = []
    for variant in config["ProductionVariants"]:
        model = find_model(variant["ModelName"])
        variants.append(
            {
                "VariantName": variant["VariantName"],
                "InstanceType": variant["InstanceType"],
                "InitialInstanceCount": variant["InitialInstanceCount"],
                "InitialVariantWeight": variant["InitialVariantWeight"],
                "HealthCheckSeconds": variant.get(
                    "ContainerStartupHealthCheckTimeoutInSeconds", DEFAULT_HEALTH_CHECK_SECONDS
                ),
                **model["_Container"],
            }
        )
    return variants


def has_variant(name: str, variant: str) -> bool:
    """True if the endpoint exists and has the variant."""
    with store.lock:
        endpoint = store.tables().endpoints.get(name, {})
        return any(one["VariantName"] == variant for one in endpoint.get("_Variants", []))


def _refuse_if_scaled(endpoint: Record, variants: list[Record]) -> None:
    """Raises ServiceError when a scaled variant would be removed or get another instance type."""
    coming = {variant["VariantName"]: variant.get("InstanceType") for variant in variants}
    changed = [
        one["VariantName"]
        for one in endpoint["_Variants"]
        if coming.get(one["VariantName"]) != one.get("InstanceType")
        and is_scaled(endpoint["EndpointName"], one["VariantName"])
    ]
    if changed:
        raise validation_error(
            f"The variant(s) {json.dumps(changed)} must be deregistered as scalable targets with AWS Auto Scaling "
            "before they can be removed or have their instance type updated."
        )


def _retain(endpoint: Record, variants: list[Record], excluded: list[Record]) -> None:
    left_out = {entry["VariantPropertyType"] for entry in excluded}
    current = {variant["VariantName"]: variant for variant in endpoint["_Variants"]}
    for variant in variants:
        before = current.get(variant["VariantName"], variant)
        if "DesiredInstanceCount" not in left_out:
            variant["InitialInstanceCount"] = before["InitialInstanceCount"]
        if "DesiredWeight" not in left_out:
            variant["InitialVariantWeight"] = before["InitialVariantWeight"]


def _summary(variant: Record) -> Record:
    """The variant in the form of DescribeEndpoint. CurrentInstanceCount is always 1: a laptop runs one process per
    variant."""
    return {
        "VariantName": variant["VariantName"],
        "DeployedImages": [
            {"SpecifiedImage": variant["Image"], "ResolvedImage": variant["Image"], "ResolutionTime": now()}
        ],
        "CurrentWeight": variant["InitialVariantWeight"],
        "DesiredWeight": variant["InitialVariantWeight"],
        "CurrentInstanceCount": min(variant["InitialInstanceCount"], 1),
        "DesiredInstanceCount": variant["InitialInstanceCount"],
    }


# ---- deployments, each on a thread of its own ------------------------------------------------------------------------


def _deploy_first(endpoint: Record, deployment: _Deployment) -> None:
    events.endpoint_changed(_snapshot(endpoint))
    reason = _start(endpoint, deployment, endpoint["_Variants"])
    if deployment.abandoned.is_set():
        return
    if reason:
        _enter(endpoint, "Failed", FailureReason=reason[:1024])
        return
    _shift(endpoint, deployment, endpoint["EndpointConfigName"], endpoint["_Variants"])
    _enter(endpoint, "InService")


def _deploy_update(endpoint: Record, deployment: _Deployment, config_name: str, variants: list[Record]) -> None:
    reason = _alarm_of(endpoint) or _start(endpoint, deployment, variants) or _alarm_of(endpoint)
    if deployment.abandoned.is_set():
        return
    old = deployment.serving
    if not reason:
        old_config, old_variants = endpoint["EndpointConfigName"], endpoint["_Variants"]
        _shift(endpoint, deployment, config_name, variants)
        deployment.abandoned.wait(_bake_seconds(endpoint))
        if deployment.abandoned.is_set():
            return
        reason = _alarm_of(endpoint)
        if reason:
            deployment.starting = deployment.serving
            with store.lock:
                deployment.serving = old
                endpoint |= {
                    "EndpointConfigName": old_config,
                    "_Variants": old_variants,
                    "ProductionVariants": [_summary(variant) for variant in old_variants],
                }
    if reason:
        logger.info("endpoint %s: update to %s rolled back: %s", endpoint["EndpointName"], config_name, reason)
        _enter(endpoint, "RollingBack")
        if deployment.starting is not None:
            deployment.starting.stop()
            deployment.starting = None
    elif old is not None:
        old.stop()
    with store.lock:
        endpoint.pop("PendingDeploymentSummary", None)
    if not deployment.abandoned.is_set():
        _enter(endpoint, "InService")


def _start(endpoint: Record, deployment: _Deployment, variants: list[Record]) -> str | None:
    fleet = Fleet(endpoint["EndpointName"], variants)
    with store.lock:
        if deployment.abandoned.is_set():
            return "abandoned"
        deployment.starting = fleet
    reason = fleet.start()
    if reason:
        deployment.starting = None
    return reason


def _shift(endpoint: Record, deployment: _Deployment, config_name: str, variants: list[Record]) -> None:
    """Gives all traffic to the started fleet."""
    with store.lock:
        deployment.serving, deployment.starting = deployment.starting, None
        endpoint |= {
            "EndpointConfigName": config_name,
            "_Variants": variants,
            "ProductionVariants": [_summary(variant) for variant in variants],
        }


def _bake_seconds(endpoint: Record) -> float:
    policy = (endpoint.get("_DeploymentConfig") or {}).get("BlueGreenUpdatePolicy", {})
    asked = policy.get("TerminationWaitInSeconds", 0) + policy.get("TrafficRoutingConfiguration", {}).get(
        "WaitIntervalInSeconds", 0
    )
    return min(float(asked), settings.bake())


def _alarm_of(endpoint: Record) -> str | None:
    """The first alarm of the deployment configuration that is in ALARM, as a reason to roll back."""
    rollback = (endpoint.get("_DeploymentConfig") or {}).get("AutoRollbackConfiguration", {})
    names = [alarm["AlarmName"] for alarm in rollback.get("Alarms", ()) if alarm.get("AlarmName")]
    if not names:
        return None
    with calls.acting_as(endpoint["_Variants"][0].get("RoleArn", "")):
        found = registry.client("cloudwatch").describe_alarms(AlarmNames=names)
    ringing = [
        alarm["AlarmName"]
        for kind in ("MetricAlarms", "CompositeAlarms")
        for alarm in found.get(kind, ())
        if alarm["StateValue"] == "ALARM"
    ]
    return f"alarm {ringing[0]} is in ALARM" if ringing else None


def _delete(endpoint: Record, deployment: _Deployment | None) -> None:
    if deployment is not None:
        deployment.abandoned.set()
        for fleet in deployment.fleets():
            fleet.stop()
    name = endpoint["EndpointName"]
    with store.lock:
        store.tables().endpoints.pop(name, None)
        store.tables().tags.pop(endpoint["EndpointArn"], None)
        _deployments.pop((scope(), name), None)
    registry.mark_changed()


def _enter(endpoint: Record, status: str, **members: Any) -> None:
    with store.lock:
        if status != "Failed":
            endpoint.pop("FailureReason", None)
        endpoint |= {"EndpointStatus": status, "LastModifiedTime": now()} | members
        snapshot = public(endpoint)
    registry.mark_changed()
    logger.info("endpoint %s: %s on %s", endpoint["EndpointName"], status, endpoint["EndpointConfigName"])
    events.endpoint_changed(snapshot)


def _snapshot(endpoint: Record) -> Record:
    with store.lock:
        return public(endpoint)


# ---- the host's life -------------------------------------------------------------------------------------------------


def note_restart() -> None:
    """After a restart: marks endpoints that served as ``SystemUpdating``; an update in progress is abandoned."""
    from ministack.core.responses import request_scope

    for account, region in store.scopes():
        with request_scope(account, region), store.lock:
            for endpoint in store.tables().endpoints.values():
                interrupted = endpoint["EndpointStatus"] in ("Updating", "RollingBack")
                endpoint.pop("PendingDeploymentSummary", None)
                if interrupted:
                    endpoint["EndpointStatus"] = "RollingBack"
                elif endpoint["EndpointStatus"] in ("InService", "SystemUpdating"):
                    endpoint["EndpointStatus"] = "SystemUpdating"


def restore() -> None:
    """Starts the containers of every endpoint that served, and finishes creations and deletions."""
    from ministack.core.responses import request_scope

    for account, region in store.scopes():
        with request_scope(account, region):
            with store.lock:
                endpoints = [
                    endpoint
                    for name, endpoint in store.tables().endpoints.items()
                    if (scope(), name) not in _deployments
                ]
            for endpoint in endpoints:
                _restore(endpoint)


def _restore(endpoint: Record) -> None:
    name, status = endpoint["EndpointName"], endpoint["EndpointStatus"]
    if status == "Deleting":
        _delete(endpoint, None)
        return
    deployment = _Deployment()
    with store.lock:
        _deployments[scope(), name] = deployment
    if status in ("Creating", "SystemUpdating", "RollingBack"):
        registry.in_background(_deploy_first, endpoint, deployment, name=f"endpoint-{name}")


def close() -> None:
    """Ends all containers when the host ends; the endpoints' records stay unchanged."""
    _end_all()


def abandon_all() -> None:
    _end_all()
    with store.lock:
        _deployments.clear()


def _end_all() -> None:
    with store.lock:
        deployments = list(_deployments.values())
        for deployment in deployments:
            deployment.abandoned.set()
    fleets = [fleet for deployment in deployments for fleet in deployment.fleets()]
    threads = [threading.Thread(target=fleet.kill, daemon=True) for fleet in fleets]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 2
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
