"""`python -m training.launch --sagemaker`: the job in the account, and its refusals."""

from __future__ import annotations

import sys

import pytest

from training import launch, launch_sagemaker
from training.hyperparameters import Hyperparameters
from training.launching.hyperparameter_text import Refused

pytestmark = pytest.mark.slow

VERSION = "v20260102t030405z-0a1b2c3d"
ON_SAGEMAKER = [
    f"s3://bucket/datasets/{VERSION}",
    "--sagemaker",
    "--role",
    "arn:role",
    "--image",
    "repository@sha256:ab",
]


def job(*argv: str) -> launch_sagemaker.Job:
    arguments, given = launch.parse([*ON_SAGEMAKER, "--output", "s3://bucket/models/", *argv])
    return launch_sagemaker.Job.read(arguments, launch.check(given).model)


def test_a_job_on_sagemaker_has_the_version_of_its_uri_and_the_next_attempt_in_the_account() -> None:
    settings = job("--epochs", "5", "--name", "with_more.epochs.of.it")
    assert (settings.version, settings.dataset) == (VERSION, f"s3://bucket/datasets/{VERSION}/")
    assert settings.name == "with-more-epoch"
    run_id = settings.run_id([f"ncf-{VERSION}-r1", f"{VERSION}-r4-neumf-20260102", "ncf-v20260102t030405z-ffffffff-r9"])
    assert run_id == f"{VERSION}-r5"
    given = settings.hyperparameters(launch.check({"epochs": "5"}), run_id)
    assert (given["epochs"], given["run_id"], given["code_version"]) == ("5", run_id, "ab")
    assert Hyperparameters.read(given).dataset_version == VERSION


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["s3://bucket/data", "--sagemaker"], "--sagemaker needs --role"),
        ([*ON_SAGEMAKER], "--sagemaker needs --output"),
        ([*ON_SAGEMAKER, "--output", "runs"], "--output must be an s3://… URI, not runs"),
        (["s3://bucket/data", *ON_SAGEMAKER[1:], "--output", "s3://b/m"], "must be the dataset's version"),
        ([*ON_SAGEMAKER, "--output", "s3://b/m", "--incumbent", "here"], "--incumbent must be s3://…/model.tar.gz"),
    ],
)
def test_refuses_a_job_on_sagemaker_with_a_missing_or_invalid_option(argv: list[str], reason: str) -> None:
    arguments, given = launch.parse(argv)
    with pytest.raises(Refused) as refused:
        launch_sagemaker.Job.read(arguments, launch.check(given).model)
    assert reason in str(refused.value)


def test_without_the_sdk_the_message_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sagemaker", None)
    assert launch.main([*ON_SAGEMAKER, "--output", "s3://bucket/models"]) == 2
    assert "pip install -r requirements/sagemaker.txt" in capsys.readouterr().err


def test_a_search_shorter_than_the_job_travels_and_a_longer_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert job().hyperparameters(launch.check({"search": "10m"}), f"{VERSION}-r1")["search"] == "10m"
    assert launch.main([*ON_SAGEMAKER, "--output", "s3://b/m", "--search", "4h"]) == 2
    assert "--search 4h must be shorter than the job's time limit, 14400 s" in capsys.readouterr().err
    assert launch.main([*ON_SAGEMAKER, "--output", "s3://b/m", "--search", "10"]) == 2
    assert "hyperparameter search must be a length of time from 1s to 24h" in capsys.readouterr().err
