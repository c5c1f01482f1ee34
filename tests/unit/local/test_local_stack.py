"""Parameters and fingerprint of the local deployment."""

import io
import json
import subprocess
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
SAMCONFIG = """
version = 0.1
[local.build.parameters]
parameter_overrides = ["FunctionRuntime=python3.11"]
[local.deploy.parameters]
parameter_overrides = 'LogLevel=DEBUG GatePolicy="{\\"floor\\": 0.1}"'
"""


def project_with(tmp_path: Path, samconfig: str = SAMCONFIG) -> Project:
    (tmp_path / "samconfig.toml").write_text(samconfig)
    project = Project(tmp_path, tmp_path / "state", 4566)
    project.make_state_folder()
    return project


def test_the_image_is_added_to_what_samconfig_says(tmp_path: Path) -> None:
    project = project_with(tmp_path)
    reference = stack.write_overrides(project, "deploy", {"ModelImageUri": IMAGE})
    assert reference == f"file://{project.state}/parameters-deploy.yaml"
    assert json.loads((project.state / "parameters-deploy.yaml").read_text()) == [
        'LogLevel=DEBUG GatePolicy="{\\"floor\\": 0.1}"',
        {"ModelImageUri": IMAGE},
    ]


def test_lists_and_tables_of_overrides_are_merged_too() -> None:
    added = {"ModelImageUri": IMAGE}
    assert stack.merged_overrides(["A=1", "B=2"], added) == ["A=1", "B=2", added]
    assert stack.merged_overrides({"A": "1"}, added) == [{"A": "1"}, added]
    assert stack.merged_overrides([], added) == stack.merged_overrides(None, added) == [added]


def test_sam_reads_the_merged_parameters_as_they_are_meant(tmp_path: Path) -> None:
    """The file goes through sam's own parser: a list, a quoted JSON value, an empty value, and the addition last."""
    sam_python = ROOT / ".envs" / "sam" / "bin" / "python"
    assert sam_python.exists(), "run `make setup`"
    overrides = ["A=1", 'GatePolicy="{\\"floor\\": 0.1, \\"k\\": 10}"', "Empty=''", "ModelImageUri=other"]
    path = tmp_path / "a folder" / "parameters.yaml"
    path.parent.mkdir()
    path.write_text(json.dumps(stack.merged_overrides(overrides, {"ModelImageUri": IMAGE})))
    program = (
        "import json, sys, samcli.cli.main; from samcli.cli.types import CfnParameterOverridesType as T; "
        "print(json.dumps(T().convert((sys.argv[1],), None, None)))"
    )
    ran = subprocess.run(
        [sam_python, "-c", program, f"file://{path}"],
        capture_output=True,
        text=True,
        check=True,
        env={"SAM_CLI_TELEMETRY": "0"},
    )
    assert json.loads(ran.stdout.splitlines()[-1]) == {
        "A": "1",
        "GatePolicy": '{"floor": 0.1, "k": 10}',
        "Empty": "",
        "ModelImageUri": IMAGE,
    }


def test_each_command_has_its_own_overrides_and_the_shared_ones_else(tmp_path: Path) -> None:
    path = tmp_path / "samconfig.toml"
    path.write_text(SAMCONFIG)
    assert stack.configured_overrides(path, "build") == ["FunctionRuntime=python3.11"]
    path.write_text('[local.global.parameters]\nparameter_overrides = ["A=1"]\n')
    assert stack.configured_overrides(path, "deploy") == ["A=1"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("[local", "is not TOML"),
        ("[dev.deploy.parameters]\n", r"has no environment \[local\]"),
    ],
)
def test_a_samconfig_that_cannot_be_used_is_a_problem(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "samconfig.toml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(Problem, match=message):
        stack.configured_overrides(path, "deploy")


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
    commands: list[str] = []

    def sam(project: Project, command: str, arguments: Any) -> None:
        commands.append(command)
        (project.state / "build").mkdir(exist_ok=True)
        (project.state / "build" / "template.yaml").touch()

    monkeypatch.setattr(stack, "_sam", sam)
    show = Show(rich.console.Console(file=io.StringIO()))
    assert stack.deploy(project, IMAGE, show)
    assert not stack.deploy(project, IMAGE, show)
    assert commands == ["build", "deploy"]
    assert stack.deploy(project, f"{IMAGE[:-1]}b", show)
    assert commands == ["build", "deploy", "deploy"]
    (tmp_path / "template.yaml").write_text("Resources: {}")
    assert stack.deploy(project, IMAGE, show)
    assert commands == ["build", "deploy", "deploy", "build", "deploy"]


def test_the_project_s_own_samconfig_can_be_merged() -> None:
    for command in ("build", "deploy"):
        merged = stack.merged_overrides(
            stack.configured_overrides(ROOT / "samconfig.toml", command), {"ModelImageUri": IMAGE}
        )
        assert any("FunctionRuntime=python3.11" in str(part) for part in merged)
        assert merged[-1] == {"ModelImageUri": IMAGE}


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
    with pytest.raises(Problem, match=r"data in the-data\. To start over: `python -m local down --delete`"):
        stack._delete_dead(found, "ROLLBACK_COMPLETE", plain_show()[0])
    assert found.status == "ROLLBACK_COMPLETE"
