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
BUILD = "make image  (or, by hand, the options of delivery/chain/image.py)"
HOURS_PER_MONTH = 730
ACTIONS_PER_CALL = 100
IMAGE = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.[^/]+/([^@]+)@(sha256:[0-9a-f]{64})")
Types = dict[str, "dict[str, Any] | None"]
"""The schema of each type of resource, None where the region does not have it."""
INSTANCE_TYPES = ("TrainingInstanceType", "EndpointInstanceType", "BatchInstanceType")
SERVICES = {
    "ApiGatewayV2": "apigateway",
    "EMRServerless": "emr-serverless",
    "KinesisFirehose": "firehose",
    "StepFunctions": "states",
}
VCPUS = {"small": 8, "medium": 64, "large": 256}


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
    """The image is `uri`, or else what Parameter Store has under the name in ModelImageUri."""
    name = settings.values["ModelImageUri"]
    if uri is not None:
        return image_findings(account, uri)
    ssm = account.clients("ssm", region_name=account.region)
    try:
        return image_findings(account, str(ssm.get_parameter(Name=name)["Parameter"]["Value"]), name)
    except ssm.exceptions.ParameterNotFound:
        why = "CloudFormation refuses the deployment."
        return [Finding(Level.FAULT, f"the SSM parameter {name} (ModelImageUri) does not exist", why, BUILD)]


def image_findings(account: Account, uri: str, name: str = "") -> list[Finding]:
    """SageMaker takes an image of one platform with Docker's media type; an index is refused after a paid training.
    `name` is the SSM parameter that has the image.
    """
    found = IMAGE.fullmatch(uri)
    if found is None or not is_pinned(uri):
        source = f", of the SSM parameter {name}," if name else ""
        what = f"the image {uri!r}{source} is not an image in ECR by its digest ({FORM})"
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


def region(account: Account, settings: Settings, types: Types) -> list[Finding]:
    """Whether the region has every type of resource and every type of instance that the stack would have."""
    found = [
        Finding(
            Level.FAULT,
            f"{account.region} has no {name}",
            "The deployment would stop half-way and be rolled back.",
            "Choose another region: --region",
        )
        for name, schema in types.items()
        if schema is None
    ]
    wanted = {settings.values[name].removeprefix("ml.") for name in INSTANCE_TYPES}
    offered = account.clients("ec2", region_name=account.region).describe_instance_type_offerings(
        LocationType="region", Filters=[{"Name": "instance-type", "Values": sorted(wanted)}]
    )["InstanceTypeOfferings"]
    for name in sorted(wanted - {one["InstanceType"] for one in offered}):
        why = "A training or an endpoint could never start there."
        used = ", ".join(one for one in INSTANCE_TYPES if settings.values[one].removeprefix("ml.") == name)
        found.append(
            Finding(
                Level.FAULT,
                f"{account.region} has no instances of the type {name}",
                why,
                f"Choose another type: {used}",
            )
        )
    if not found:
        count = len(types)
        found.append(Finding(Level.FINE, f"{account.region} has all {count} types of resources, and the instances"))
    return found


def types_of(account: Account, settings: Settings) -> Types:
    """The schema of each type of resource of the template; None where the region does not have the type."""
    client = account.clients("cloudformation", region_name=account.region)
    found: Types = {}
    for name in sorted(settings.resource_types()):
        if name.startswith(("AWS::CloudFormation::", "Custom::")):
            continue
        try:
            found[name] = json.loads(client.describe_type(Type="RESOURCE", TypeName=name)["Schema"])
        except ClientError as error:
            if error.response["Error"].get("Code") != "TypeNotFoundException":
                raise
            found[name] = None
    return found


def permissions(account: Account, settings: Settings, types: Types, role: str | None = None) -> list[Finding]:
    """Whether `role`, or else the caller, may make every resource: the actions are those of AWS's resource schemas, and
    each is simulated on names that the stack would have.
    """
    if not types:
        what = "permissions were not looked at: the types of resources, which say what is needed, could not be"
        return [Finding(Level.UNKNOWN, what, "It may stop the deployment.")]
    caller = account.clients("sts", region_name=account.region).get_caller_identity()["Arn"]
    principal = role or principal_of(caller)
    if principal.endswith(":root"):
        return [Finding(Level.WARNING, "the caller is the account's root user", "Use a role: root cannot be limited.")]
    actions = _creating(types) | {"iam:PassRole"} | (set() if role else {"cloudformation:CreateChangeSet"})
    denied = list(_denied(account, settings, principal, actions))
    # A schema also lists what options need that the template does not use: of other services, and so told apart.
    own = {_service_of(name) for name in types} | {"cloudformation", "iam"}
    needed = sorted(one for one in denied if one.partition(":")[0] in own)
    others = sorted(set(denied) - set(needed))
    found = []
    if needed:
        why = "The deployment would stop half-way and be rolled back."
        remedy = f"Give {principal} these actions, or deploy with the role of delivery/chain/template.yaml."
        found.append(Finding(Level.FAULT, f"{principal} may not: {_some(needed)}", why, remedy))
    else:
        what = f"{principal} may do the {len(actions) - len(others)} actions that make the stack's resources"
        found.append(Finding(Level.FINE, what))
    if others:
        why = "Some options of these resources need them; the template sets none that is known to."
        found.append(Finding(Level.WARNING, f"{principal} may not: {_some(others)}", why))
    return found


def _denied(account: Account, settings: Settings, principal: str, actions: set[str]) -> Iterator[str]:
    iam = account.clients("iam")
    services: dict[str, list[str]] = {}
    for action in sorted(actions):
        services.setdefault(action.partition(":")[0], []).append(action)
    for service, names in services.items():
        context = [
            {"ContextKeyName": "iam:PassedToService", "ContextKeyValues": ["lambda.amazonaws.com"]}
            | {"ContextKeyType": "string"}
        ]
        for first in range(0, len(names), ACTIONS_PER_CALL):
            pages = iam.get_paginator("simulate_principal_policy").paginate(
                PolicySourceArn=principal,
                ActionNames=names[first : first + ACTIONS_PER_CALL],
                ResourceArns=[_resource(account, settings, principal, service)],
                ContextEntries=context if service == "iam" else [],
            )
            for page in pages:
                for result in page["EvaluationResults"]:
                    if result["EvalDecision"] != "allowed":
                        yield result["EvalActionName"]


def _resource(account: Account, settings: Settings, principal: str, service: str) -> str:
    """A resource that the stack would have, for the simulation; `*` where its name cannot be known."""
    _, partition, _, _, owner, _ = principal.split(":", 5)
    prefix = settings.values.get("NamePrefix", "ncf")
    known = {
        "lambda": f"function:{prefix}-preflight",
        "states": f"stateMachine:{prefix}-preflight",
        "events": f"rule/{prefix}-preflight",
        "scheduler": f"schedule/default/{prefix}-preflight",
        "dynamodb": f"table/{settings.stack}-preflight",
        "sns": f"{prefix}-preflight",
        "sqs": f"{prefix}-preflight",
        "firehose": f"deliverystream/{prefix}-preflight",
        "cloudwatch": f"alarm:{prefix}-preflight",
        "codedeploy": f"application:{settings.stack}-preflight",
        "sagemaker": f"model-package-group/{prefix}-preflight",
        "logs": f"log-group:/aws/lambda/{prefix}-preflight",
        "kms": "key/00000000-0000-0000-0000-000000000000",
        "emr-serverless": "/applications/preflight",
        "cloudformation": f"stack/{settings.stack}/preflight",
    }
    if service == "iam":
        return f"arn:{partition}:iam::{owner}:role/{settings.stack}-preflight"
    if service == "s3":
        return f"arn:{partition}:s3:::{settings.stack}-preflight"
    if service == "apigateway":
        return f"arn:{partition}:apigateway:{account.region}::/apis"
    return f"arn:{partition}:{service}:{account.region}:{owner}:{known[service]}" if service in known else "*"


def _some(actions: list[str]) -> str:
    return ", ".join(actions[:12]) + (f" and {len(actions) - 12} more" if len(actions) > 12 else "")


def _service_of(resource_type: str) -> str:
    """The prefix of a type's own actions."""
    name = resource_type.split("::")[1]
    return SERVICES.get(name, name.lower())


def principal_of(caller: str) -> str:
    """The ARN whose policies are simulated: of an assumed role, the role."""
    found = re.fullmatch(r"arn:([^:]+):sts::(\d{12}):assumed-role/([^/]+)/.*", caller)
    return f"arn:{found[1]}:iam::{found[2]}:role/{found[3]}" if found else caller


def _creating(types: Types) -> set[str]:
    schemas = [schema for schema in types.values() if schema is not None]
    actions = {one for schema in schemas for one in schema.get("handlers", {}).get("create", {}).get("permissions", [])}
    return {action for action in actions if "*" not in action}


def silence(settings: Settings) -> list[Finding]:
    """A person who has to approve, or to hear of a failure, must be reachable."""
    reached = [value for name in ("NotificationEmail", "NotificationUrl") if (value := settings.values.get(name))]
    if reached:
        return [Finding(Level.FINE, f"notifications go to {' and '.join(reached)}")]
    manual = settings.values.get("ApprovalMode") == "manual"
    level = Level.FAULT if manual else Level.WARNING
    what = "NotificationEmail and NotificationUrl are empty" + (", and ApprovalMode is manual" if manual else "")
    hours = settings.values.get("ApprovalDeadlineHours", "168")
    why = f"Models wait {hours} h unseen and are then rejected." if manual else "Nobody receives failures and alarms."
    return [Finding(level, what, why, "Set NotificationEmail or NotificationUrl.")]


def cost(account: Account, settings: Settings) -> list[Finding]:
    """Costs of a month while nothing happens, which is the endpoint, and of an hour of training."""
    values = settings.values
    kind, count = values["EndpointInstanceType"], int(values["EndpointInstanceCount"])
    price = _price(account, kind, "Hosting")
    found = [_unpriced(account, kind, "hosting")]
    if price is not None:
        month = price * count * HOURS_PER_MONTH
        what = f"the endpoint ({count} × {kind} at ${price:.3f} an hour) costs about ${month:,.0f} a month"
        found = [Finding(Level.WARNING if month > 1000 else Level.FINE, what)]
    kind, count = values["TrainingInstanceType"], int(values["TrainingInstanceCount"])
    price = _price(account, kind, "Training")
    if price is None:
        return [*found, _unpriced(account, kind, "training")]
    spot = ", and about a third of it on spot" if values["TrainingUseSpot"] == "true" else ""
    return [*found, Finding(Level.FINE, f"an hour of training ({count} × {kind}) costs ${price * count:.2f}{spot}")]


def _unpriced(account: Account, kind: str, use: str) -> Finding:
    return Finding(Level.UNKNOWN, f"the price list has no {kind} for {use} in {account.region}")


def _price(account: Account, instance_type: str, component: str) -> float | None:
    client = account.clients("pricing", region_name="us-east-1")  # the price list of all regions
    filters = [
        {"Type": "TERM_MATCH", "Field": "regionCode", "Value": account.region},
        {"Type": "TERM_MATCH", "Field": "instanceName", "Value": instance_type},
    ]
    for page in client.get_paginator("get_products").paginate(ServiceCode="AmazonSageMaker", Filters=filters):
        for entry in map(json.loads, page["PriceList"]):
            if component not in str(entry["product"]["attributes"].get("component", "")):
                continue
            for term in entry["terms"].get("OnDemand", {}).values():
                for dimension in term["priceDimensions"].values():
                    if (price := float(dimension["pricePerUnit"].get("USD", 0))) > 0:
                        return price
    return None
