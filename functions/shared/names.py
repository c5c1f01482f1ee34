"""All names that the application derives. A retry derives the same name and so finds the resource of the earlier try.

Forms and lengths are those of docs/reference/contracts.md. With a `NamePrefix` of at most 20 characters the longest
SageMaker name here is 20 + 1 + 26 + 6 (run attempt up to -r9999) + 10 (a split, -s and 8 digits) = 63 of the 63
characters that SageMaker accepts.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta

from contracts.names import DATASET_VERSION, EXAMPLE_RUN_ID, EXAMPLE_VERSION, RUN_ID
from contracts.values import integer_in, shown
from shared.errors import InvalidInput


def require_dataset_version(value: object, field: str) -> str:
    """Return `value` if it is a dataset version. Raises InvalidInput naming `field` otherwise."""
    if not isinstance(value, str) or not DATASET_VERSION.fullmatch(value):
        raise InvalidInput(f"{field} must be a dataset version such as {EXAMPLE_VERSION}, not {shown(value)}")
    return value


def require_run_id(value: object, field: str = "runId") -> str:
    """Return `value` if it is a run id. Raises InvalidInput naming `field` otherwise."""
    if not isinstance(value, str) or not RUN_ID.fullmatch(value):
        raise InvalidInput(f"{field} must be a run id such as {EXAMPLE_RUN_ID}, not {shown(value)}")
    return value


CLOCK_SKEW = timedelta(minutes=15)
"""How far the clock that named a dataset version may be ahead of ours."""


def horizon(now: float) -> str:
    """Return a text that sorts after the dataset versions up to `now` (epoch seconds) and CLOCK_SKEW, before later
    ones.
    """
    return f"v{datetime.fromtimestamp(now, UTC) + CLOCK_SKEW:%Y%m%dt%H%M%Sz}-g"


def born(version: str) -> datetime | None:
    """Return the time in a dataset version's name; None if that is none, such as 30 February."""
    try:
        return datetime.strptime(version[:17], "v%Y%m%dt%H%M%Sz").replace(tzinfo=UTC)
    except ValueError:
        return None


def time_fault(version: str, now: float) -> str | None:
    """Return why the time in a dataset version's name cannot be right at `now` (epoch seconds); None if it can.

    Versions sort by time: one ahead of now would make all data stale that are dropped until then.
    """
    moment = born(version)
    if moment is None:
        return f"{version} names no time, which is yyyymmdd, t, hhmmss in UTC: correct the name and drop the data again"
    if version < horizon(now):
        return None
    ahead = moment - datetime.fromtimestamp(now, UTC)
    far = f"{ahead.days} days" if ahead.days else f"{ahead.seconds // 60} minutes"
    return (
        f"{version} is {far} ahead of the time, {datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M} UTC: "
        "correct the clock or the name that it comes from, and drop the data again"
    )


def require_past(version: str, now: float) -> None:
    """Raises InvalidInput when the time in a dataset version's name cannot be right at `now` (epoch seconds)."""
    fault = time_fault(version, now)
    if fault is not None:
        raise InvalidInput(fault)


def dataset_version(moment: str, *origin: str) -> str:
    """Return the version of a preparation: the UTC second of `moment` (ISO 8601) and 8 hex digits of sha256 over
    `origin`, one part per line. A repeated event or execution gives the same version.
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
    """Return the dataset version of a preparation execution: from `trigger` if a dropped marker started it, otherwise
    from the execution's ARN and start time.
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
    """Return the name of the retraining execution: one attempt at one dataset version."""
    return f"{version}-r{attempt}"


def version_of(run: str) -> str:
    """Return the dataset version inside a run id. Raises InvalidInput for an invalid run id."""
    return require_run_id(run).rpartition("-r")[0]


def preparation_job(prefix: str, version: str) -> str:
    """Return the name of the EMR Serverless job run that writes a dataset version."""
    return f"{prefix}-{version}"


def training_job(prefix: str, run: str, attempt: int = 1) -> str:
    """Return the name of a run's training job. SageMaker job names cannot be reused, so a later attempt of the same run
    has a suffix.
    """
    return f"{prefix}-{run}" if attempt == 1 else f"{prefix}-{run}-t{attempt}"


def transform_job(prefix: str, run: str, attempt: int = 1) -> str:
    """Return the name of the Batch Transform job that writes the lists of a run's model for the `attempt`-th time."""
    return f"{prefix}-{run}-b{attempt}"


def transform_attempt(job_name: str) -> int:
    """Return the attempt in the name of a transform job. Raises InvalidInput for any other name."""
    number = integer_in(job_name.rpartition("-b")[2])
    if number is None or number < 1:
        raise InvalidInput(f"jobName must name a transform job of a batch, not {shown(job_name)}")
    return number


def model(prefix: str, run: str) -> str:
    """Return the name of a run's SageMaker model and endpoint configuration."""
    return f"{prefix}-{run}"


def is_config(prefix: str, name: str) -> bool:
    """True if an endpoint configuration has a name that `model` or `split` gives."""
    return re.fullmatch(rf"{re.escape(prefix)}-{RUN_ID.pattern}(-s[0-9a-f]{{8}})?", name) is not None


VARIANT, OTHER_VARIANT = "AllTraffic", "Other"
"""The endpoint variants: of the model in the ledger's SERVING, and of the second model while traffic is split."""


def split(prefix: str, run: str, other: str, percent: int) -> str:
    """Return the name of the endpoint configuration that gives `other` `percent` of the requests, `run` the rest."""
    digest = hashlib.sha256(f"{other}\n{percent}".encode()).hexdigest()
    return f"{model(prefix, run)}-s{digest[:8]}"


def scalable_target(endpoint_name: str) -> dict[str, str]:
    """Return the Application Auto Scaling identifiers of the variant's instance count."""
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{endpoint_name}/variant/{VARIANT}",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }


def report_uri(bucket: str, run: str) -> str:
    """Return the URI of a run's report; the report exists once the run has ended."""
    return f"s3://{bucket}/runs/{run}/report.html"


def execution_arn(state_machine_arn: str, name: str) -> str:
    """Return the ARN of the execution `name`, which need not exist yet."""
    return f"{state_machine_arn.replace(':stateMachine:', ':execution:')}:{name}"
