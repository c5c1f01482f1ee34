"""Which job writes the lists of the model that serves, and of how many parts. Pure."""

from __future__ import annotations

import json
from typing import Any

USERS_PER_SHARD = 256
MAXIMUM_SHARDS = 1000
CONCURRENT_REQUESTS = 4
MAXIMUM_PAYLOAD_MB = 6
"""Of a request; with four at a time far below the 100 MB that SageMaker takes together."""
INVOCATION_SECONDS = 300


def shards(users: int) -> int:
    """Parts for that many users, by the hash of their ids: from 1 to 1,000. An answer holds some 256 lists, up to
    256,000 users; beyond that a part grows with the shop.
    """
    return max(1, min(MAXIMUM_SHARDS, -(-users // USERS_PER_SHARD)))


def following(attempt: int, job: dict[str, Any] | None, is_as_wanted: bool) -> int:
    """The attempt to make, given what SageMaker says of the job of `attempt` (None: no such job), and whether its lists
    have the length that is wanted now. A failed job's name is used up; one that runs, or is done, is adopted.
    """
    if job is None:
        return attempt
    return attempt + 1 if job["TransformJobStatus"] in ("Failed", "Stopped") or not is_as_wanted else attempt


def inputs(number: int, num_results: int) -> dict[str, bytes]:
    """The requests to the container, one object each, by name."""
    return {
        f"{shard:04d}.json": json.dumps({"shard": shard, "shards": number, "numResults": num_results}).encode()
        for shard in range(number)
    }


def create_transform_job(job_name: str, model_name: str, bucket: str, instance_type: str) -> dict[str, Any]:
    """CreateTransformJob: one machine asks its container for each part."""
    return {
        "TransformJobName": job_name,
        "ModelName": model_name,
        "MaxConcurrentTransforms": CONCURRENT_REQUESTS,
        "MaxPayloadInMB": MAXIMUM_PAYLOAD_MB,
        "BatchStrategy": "SingleRecord",
        "ModelClientConfig": {"InvocationsTimeoutInSeconds": INVOCATION_SECONDS, "InvocationsMaxRetries": 2},
        "TransformInput": {
            "DataSource": {
                "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/batch/{job_name}/input/"}
            },
            "ContentType": "application/json",
            "SplitType": "None",
        },
        "TransformOutput": {
            "S3OutputPath": f"s3://{bucket}/batch/{job_name}/lists",
            "Accept": "application/json",
            "AssembleWith": "None",
        },
        "TransformResources": {"InstanceType": instance_type, "InstanceCount": 1},
    }
