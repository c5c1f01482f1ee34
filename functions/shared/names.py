"""Every name that the application derives, in one place: a retry that derives the same name finds what an earlier try
made.

Forms and lengths are those of docs/contracts.md. With a `NamePrefix` of at most 20 characters the longest SageMaker
name here is 20 + 1 + 26 + 6 (run attempt up to -r9999) + 10 (a split, -s and 8 digits) = 63 of the 63 characters that
SageMaker takes.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from contracts.names import DATASET_VERSION, EXAMPLE_RUN_ID, EXAMPLE_VERSION, RUN_ID
from contracts.values import shown
from shared.errors import InvalidInput


def require_dataset_version(value: object, field: str) -> str:
    """`value` if it is a dataset version. Raises InvalidInput naming `field` otherwise."""
    if not isinstance(value, str) or not DATASET_VERSION.fullmatch(value):
        raise InvalidInput(f"{field} must be a dataset version such as {EXAMPLE_VERSION}, not {shown(value)}")
    return value


def require_run_id(value: object, field: str = "runId") -> str:
    """`value` if it is a run id. Raises InvalidInput naming `field` otherwise."""
    if not isinstance(value, str) or not RUN_ID.fullmatch(value):
        raise InvalidInput(f"{field} must be a run id such as {EXAMPLE_RUN_ID}, not {shown(value)}")
    return value


def dataset_version(moment: str, *origin: str) -> str:
    """The version of a preparation: the UTC second of `moment` (ISO 8601) and 8 hex digits of sha256 over `origin`,
    one per line.

    The same event, or the same execution, therefore names the same version however often it is delivered.
    """
    try:
        when = datetime.fromisoformat(moment.replace("Z", "+00:00"))
    except ValueError:
        raise InvalidInput(f"the time of the trigger must be ISO 8601, not {shown(moment)}") from None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    digest = hashlib.sha256("\n".join(origin).encode()).hexdigest()
    return f"v{when.astimezone(UTC):%Y%m%dt%H%M%Sz}-{digest[:8]}"


def preparation_version(execution_arn: str, start_time: str, trigger: object) -> str:
    """The dataset version that a preparation execution makes: from its `trigger` if a dropped marker started it, else
    from itself.
    """
    if trigger is None:
        return dataset_version(start_time, execution_arn)
    if not isinstance(trigger, dict):
        raise InvalidInput(f"trigger must be an object with time, bucket, key and sequencer, not {shown(trigger)}")
    for field in ("time", "bucket", "key"):
        if not isinstance(trigger.get(field), str) or not trigger[field]:
            raise InvalidInput(f"trigger.{field} must be a non-empty string, not {shown(trigger.get(field))}")
    mark = trigger.get("sequencer") or trigger.get("etag") or ""
    return dataset_version(trigger["time"], trigger["bucket"], trigger["key"], str(mark))


def run_id(version: str, attempt: int = 1) -> str:
    """The retraining execution's name for one attempt at one dataset version."""
    return f"{version}-r{attempt}"


def version_of(run: str) -> str:
    """The dataset version inside a run id. Raises InvalidInput if it is none."""
    return require_run_id(run).rpartition("-r")[0]


def preparation_job(prefix: str, version: str) -> str:
    """The name of the EMR Serverless job run that writes a dataset version."""
    return f"{prefix}-{version}"


def training_job(prefix: str, run: str, attempt: int = 1) -> str:
    """The training job of a run. SageMaker never gives a job name back, so a later attempt inside the same run has a
    suffix.
    """
    return f"{prefix}-{run}" if attempt == 1 else f"{prefix}-{run}-t{attempt}"


def transform_job(prefix: str, run: str, attempt: int = 1) -> str:
    """The Batch Transform job that writes the lists of a run's model for the `attempt`-th time."""
    return f"{prefix}-{run}-b{attempt}"


def transform_attempt(job_name: str) -> int:
    """The attempt in the name of a transform job. Raises InvalidInput if it is none."""
    number = job_name.rpartition("-b")[2]
    if not number.isascii() or not number.isdigit():
        raise InvalidInput(f"jobName must be that of a batch, not {shown(job_name)}")
    return int(number)


def model(prefix: str, run: str) -> str:
    """The SageMaker model, and the endpoint configuration, of a run."""
    return f"{prefix}-{run}"


VARIANT, OTHER_VARIANT = "AllTraffic", "Other"
"""The endpoint's variant that serves the model of the ledger's SERVING; and, while traffic is split, the other one."""


def split(prefix: str, run: str, other: str, percent: int) -> str:
    """The endpoint configuration by which `other`'s model answers `percent` of the requests, and `run`'s the rest."""
    digest = hashlib.sha256(f"{other}\n{percent}".encode()).hexdigest()
    return f"{model(prefix, run)}-s{digest[:8]}"


def scalable_target(endpoint_name: str) -> dict[str, str]:
    """What Application Auto Scaling calls the number of machines of the endpoint's variant."""
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{endpoint_name}/variant/{VARIANT}",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }


def report_uri(bucket: str, run: str) -> str:
    """Where the page of a run is, once it is over."""
    return f"s3://{bucket}/runs/{run}/report.html"


def execution_arn(state_machine_arn: str, name: str) -> str:
    """The ARN that an execution called `name` has, or will have."""
    return f"{state_machine_arn.replace(':stateMachine:', ':execution:')}:{name}"
