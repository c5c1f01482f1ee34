"""The transform job that writes the serving model's lists, and its number of parts. Pure."""

from __future__ import annotations

import json
from typing import Any

from contracts import limits
from shared import tags, volumes
from shared.errors import InvalidInput

USERS_PER_SHARD = 256
PART_BYTES = 1 << 19
"""Bytes of the lists in one part, about; the function `recommend` keeps parts in memory, and the time for one request
to the container is fixed."""
ITEM_BYTES = 40
"""Bytes of one item of a list in JSON, about: an id of 16 characters and a score."""
CONCURRENT_REQUESTS = 4
MAXIMUM_PAYLOAD_MB = 6
"""Maximum size of a request. Four concurrent requests stay far below SageMaker's limit of 100 MB together."""
INVOCATION_SECONDS = 300


def shards(users: int, num_results: int) -> int:
    """Return the number of parts for `users` with `num_results` items each, from 1 to 100,000; a hash of the user id
    selects the part. A part has about PART_BYTES or 256 lists, whichever is less, for up to 13 million users with lists
    of 100 items, and 25 million with lists of 50; beyond that parts grow.
    """
    users_per_shard = min(USERS_PER_SHARD, PART_BYTES // (ITEM_BYTES * num_results))
    return max(1, min(limits.BATCH_PARTS, -(-users // users_per_shard)))


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


def create_transform_job(
    job_name: str,
    model_name: str,
    bucket: str,
    instance_type: str,
    instance_count: int = 1,
    kms_key_arn: str = "",
    *,
    name_prefix: str,
) -> dict[str, Any]:
    """Return the CreateTransformJob call: one request per part; SageMaker divides the parts between the instances.
    Raises InvalidInput for less than one instance.
    """
    if instance_count < 1:
        raise InvalidInput(f"BatchInstanceCount must be at least 1, not {instance_count}")
    volume_key = volumes.key_of(instance_type, kms_key_arn)
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
            **({"KmsKeyId": kms_key_arn} if kms_key_arn else {}),
        },
        "TransformResources": {
            "InstanceType": instance_type,
            "InstanceCount": instance_count,
            **({"VolumeKmsKeyId": volume_key} if volume_key else {}),
        },
        "Tags": tags.listed(name_prefix),
    }
