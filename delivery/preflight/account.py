"""Limits of an AWS account: image, quotas, instance types, permissions and prices. Reads only."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from contracts.model_image import FORM, is_pinned
from delivery.preflight.findings import Finding, Level
from delivery.preflight.settings import Settings

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
BUILD = "docker buildx build --provenance=false --sbom=false --output type=registry,oci-mediatypes=false … (README)"
HOURS_PER_MONTH = 730
ACTIONS_PER_CALL = 100
IMAGE = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.[^/]+/([^@]+)@(sha256:[0-9a-f]{64})")
VCPUS = {"small": 16, "medium": 64, "large": 256}


class Clients(Protocol):
    """Makes boto3 clients, as `boto3.Session.client`."""

    def __call__(self, service: str, **settings: Any) -> Any: ...


@dataclass(frozen=True)
class Account:
    """One account and region; `clients` makes its clients."""

    clients: Clients
    region: str

    def look(self, what: str, check: Callable[[], list[Finding]]) -> list[Finding]:
        """The findings of `check`; what AWS refuses to answer is UNKNOWN, and stops no other check."""
        try:
            return check()
        except (ClientError, BotoCoreError) as error:
            return [Finding(Level.UNKNOWN, f"{what} could not be looked at: {error}", "It may stop the deployment.")]


def image(account: Account, settings: Settings, uri: str | None = None) -> list[Finding]:
    """SageMaker takes an image of one platform with Docker's media type; an index is refused after a paid training.
    The image is `uri`, or else what Parameter Store has under the name in ModelImageUri."""
    name = settings.values["ModelImageUri"]
    if uri is None:
        ssm = account.clients("ssm", region_name=account.region)
        try:
            uri = str(ssm.get_parameter(Name=name)["Parameter"]["Value"])
        except ssm.exceptions.ParameterNotFound:
            why = "CloudFormation refuses the deployment."
            return [Finding(Level.FAULT, f"the SSM parameter {name} (ModelImageUri) does not exist", why, BUILD)]
    found = IMAGE.fullmatch(uri)
    if found is None or not is_pinned(uri):
        what = f"the image {uri!r}, of the SSM parameter {name}, is not an image in ECR by its digest ({FORM})"
        return [Finding(Level.FAULT, what, "The deployment refuses it.", BUILD)]
    registry, region, repository, digest = found.groups()
    answer = account.clients("ecr", region_name=region).batch_get_image(
        registryId=registry, repositoryName=repository, imageIds=[{"imageDigest": digest}]
    )
    if not answer.get("images"):
        reason = (answer.get("failures") or [{}])[0].get("failureReason", "there is no such image")
        return [
            Finding(Level.FAULT, f"the image {uri} cannot be pulled: {reason}", "Nothing can train or serve.", BUILD)
        ]
    media = answer["images"][0].get("imageManifestMediaType") or "unknown"
    if media != DOCKER_MANIFEST:
        why = f"SageMaker takes {DOCKER_MANIFEST}, and refuses others when a model is made, after a paid training."
        return [Finding(Level.FAULT, f"the image {uri} has a manifest of the type {media}", why, BUILD)]
    where = [] if region == account.region else [_elsewhere(uri, region, account.region)]
    return [Finding(Level.FINE, f"the image {repository}@{digest[:19]}… has a manifest that SageMaker takes"), *where]


def _elsewhere(uri: str, region: str, own: str) -> Finding:
    why = "SageMaker pulls images from its own region only."
    return Finding(Level.FAULT, f"the image {uri} is in {region}, and the stack would be in {own}", why, BUILD)


def quotas(account: Account, settings: Settings) -> list[Finding]:
    """The quotas that a run and a deployment need, by their names in Service Quotas."""
    found: list[Finding] = []
    for service, needs in _needs(settings).items():
        limits = _limits(account, service)
        found += [_quota(account, service, name, least, limits.get(name)) for name, least in needs.items()]
    return found


def _needs(settings: Settings) -> dict[str, dict[str, float]]:
    value = settings.values
    machines = max(int(value["EndpointInstanceCount"]), int(value["EndpointMaximumInstances"]))
    # A blue/green update runs the old and the new fleet side by side; a rolling one replaces batches.
    fleets = 1 if value["DeploymentStrategy"] == "ROLLING" else 2
    kind = "spot training job" if value["TrainingUseSpot"] == "true" else "training job"
    return {
        "sagemaker": {
            f"{value['EndpointInstanceType']} for endpoint usage": machines * fleets,
            f"{value['TrainingInstanceType']} for {kind} usage": int(value["TrainingInstanceCount"]),
            f"{value['BatchInstanceType']} for transform job usage": int(value["BatchInstanceCount"]),
        },
        "emr-serverless": {"Max concurrent vCPUs per account": VCPUS[value["PreparationCapacity"]]},
        "lambda": {"Concurrent executions": 100},
    }


def _limits(account: Account, service: str) -> dict[str, tuple[float, str]]:
    """Quota name → value and code. An applied value replaces the default."""
    client = account.clients("service-quotas", region_name=account.region)
    found: dict[str, tuple[float, str]] = {}
    for operation in ("list_aws_default_service_quotas", "list_service_quotas"):
        for page in client.get_paginator(operation).paginate(ServiceCode=service):
            found |= {quota["QuotaName"]: (quota["Value"], quota["QuotaCode"]) for quota in page["Quotas"]}
    return found


def _quota(account: Account, service: str, name: str, least: float, limit: tuple[float, str] | None) -> Finding:
    if limit is None:
        return Finding(
            Level.UNKNOWN,
            f"{service}: there is no quota {name!r}",
            "Its name may have changed, or the region lacks it.",
        )
    value, code = limit
    if value >= least:
        return Finding(Level.FINE, f"{service}: {name}: {value:g}, {least:g} are needed")
    return Finding(
        Level.FAULT,
        f"{service}: {name}: {value:g}, and {least:g} are needed",
        "A run would wait as PARKED until the quota is raised; new accounts often have 0.",
        f"aws service-quotas request-service-quota-increase --region {account.region} --service-code {service} "
        f"--quota-code {code} --desired-value {least:g}",
    )


def permissions(account: Account, settings: Settings) -> list[Finding]:
    """Whether the caller may make every resource of the template: the actions are those of AWS's resource schemas."""
    caller = account.clients("sts", region_name=account.region).get_caller_identity()["Arn"]
    principal = principal_of(caller)
    if principal.endswith(":root"):
        return [Finding(Level.WARNING, "the caller is the account's root user", "Use a role: root cannot be limited.")]
    actions = sorted(_creating(account, settings) | {"iam:PassRole", "cloudformation:CreateChangeSet"})
    denied: list[str] = []
    iam = account.clients("iam")
    for first in range(0, len(actions), ACTIONS_PER_CALL):
        pages = iam.get_paginator("simulate_principal_policy").paginate(
            PolicySourceArn=principal, ActionNames=actions[first : first + ACTIONS_PER_CALL]
        )
        denied += [
            result["EvalActionName"]
            for page in pages
            for result in page["EvaluationResults"]
            if result["EvalDecision"] != "allowed"
        ]
    if not denied:
        return [Finding(Level.FINE, f"{principal} may do the {len(actions)} actions that make the stack's resources")]
    shown = ", ".join(sorted(denied)[:12]) + (f" and {len(denied) - 12} more" if len(denied) > 12 else "")
    why = "The deployment would stop half-way and be rolled back."
    return [Finding(Level.FAULT, f"{principal} may not: {shown}", why, "Give the role these actions, or use another.")]


def principal_of(caller: str) -> str:
    """The ARN whose policies are simulated: of an assumed role, the role."""
    found = re.fullmatch(r"arn:([^:]+):sts::(\d{12}):assumed-role/([^/]+)/.*", caller)
    return f"arn:{found[1]}:iam::{found[2]}:role/{found[3]}" if found else caller


def _creating(account: Account, settings: Settings) -> set[str]:
    client = account.clients("cloudformation", region_name=account.region)
    actions: set[str] = set()
    for name in sorted(settings.resource_types()):
        if name.startswith(("AWS::CloudFormation::", "Custom::")):
            continue
        schema = json.loads(client.describe_type(Type="RESOURCE", TypeName=name)["Schema"])
        actions |= set(schema.get("handlers", {}).get("create", {}).get("permissions", []))
    return {action for action in actions if "*" not in action}


def silence(settings: Settings) -> list[Finding]:
    """A person who has to approve, or to hear of a failure, must be reachable."""
    if settings.values.get("NotificationEmail"):
        return [Finding(Level.FINE, f"notifications go to {settings.values['NotificationEmail']}")]
    manual = settings.values.get("ApprovalMode") == "manual"
    level = Level.FAULT if manual else Level.WARNING
    what = "NotificationEmail is empty" + (", and ApprovalMode is manual" if manual else "")
    hours = settings.values.get("ApprovalDeadlineHours", "168")
    why = f"Models wait {hours} h unseen and are then rejected." if manual else "Nobody receives failures and alarms."
    return [Finding(level, what, why, "Set NotificationEmail, or subscribe to the topic NotificationsTopicArn.")]


def cost(account: Account, settings: Settings) -> list[Finding]:
    """Cost of the endpoint in a month while nothing happens, by AWS's price list."""
    value, count = settings.values["EndpointInstanceType"], int(settings.values["EndpointInstanceCount"])
    price = next(_hosting_prices(account, value), None)
    if price is None:
        return [Finding(Level.UNKNOWN, f"the price list has no {value} for hosting in {account.region}")]
    month = price * count * HOURS_PER_MONTH
    what = f"the endpoint ({count} × {value} at ${price:.3f} an hour) costs about ${month:,.0f} a month"
    return [Finding(Level.WARNING if month > 1000 else Level.FINE, what)]


def _hosting_prices(account: Account, instance_type: str) -> Iterator[float]:
    client = account.clients("pricing", region_name="us-east-1")  # the price list of all regions
    filters = [
        {"Type": "TERM_MATCH", "Field": "regionCode", "Value": account.region},
        {"Type": "TERM_MATCH", "Field": "instanceName", "Value": instance_type},
    ]
    for page in client.get_paginator("get_products").paginate(ServiceCode="AmazonSageMaker", Filters=filters):
        for entry in map(json.loads, page["PriceList"]):
            if "Hosting" not in str(entry["product"]["attributes"].get("component", "")):
                continue
            for term in entry["terms"].get("OnDemand", {}).values():
                for dimension in term["priceDimensions"].values():
                    if (price := float(dimension["pricePerUnit"].get("USD", 0))) > 0:
                        yield price
