"""EMR Serverless on a laptop: applications, and job runs through the real pyspark, with AWS's API, states and events.

What differs from AWS, because a laptop is one machine:

- A job run is one process with ``local[2]`` and a driver of 1 GiB, whatever the requested workers; one runs at a time,
  others wait in SCHEDULED.
- The Java of small job runs stays while their application is started, whatever its initial capacity; it holds about
  1.3 GiB. Each job run has a Spark context of its own in it (``ready_java``). With ``LAPTOP_AWS_READY_SPARK=1`` it is
  started with the host (``spare_java``).
- There is no S3 connector for Spark without Maven. Before the run, the objects below every ``s3://`` URI among the
  arguments are copied to a folder, and Spark's ``s3`` file system is mounted on that folder, so the job sees the same
  URIs as on AWS. New, changed and deleted files reach S3 after the process ended, whatever its exit status, oldest
  first and ``manifest.json`` last; nothing reaches S3 while it runs.
- A job run that ran when the host ended is FAILED after the next start.
- Only Spark applications with a Python entry point run; Hive, Livy and interactive sessions do not.
"""

from __future__ import annotations

import sys
from typing import Any

from laptop_aws import registry
from laptop_aws.emr_serverless import cloudformation, job_runs, spare_java
from laptop_aws.emr_serverless.api import handle_request
from laptop_aws.emr_serverless.store import store

__all__ = ["get_state", "handle_request", "load_persisted_state", "register", "reset"]


def register() -> None:
    """Registers with the host by signing name."""
    registry.register_service(
        "emr-serverless",
        sys.modules[__name__],
        credential_scope="emr-serverless",
        host_patterns=[r"emr-serverless\."],
    )
    cloudformation.register()
    registry.on_ready(job_runs.fail_interrupted)
    registry.on_ready(spare_java.prepare)
    registry.on_shutdown(job_runs.close)


def get_state() -> dict[str, Any]:
    return store.get_state()


def load_persisted_state(data: dict[str, Any]) -> None:
    store.load(data)


def reset() -> None:
    """Stops every job run and deletes all records."""
    job_runs.close()
    store.clear()
