"""Commands of a release, and how a build of the image is followed. CodeBuild answers by botocore's model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from delivery.chain import image, release
from delivery.chain.image import Images
from delivery.chain.stack import Chain, ChainError

CHAIN = Chain("bucket", "123456789012.dkr.ecr.eu-west-1.amazonaws.com/repo", "build", "/ncf/model-image", "arn:role")


def test_a_release_with_a_chain_uses_its_role_and_bucket(tmp_path: Path) -> None:
    build, deploy = release.commands(tmp_path, "staging", "eu-west-1", CHAIN)
    assert build == ["sam", "build", "--config-env", "staging"]
    assert deploy[1:6] == ["deploy", "--config-env", "staging", "--region", "eu-west-1"]
    assert "--no-confirm-changeset" in deploy  # the approval was the pipeline's
    assert deploy[deploy.index("--role-arn") + 1] == "arn:role"
    assert deploy[deploy.index("--s3-bucket") + 1] == "bucket" and "--no-resolve-s3" in deploy


def test_a_release_without_a_chain_is_by_the_callers_rights(tmp_path: Path) -> None:
    _, deploy = release.commands(tmp_path, "dev", "eu-west-1", None)
    assert not {"--role-arn", "--s3-bucket", "--no-resolve-s3"} & set(deploy)


def test_a_failing_step_ends_the_release(tmp_path: Path) -> None:
    sam = tmp_path / release.SAM
    sam.parent.mkdir(parents=True)
    sam.write_text('#!/bin/sh\necho "$1" >> "$(dirname "$0")/ran"\n[ "$1" != build ]\n', "utf-8")
    sam.chmod(0o755)
    with pytest.raises(ChainError, match="`sam build` ended with status 1"):
        release.release(tmp_path, "dev", "eu-west-1", None)
    assert (sam.parent / "ran").read_text("utf-8") == "build\n"  # nothing was deployed


def phase(name: str, status: str, message: str = "") -> dict[str, Any]:
    contexts = [{"statusCode": "COMMAND_EXECUTION_ERROR", "message": message}] if message else []
    return {"phaseType": name, "phaseStatus": status, "durationInSeconds": 7, "contexts": contexts}


def follow(monkeypatch: pytest.MonkeyPatch, *builds: dict[str, Any]) -> tuple[list[str], ChainError | None]:
    """Follow a build whose state is asked for several times; what was said, and how it ended."""
    monkeypatch.setattr(image, "POLL_SECONDS", 0)
    session = boto3.Session(aws_access_key_id="k", aws_secret_access_key="s", region_name="eu-west-1")
    clients: dict[str, Any] = {"codebuild": session.client("codebuild"), "logs": session.client("logs")}
    stubber = Stubber(clients["codebuild"])
    for build in builds:
        stubber.add_response("batch_get_builds", {"builds": [build]}, {"ids": ["build:1"]})
    stubber.activate()
    logs = Stubber(clients["logs"])
    logs.add_response("get_log_events", {"events": [{"message": "ERROR: no space left on device\n"}]})
    logs.activate()
    said: list[str] = []

    def made(service: str, **settings: Any) -> Any:
        return clients[service]

    try:
        Images(made, "eu-west-1", CHAIN, said.append)._wait("build:1")
    except ChainError as error:
        return said, error
    return said, None


def test_each_phase_of_a_build_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    install, build = phase("INSTALL", "SUCCEEDED"), phase("BUILD", "SUCCEEDED")
    said, error = follow(
        monkeypatch,
        {"buildStatus": "IN_PROGRESS", "phases": [install, {"phaseType": "PRE_BUILD"}]},
        {"buildStatus": "SUCCEEDED", "phases": [install, phase("PRE_BUILD", "SUCCEEDED"), build]},
    )
    assert error is None
    assert said == ["  install: succeeded (7 s)", "  pre build: succeeded (7 s)", "  build: succeeded (7 s)"]


def test_a_failed_build_ends_with_its_reason_and_the_end_of_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = phase("BUILD", "FAILED", "Error while executing command: python -m delivery image --here")
    log = {"groupName": "/aws/codebuild/build", "streamName": "1"}
    _, error = follow(monkeypatch, {"buildStatus": "FAILED", "phases": [failed], "logs": log})
    assert str(error).splitlines() == [
        "the build build:1 is FAILED",
        "  Error while executing command: python -m delivery image --here",
        "  ERROR: no space left on device",
    ]
