"""Builds and deploys the application on the embedded AWS with the real `sam build` and `sam deploy`, and reads the
stack.

The parameters are those of samconfig's environment `local`. The URI of the model image goes where the template looks
for it, as on AWS: into Parameter Store.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from contracts import model_image
from local.console import Show
from local.project import STACK, Problem, Project

CONFIG_ENVIRONMENT = "local"
DEPLOYMENT_BUCKET = "ncf-local-deployments"
SOURCES = ("template.yaml", "samconfig.toml", "functions", "statemachines", "emr", "contracts")
"""The inputs of `sam build`. contracts is in functions and emr by a link, which `rglob` does not follow."""
IGNORED = ("__pycache__", ".pyc", ".ruff_cache", ".mypy_cache")
BUILT_FILE, DEPLOYED_FILE = "built.json", "deployed.json"
# States in which an update is possible, and states in which only deletion is.
READY = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE")
DEAD = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED", "REVIEW_IN_PROGRESS")
WAIT_SECONDS = 120.0
TAIL_LINES = 25


class Stack:
    """The stack in CloudFormation; `status` is an empty string if it does not exist."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.client = project.client("cloudformation")

    def describe(self) -> dict[str, Any]:
        """The stack's description, or {} if there is none."""
        try:
            found = self.client.describe_stacks(StackName=STACK)["Stacks"]
        except ClientError as error:
            if "does not exist" in str(error):
                return {}
            raise
        return next((stack for stack in found if stack["StackStatus"] != "DELETE_COMPLETE"), {})

    @property
    def status(self) -> str:
        return str(self.describe().get("StackStatus", ""))

    def outputs(self) -> dict[str, str]:
        """The stack's outputs by key. Raises Problem if the stack is not deployed."""
        stack = self.describe()
        if not stack or stack["StackStatus"] not in READY:
            raise Problem(f"the application is not deployed ({stack.get('StackStatus', 'no stack')}): run `make up`")
        return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}

    def parameters(self) -> dict[str, str]:
        """The stack's parameters by name."""
        given = self.describe().get("Parameters", [])
        return {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in given}

    def resources(self) -> list[dict[str, Any]]:
        pages = self.client.get_paginator("list_stack_resources").paginate(StackName=STACK)
        return [resource for page in pages for resource in page["StackResourceSummaries"]]

    def physical_id(self, logical_id: str) -> str | None:
        """The physical id of a resource, or None if the stack has none of that name."""
        try:
            found = self.client.describe_stack_resource(StackName=STACK, LogicalResourceId=logical_id)
        except ClientError:
            return None
        return str(found["StackResourceDetail"]["PhysicalResourceId"])

    def failures(self, since: float = 0.0) -> list[str]:
        """CloudFormation's message for each resource that failed after `since` (epoch seconds), in order. Leaves out
        resources that were cancelled because another failed.
        """
        try:
            events = self.client.describe_stack_events(StackName=STACK)["StackEvents"]
        except ClientError:
            return []
        failed = []
        for event in reversed(events):
            reason = event.get("ResourceStatusReason", "")
            if event["Timestamp"].timestamp() < since or not event["ResourceStatus"].endswith("_FAILED"):
                continue
            if "cancelled" not in reason.lower():
                failed.append(
                    f"{event['LogicalResourceId']} ({event.get('ResourceType', '')}): {reason or 'no reason given'}"
                )
        return failed


@contextlib.contextmanager
def only_deployment(project: Project, show: Show) -> Iterator[None]:
    """Hold the deployment lock; a second command waits and says so."""
    project.make_state_folder()
    with _held(project.state / "deploy.lock", "another command is deploying: waiting for it", show):
        yield


@contextlib.contextmanager
def _held(file: Path, waiting: str, show: Show) -> Iterator[None]:
    """Hold a lock, and show `waiting` while another process has it."""
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            show.step(waiting)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fingerprint(root: Path) -> str:
    """SHA-256 over the inputs of `sam build`: template, configuration, state machines, function and Spark
    code.
    """
    digest = hashlib.sha256()
    for source in SOURCES:
        path = root / source
        files = [path] if path.is_file() else sorted(path.rglob("*")) if path.is_dir() else []
        for file in files:
            if file.is_file() and not any(part.endswith(IGNORED) for part in file.parts):
                digest.update(f"\0{file.relative_to(root)}\0{file.stat().st_mode & 0o111}\0".encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()


def deploy(project: Project, image: str, show: Show) -> bool:
    """Deploy the working tree; False if the stack was already up to date. On failure, raises Problem with the end of
    sam's output and CloudFormation's reasons.
    """
    stack = Stack(project)
    sources = fingerprint(project.root)
    status = _settled(stack, show)
    wanted = {"sources": sources, "image": image, "stackId": stack.describe().get("StackId", "")}
    if status in READY and project.read_state(DEPLOYED_FILE) == wanted:
        show.good(f"application is deployed and up to date ({status})")
        return False
    if status in DEAD:
        _delete_dead(stack, status, show)
    build = project.state / "build"
    common = ["--config-env", CONFIG_ENVIRONMENT, "--config-file", str(project.root / "samconfig.toml")]
    if project.read_state(BUILT_FILE) != {"sources": sources} or not (build / "template.yaml").exists():
        arguments = ["--template-file", str(project.root / "template.yaml"), "--cached", "--parallel", *common]
        arguments += ["--build-dir", str(build), "--cache-dir", str(project.state / "build-cache")]
        # SAM keeps dependencies in .aws-sam of the working tree, and a build deletes those that it does not know.
        folder = project.root / ".aws-sam"
        folder.mkdir(exist_ok=True)
        waiting = "another command builds this working tree: waiting for it"
        with _held(folder / "build.lock", waiting, show), show.stage("sam build"):
            _sam(project, "build", arguments)
        project.write_state(BUILT_FILE, {"sources": sources})
    _ensure_bucket(project)
    _name_image(project, image)
    with show.stage("sam deploy") as note:
        arguments = ["--template-file", str(build / "template.yaml"), *common, "--stack-name", STACK]
        arguments += ["--s3-bucket", DEPLOYMENT_BUCKET, "--s3-prefix", STACK]
        arguments += ["--no-confirm-changeset", "--no-fail-on-empty-changeset", "--no-progressbar"]
        started = time.time()
        try:
            _sam(project, "deploy", arguments)
        except Problem as problem:
            reasons = stack.failures(started - 1)
            raise Problem("\n".join([str(problem), *(f"  {reason}" for reason in reasons)])) from problem
        resources = stack.resources()
        note(f"{stack.status}, {len(resources)} resources")
    project.write_state(DEPLOYED_FILE, wanted | {"stackId": stack.describe()["StackId"]})
    return True


def _settled(stack: Stack, show: Show) -> str:
    """The stack's status after any operation in progress. Raises Problem if it does not end."""
    status = stack.status
    if not status.endswith("_IN_PROGRESS") or status == "REVIEW_IN_PROGRESS":
        return status
    with show.stage(f"wait for the earlier operation on the stack to end ({status})"):
        deadline = time.monotonic() + WAIT_SECONDS
        while status.endswith("_IN_PROGRESS") and time.monotonic() < deadline:
            time.sleep(0.5)
            status = stack.status
        if status.endswith("_IN_PROGRESS"):
            raise Problem(
                f"the stack {STACK} has been {status} for {WAIT_SECONDS:.0f} s; "
                "start over with `.venv/bin/python -m local down --delete` (this forgets all local data)"
            )
    return status


def _delete_dead(stack: Stack, status: str, show: Show) -> None:
    """Delete a stack that was never usable, so that it can be created again. Raises Problem for a stack that holds
    data."""
    reasons = stack.failures()
    show.warn(f"the stack {STACK} was created only in part ({status})" + (f": {reasons[0]}" if reasons else ""))
    holding = [
        resource["PhysicalResourceId"]
        for resource in (stack.resources() if status != "REVIEW_IN_PROGRESS" else [])
        if resource["LogicalResourceId"] == "DataBucket"
        and resource["ResourceStatus"] not in ("DELETE_COMPLETE", "CREATE_FAILED")
        and _has_objects(stack.project, resource["PhysicalResourceId"])
    ]
    if holding:
        raise Problem(
            f"it cannot be updated, and a new one would not see the data in {', '.join(holding)}. "
            "To start over: `.venv/bin/python -m local down --delete`, then `make up`"
        )
    with show.stage("delete the incomplete stack, which holds no data"):
        stack.client.delete_stack(StackName=STACK)
        deadline = time.monotonic() + WAIT_SECONDS
        while stack.status and time.monotonic() < deadline:
            time.sleep(0.25)
        if stack.status:
            raise Problem(
                f"the stack {STACK} was not deleted ({stack.status}); "
                "start over with `.venv/bin/python -m local down --delete`"
            )


def _has_objects(project: Project, bucket: str) -> bool:
    try:
        return bool(project.client("s3").list_objects_v2(Bucket=bucket, MaxKeys=1).get("KeyCount"))
    except ClientError:
        return False


def _ensure_bucket(project: Project) -> None:
    s3 = project.client("s3")
    try:
        s3.head_bucket(Bucket=DEPLOYMENT_BUCKET)
    except ClientError:
        s3.create_bucket(Bucket=DEPLOYMENT_BUCKET)


def _name_image(project: Project, image: str) -> None:
    project.client("ssm").put_parameter(
        Name=model_image.PARAMETER, Value=image, Type="String", AllowedPattern=model_image.PATTERN, Overwrite=True
    )


def _sam(project: Project, command: str, arguments: Sequence[str]) -> None:
    """Run `sam <command>` with its output in a log file. On failure, raises Problem with the end of the output. Ctrl-C
    ends sam too."""
    log = project.logs / f"sam-{command}.log"
    environment = project.environment() | {"SAM_CLI_POLL_DELAY": "0.5", "PYTHONUNBUFFERED": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(project.sam), command, *arguments],
            cwd=project.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait()
            raise
    if status:
        tail = "\n".join(f"  {line}" for line in what_went_wrong(log.read_text("utf-8", errors="replace")))
        raise Problem(f"`sam {command}` ended with status {status}; its full output is in {log}\n{tail}")


def what_went_wrong(output: str) -> list[str]:
    """The reason in sam's output: the text from its last `Error:`, or else its last lines."""
    lines = [line for line in output.rstrip().splitlines() if line.strip()]
    errors = [position for position, line in enumerate(lines) if line.lstrip().startswith(("Error:", "Build Failed"))]
    return lines[errors[-1] :][:TAIL_LINES] if errors else lines[-TAIL_LINES:]
