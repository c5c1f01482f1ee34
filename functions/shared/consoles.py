"""Pages of jobs in AWS's console, in the partition and region of an execution. Pure.

Step Functions links a state to what it calls itself: here a function, never the job that the function has started. So
the answer of each function that starts a job has the job's page: it is the output of the event TaskSubmitted, which the
execution's view shows while the state waits.
"""

from __future__ import annotations

from contracts import consoles
from shared.records import JobKind

_PAGES = {JobKind.TRAINING: "jobs", JobKind.TRANSFORM: "transform-jobs", JobKind.ENDPOINT: "endpoints"}


def sagemaker(kind: JobKind, name: str, execution_arn: str) -> str:
    """Return the page of a training job, a transform job or an endpoint."""
    return consoles.page(execution_arn, "sagemaker", f"#/{_PAGES[kind]}/{name}")


def spark_logs(log_uri: str, application_id: str, job_run_id: str, execution_arn: str) -> str:
    """Return the folder of a job run's logs: the page of the run itself has an address only within an EMR Studio."""
    bucket, _, prefix = log_uri.removeprefix("s3://").partition("/")
    folder = f"{prefix}applications/{application_id}/jobs/{job_run_id}/"
    return consoles.page(execution_arn, "s3", f"&prefix={folder}", f"buckets/{bucket}")
