"""Parameters and fingerprint of the local deployment."""

import fcntl
import io
import re
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import rich.console

from local import stack
from local.console import Show
from local.project import Problem, Project

ROOT = Path(__file__).resolve().parents[3]
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/ncf-recommender@sha256:" + "a" * 64


class FakeParameterStore:
    """Keeps what is put into it."""

    def __init__(self) -> None:
        self.put: list[dict[str, Any]] = []

    def put_parameter(self, **given: Any) -> None:
        self.put.append(given)


def project_with(tmp_path: Path) -> Project:
    project = Project(tmp_path, tmp_path / "state", 4566)
    project.make_state_folder()
    return project


def test_the_fingerprint_follows_the_code_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "functions" / "deploy").mkdir(parents=True)
    code = tmp_path / "functions" / "deploy" / "app.py"
    code.write_text("one")
    (tmp_path / "template.yaml").write_text("Resources: {}")
    first = stack.fingerprint(tmp_path)
    (tmp_path / "functions" / "deploy" / "__pycache__").mkdir()
    (tmp_path / "functions" / "deploy" / "__pycache__" / "app.pyc").write_text("compiled")
    (tmp_path / "README.md").write_text("words")
    assert stack.fingerprint(tmp_path) == first
    code.write_text("two")
    changed = stack.fingerprint(tmp_path)
    assert changed != first
    code.rename(code.with_name("application.py"))
    assert stack.fingerprint(tmp_path) != changed


def test_the_fingerprint_follows_the_contracts_that_functions_have_by_a_link(tmp_path: Path) -> None:
    for name in ("contracts", "functions"):
        (tmp_path / name).mkdir()
    (tmp_path / "functions" / "contracts").symlink_to("../contracts")
    (tmp_path / "contracts" / "ids.py").write_text("one")
    first = stack.fingerprint(tmp_path)
    (tmp_path / "contracts" / "ids.py").write_text("two")
    assert stack.fingerprint(tmp_path) != first


def test_what_is_built_and_deployed_already_is_not_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = project_with(tmp_path)
    monkeypatch.setattr(stack.Stack, "describe", lambda self: {"StackId": "id", "StackStatus": "CREATE_COMPLETE"})
    monkeypatch.setattr(stack.Stack, "resources", lambda self: [])
    monkeypatch.setattr(stack, "_ensure_bucket", lambda project: None)
    store = FakeParameterStore()
    monkeypatch.setattr(Project, "client", lambda self, service: {"ssm": store}.get(service))
    commands: list[str] = []

    def sam(project: Project, command: str, arguments: Any) -> None:
        commands.append(command)
        if command == "build":  # builds of one working tree, by two hosts, delete each other's dependencies
            lock = tmp_path / ".aws-sam" / "build.lock"
            with lock.open("w") as another, pytest.raises(BlockingIOError):
                fcntl.flock(another, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (project.state / "build").mkdir(exist_ok=True)
        (project.state / "build" / "template.yaml").touch()

    monkeypatch.setattr(stack, "_sam", sam)
    show = Show(rich.console.Console(file=io.StringIO()))
    assert stack.deploy(project, IMAGE, show)
    assert not stack.deploy(project, IMAGE, show)
    assert commands == ["build", "deploy"]
    another = f"{IMAGE[:-1]}b"
    assert stack.deploy(project, another, show)
    assert commands == ["build", "deploy", "deploy"]
    assert [put["Value"] for put in store.put] == [IMAGE, another]
    assert {put["Name"] for put in store.put} == {"/ncf/model-image"}
    assert all(re.fullmatch(put["AllowedPattern"], put["Value"]) for put in store.put)
    (tmp_path / "template.yaml").write_text("Resources: {}")
    assert stack.deploy(project, IMAGE, show)
    assert commands == ["build", "deploy", "deploy", "build", "deploy"]


def test_sam_s_reason_is_picked_from_its_output() -> None:
    output = "Building layer\n\nBuild Failed\nError: x\n\nBuild Failed\nError: Makefile not found\nhint\n"
    assert stack.what_went_wrong(output) == ["Error: Makefile not found", "hint"]
    assert stack.what_went_wrong("one\ntwo\n") == ["one", "two"]


class FakeCloudFormation:
    """One stack whose creation failed; it can be deleted."""

    def __init__(self) -> None:
        self.is_there = True

    def describe_stacks(self, StackName: str) -> dict[str, Any]:
        return {"Stacks": [{"StackStatus": "ROLLBACK_COMPLETE"}] if self.is_there else []}

    def describe_stack_events(self, StackName: str) -> dict[str, Any]:
        def event(name: str, reason: str) -> dict[str, Any]:
            moment = datetime(2026, 11, 23, tzinfo=UTC)
            return {
                "LogicalResourceId": name,
                "ResourceType": "AWS::X::Y",
                "ResourceStatus": "CREATE_FAILED",
                "ResourceStatusReason": reason,
                "Timestamp": moment,
            }

        return {"StackEvents": [event("Later", "Resource creation cancelled"), event("First", "role is missing")]}

    def get_paginator(self, operation: str) -> Any:
        resource = {
            "LogicalResourceId": "DataBucket",
            "PhysicalResourceId": "the-data",
            "ResourceType": "AWS::S3::Bucket",
            "ResourceStatus": "CREATE_COMPLETE",
        }
        return SimpleNamespace(paginate=lambda **_: [{"StackResourceSummaries": [resource]}])

    def delete_stack(self, StackName: str) -> None:
        self.is_there = False


def half_made(tmp_path: Path, objects: int) -> stack.Stack:
    project = Project(tmp_path, tmp_path, 4566)
    project._clients["cloudformation"] = FakeCloudFormation()
    project._clients["s3"] = SimpleNamespace(list_objects_v2=lambda **_: {"KeyCount": objects})
    return stack.Stack(project)


def plain_show() -> tuple[Show, io.StringIO]:
    output = io.StringIO()
    return Show(rich.console.Console(file=output, width=160, highlight=False)), output


def test_an_incomplete_stack_without_data_is_deleted_and_its_reason_is_shown(tmp_path: Path) -> None:
    found = half_made(tmp_path, objects=0)
    show, output = plain_show()
    stack._delete_dead(found, "ROLLBACK_COMPLETE", show)
    assert found.status == ""
    assert "was created only in part (ROLLBACK_COMPLETE): First (AWS::X::Y): role is missing" in output.getvalue()


def test_an_incomplete_stack_with_data_is_kept(tmp_path: Path) -> None:
    found = half_made(tmp_path, objects=1)
    with pytest.raises(Problem, match=r"data in the-data\. To start over: `\.venv/bin/python -m local down --delete`"):
        stack._delete_dead(found, "ROLLBACK_COMPLETE", plain_show()[0])
    assert found.status == "ROLLBACK_COMPLETE"
