"""A second stack on an embedded AWS that has one, under names that begin like the first one's; and what both have."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from delivery.teardown import Teardown
from local.project import Project
from tests.e2e.deployed_stack import PROJECT_ROOT, DeployedStack
from tests.permissions.replay import Account

NAME, PREFIX = "ncf-local-prod", "ncf-prod"
VERSION = re.compile(r"v\d{8}t\d{6}z-[0-9a-f]{8}")
MACHINES = ("Preparation", "Retraining", "Rollback", "Batch")


@contextmanager
def second_stack(first: DeployedStack) -> Iterator[DeployedStack]:
    """The stack `ncf-local-prod` with the prefix `ncf-prod`, from what `up` has built for `ncf-local` with `ncf`; it is
    torn down at the end.
    """
    project = Project(PROJECT_ROOT, first.state, first.port)
    settings = tomllib.loads((PROJECT_ROOT / "samconfig.toml").read_text("utf-8"))["local"]["deploy"]["parameters"]
    deploy = [str(project.sam), "deploy", "--template-file", str(first.state / "build" / "template.yaml")]
    deploy += ["--config-file", str(PROJECT_ROOT / "samconfig.toml"), "--config-env", "local"]
    deploy += ["--stack-name", NAME, "--s3-prefix", NAME, "--no-confirm-changeset", "--no-progressbar"]
    deploy += ["--parameter-overrides", *settings["parameter_overrides"], f"NamePrefix={PREFIX}"]
    environment = project.environment() | {"SAM_CLI_POLL_DELAY": "0.5"}
    done = subprocess.run(deploy, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    second = DeployedStack(first.state, first.port, NAME)
    first.others.append(Account.of_stack(NAME, first.client))
    try:
        yield second
    finally:
        Teardown.of(second.client, NAME).remove(print)


def versions(stack: DeployedStack) -> dict[str, set[str]]:
    """The dataset versions that are met in each place of a stack."""
    s3 = stack.client("s3")
    keys = [
        entry["Key"]
        for name in ("DataBucketName", "ArtifactsBucketName")
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=stack.outputs[name])
        for entry in page.get("Contents", [])
    ]
    executions = [one["name"] for machine in MACHINES for one in stack.executions(machine)]
    ledger = stack.ledger.scan()["Items"]
    found = {"buckets": keys, "executions": executions, "ledger": ledger}
    return {place: set(VERSION.findall(json.dumps(what, default=str))) for place, what in found.items()}


def inventory(stack: DeployedStack) -> dict[str, set[str]]:
    """The names of what an account has, whosever it is."""
    return {
        f"{service} {key}": {one[name] for page in pages for one in page[key]}
        for service, operation, key, name in (
            ("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
            ("events", "list_rules", "Rules", "Name"),
            ("lambda", "list_functions", "Functions", "FunctionName"),
            ("sagemaker", "list_endpoints", "Endpoints", "EndpointName"),
            ("sagemaker", "list_endpoint_configs", "EndpointConfigs", "EndpointConfigName"),
            ("sagemaker", "list_models", "Models", "ModelName"),
            ("scheduler", "list_schedules", "Schedules", "Name"),
            ("stepfunctions", "list_state_machines", "stateMachines", "name"),
        )
        for pages in [list(stack.client(service).get_paginator(operation).paginate())]
    }


def called(stack: DeployedStack) -> Iterator[tuple[str, str]]:
    """Each rule and each schedule of an account, with what it calls."""
    events, scheduler = stack.client("events"), stack.client("scheduler")
    for rule in inventory(stack)["events Rules"]:
        for target in events.list_targets_by_rule(Rule=rule)["Targets"]:
            yield rule, target["Arn"]
    for schedule in inventory(stack)["scheduler Schedules"]:
        yield schedule, scheduler.get_schedule(Name=schedule)["Target"]["Arn"]


def served(stack: DeployedStack, prefix: str) -> int:
    """How many answers the metric of the stack with this NamePrefix has counted in the last hour."""
    now = datetime.now(UTC)
    found = stack.client("cloudwatch").get_metric_statistics(
        Namespace="NcfRecommender",
        MetricName="RecommendationServed",
        Dimensions=[{"Name": "service", "Value": prefix}],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(minutes=1),
        Period=3600,
        Statistics=["Sum"],
    )
    return sum(int(point["Sum"]) for point in found["Datapoints"])
