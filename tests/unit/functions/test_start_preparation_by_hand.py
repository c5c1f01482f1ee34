"""The request of a preparation that a person submits."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from shared.errors import InvalidInput
from start_preparation import by_hand

ENVIRONMENT = {
    "NAME_PREFIX": "ncf",
    "DATA_BUCKET": "data",
    "ARTIFACTS_BUCKET": "artifacts",
    "EMR_APPLICATION_ID": "00app",
    "EMR_EXECUTION_ROLE_ARN": "arn:aws:iam::1:role/job",
    "PREPARATION_ENTRY_POINT": "s3://artifacts/code/preprocess.py",
    "PREPARATION_PY_FILES": "s3://artifacts/code/files.zip",
    "PREPARATION_CODE_VERSION": "c1",
    "PREPARATION_LOG_URI": "s3://artifacts/logs/emr/",
    "PREPARATION_LOG_GROUP": "/aws/emr-serverless/ncf-preparation",
    "PREPARATION_TIMEOUT_MINUTES": "60",
}
DROP = {"source": "s3://data/raw/first/", "written_at": "2025-06-01T10:00:00+00:00"}


def job(**changes: Any) -> dict[str, Any]:
    return by_hand.job(ENVIRONMENT, **{**DROP, **changes})


def words(request: dict[str, Any]) -> list[str]:
    found: list[str] = request["jobDriver"]["sparkSubmit"]["entryPointArguments"]
    return found


def test_the_same_files_are_one_job_and_another_attempt_is_another() -> None:
    assert job() == job()
    assert job(attempt=2)["clientToken"] == job()["clientToken"].removesuffix("-1") + "-2"
    assert job(attempt=2)["name"] == job()["name"]
    later = job(written_at="2025-06-01T10:00:01+00:00")
    assert later["name"] != job()["name"] != job(source="s3://data/raw/second/")["name"]


@pytest.mark.parametrize(
    ("newest", "parent"),
    [("v20250101t000000z-0a1b2c3d", True), ("v20250701t000000z-0a1b2c3d", False), ("None", False), ("", False)],
)
def test_the_parent_is_the_newest_version_if_it_is_an_earlier_one(newest: str, parent: bool) -> None:
    found = words(job(newest_version=newest))
    assert (["--parent-version", newest] == found[-2:]) is parent


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"said": '{"schemaVersion": "1.0", "kind": "append"}'}, "is an append"),
        ({"parameters": "{"}, "parameters must be a JSON object: "),
        ({"parameters": "[1]"}, "parameters must be an object, not list"),
        ({"parameters": '{"spilt": "global-time"}'}, "parameters.spilt"),
        ({"items": "items.csv"}, "items must be an s3:// URI"),
        ({"written_at": "2999-01-01T00:00:00+00:00"}, "ahead of the time"),
    ],
)
def test_what_cannot_be_used_is_refused(changes: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        job(**changes)


def test_the_command_writes_the_request_or_says_why_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [f"--{name.replace('_', '-')}={value}" for name, value in DROP.items()]
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(ENVIRONMENT)))
    assert by_hand.main(given) == 0
    assert json.loads(capsys.readouterr().out) == job()
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(ENVIRONMENT)))
    assert by_hand.main([*given, "--parameters=["]) == by_hand.REFUSED
    assert capsys.readouterr().err.startswith("refused: parameters must be a JSON object")
