"""The transform job that writes the serving model's lists, and its number of parts. Pure."""

from __future__ import annotations

import json
from typing import Any

USERS_PER_SHARD = 256
MAXIMUM_SHARDS = 1000
CONCURRENT_REQUESTS = 4
MAXIMUM_PAYLOAD_MB = 6
"""Maximum size of a request. Four concurrent requests stay far below SageMaker's limit of 100 MB together."""
INVOCATION_SECONDS = 300


def shards(users: int) -> int:
    """Return the number of parts for `users`, from 1 to 1,000; a hash of the user id selects the part. A part has about
    256 lists for up to 256,000 users, and more beyond that.
    """
    return max(1, min(MAXIMUM_SHARDS, -(-users // USERS_PER_SHARD)))


def following(attempt: int, job: dict[str, Any] | None, is_as_wanted: bool) -> int:
    """Return the attempt to make, given the DescribeTransformJob of `attempt` (None: no such job). `is_as_wanted` is
    True if the job's lists have the configured length. A failed job needs a new name; a running or completed job is
    adopted.
    """
    if job is None:
        return attempt
    return attempt + 1 if job["TransformJobStatus"] in ("Failed", "Stopped") or not is_as_wanted else attempt


def inputs(number: int, num_results: int) -> dict[str, bytes]:
    """Return the requests to the container by object name."""
    return {
        f"{shard:04d}.json": json.dumps({"shard": shard, "shards": number, "numResults": num_results}).encode()
        for shard in range(number)
    }


def create_transform_job(job_name: str, model_name: str, bucket: str, instance_type: str) -> dict[str, Any]:
    """Return the CreateTransformJob call: one instance, one request per part."""
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
