"""Work folders and log files of jobs and containers, and the environment of an image's commands."""

from __future__ import annotations

import re
from pathlib import Path

from laptop_aws import calls, registry
from laptop_aws.images import Image
from laptop_aws.store import scope

_NOT_OF_A_CONTAINER = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def work_folder(kind: str, name: str) -> Path:
    """The folder for temporary files of one job or endpoint."""
    return _below(registry.config().work_directory / kind, name)


def log_file(kind: str, name: str) -> Path:
    """The output of one job's or endpoint's processes; readable while they run."""
    return _below(registry.config().logs_directory / kind, f"{name}.log")


def _below(root: Path, name: str) -> Path:
    account, region = scope()
    config = registry.config()
    return root / name if (account, region) == (config.account, config.region) else root / f"{account}-{region}" / name


def record_pull(uri: str) -> None:
    """Records the calls by which SageMaker pulls an image of ECR with the role of a job or a model."""
    registry_name, _, name = uri.partition("/")
    if ".dkr.ecr." in registry_name:
        repository = {"registryId": registry_name.partition(".")[0], "repositoryName": re.split("[@:]", name)[0]}
        calls.record("ecr", "GetAuthorizationToken", {}, once=True)
        for operation in ("BatchCheckLayerAvailability", "BatchGetImage", "GetDownloadUrlForLayer"):
            calls.record("ecr", operation, repository, once=True)


def container_environment(image: Image) -> dict[str, str]:
    """A clean environment: the image's variables, without AWS's endpoint and credentials."""
    environment = registry.child_environment(**image.variables(registry.config().interpreter))
    return {name: value for name, value in environment.items() if name not in _NOT_OF_A_CONTAINER}
