"""Links lead into the console of the execution's partition and region."""

from __future__ import annotations

import pytest

import contracts.consoles
from shared import consoles
from shared.records import JobKind

NAME = "ncf-v20261125t033000z-0a1b2c3d-r1"


def arn(partition: str, region: str) -> str:
    return f"arn:{partition}:states:{region}:123456789012:execution:ncf-retraining:{NAME}"


@pytest.mark.parametrize(
    ("partition", "region", "host"),
    [
        ("aws", "eu-west-1", "https://eu-west-1.console.aws.amazon.com/"),
        ("aws-cn", "cn-north-1", "https://cn-north-1.console.amazonaws.cn/"),
        ("aws-us-gov", "us-gov-west-1", "https://us-gov-west-1.console.amazonaws-us-gov.com/"),
    ],
)
def test_each_partition_has_its_console(partition: str, region: str, host: str) -> None:
    own = arn(partition, region)
    assert consoles.sagemaker(JobKind.TRAINING, NAME, own) == f"{host}sagemaker/home?region={region}#/jobs/{NAME}"
    assert contracts.consoles.execution(own) == f"{host}states/home?region={region}#/v2/executions/details/{own}"


@pytest.mark.parametrize(("kind", "page"), [(JobKind.TRANSFORM, "transform-jobs"), (JobKind.ENDPOINT, "endpoints")])
def test_each_kind_of_job_has_its_page(kind: JobKind, page: str) -> None:
    assert consoles.sagemaker(kind, "x", arn("aws", "eu-west-1")).endswith(f"region=eu-west-1#/{page}/x")


def test_the_logs_of_a_spark_job_are_a_folder() -> None:
    link = consoles.spark_logs("s3://artifacts/logs/emr/", "00app", "00run", arn("aws", "eu-west-1"))
    assert link == (
        "https://eu-west-1.console.aws.amazon.com/s3/buckets/artifacts?region=eu-west-1"
        "&prefix=logs/emr/applications/00app/jobs/00run/"
    )
