"""Once a day, delete the endpoint configurations and models of old versions that are not in use, and the old logs of
jobs.

Their model packages and archives stay, and a rollback creates both again from these. If one cannot be deleted, the
others still are. SageMaker's log groups of jobs belong to the whole account, so their retention is left alone, and the
streams of this stack's jobs go. Returns `{"deleted", "kept", "logs"}`, all counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from collect_versions import plan
from shared import environment
from shared.clients import calling, not_found
from shared.errors import DependencyFailed, FunctionError
from shared.jobs import Jobs
from shared.ledger import Ledger
from shared.observability import count, logger, observed


@dataclass(frozen=True, kw_only=True)
class Settings(environment.Common):
    """Environment of this function."""

    kept_versions: int
    log_retention_days: int


SETTINGS = environment.load(Settings)
LEDGER = Ledger(SETTINGS.runs_table)
JOBS = Jobs(LEDGER)
LOG_GROUPS = ("/aws/sagemaker/TrainingJobs", "/aws/sagemaker/TransformJobs")


@observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Raises DependencyFailed, after all were tried, if one could not be deleted."""
    configs = _configs()
    keep = plan.kept(
        SETTINGS.name_prefix,
        SETTINGS.kept_versions,
        LEDGER.champions(),
        LEDGER.serving(),
        LEDGER.unfinished_runs(),
        _endpoints(),
        LEDGER.current_split(),
    )
    deleted, problems = 0, []
    for name in plan.old(SETTINGS.name_prefix, configs, keep, datetime.now(UTC)):
        try:
            _collect(name)
            logger.info("old version collected", extra={"endpoint_config": name})
            deleted += 1
        except FunctionError as error:
            problems.append(f"{name}: {error}")
    count("VersionCollected", deleted)
    logs = 0
    for group in LOG_GROUPS:
        try:
            logs += _forget_logs(group)
        except FunctionError as error:
            problems.append(f"{group}: {error}")
    if problems:
        raise DependencyFailed(
            f"{len(problems)} versions or log groups are left for the next run: {'; '.join(problems[:5])}"[:2000]
        )
    return {"deleted": deleted, "kept": len(configs) - deleted, "logs": logs}


def _forget_logs(group: str) -> int:
    """Delete the streams of this stack's jobs without an event for `log_retention_days`; return their number."""
    client, forgotten = JOBS.client("logs"), 0
    with calling(f"logs DescribeLogStreams {group}"):
        try:
            pages = client.get_paginator("describe_log_streams").paginate(
                logGroupName=group, logStreamNamePrefix=f"{SETTINGS.name_prefix}-v"
            )
            streams = [stream for page in pages for stream in page["logStreams"]]
        except ClientError as error:
            if not_found(error):  # no job of the account has logged yet
                return 0
            raise
    for name in plan.old_streams(SETTINGS.name_prefix, streams, SETTINGS.log_retention_days, datetime.now(UTC)):
        with calling("logs DeleteLogStream"):
            try:
                client.delete_log_stream(logGroupName=group, logStreamName=name)
            except ClientError as error:
                if not not_found(error):
                    raise
        forgotten += 1
    return forgotten


def _configs() -> list[tuple[str, datetime]]:
    found = []
    with calling("sagemaker ListEndpointConfigs"):
        pages = JOBS.client("sagemaker").get_paginator("list_endpoint_configs")
        for page in pages.paginate(NameContains=f"{SETTINGS.name_prefix}-v"):
            found += [(entry["EndpointConfigName"], entry["CreationTime"]) for entry in page["EndpointConfigs"]]
    return found


def _endpoints() -> list[dict[str, Any]]:
    """Return all endpoints with our name prefix: a person may have deployed a model on another endpoint."""
    listed: list[str] = []
    with calling("sagemaker ListEndpoints"):
        pages = JOBS.client("sagemaker").get_paginator("list_endpoints")
        for page in pages.paginate(NameContains=f"{SETTINGS.name_prefix}-"):
            listed += [entry["EndpointName"] for entry in page["Endpoints"]]
    ours = [name for name in listed if name.startswith(f"{SETTINGS.name_prefix}-")]
    return [found for name in ours if (found := JOBS.endpoint(name))]


def _collect(name: str) -> None:
    """Delete the model, then the configuration of the same name. In this order a call after a crash finds the
    configuration again. Resources that are already deleted are ignored.
    """
    sagemaker = JOBS.client("sagemaker")
    calls: tuple[tuple[str, Callable[[], Any]], ...] = (
        ("DeleteModel", lambda: sagemaker.delete_model(ModelName=name)),
        ("DeleteEndpointConfig", lambda: sagemaker.delete_endpoint_config(EndpointConfigName=name)),
    )
    for what, call in calls:
        with calling(f"sagemaker {what}"):
            try:
                call()
            except ClientError as error:
                if not not_found(error):
                    raise
