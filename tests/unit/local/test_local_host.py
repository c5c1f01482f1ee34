"""Checks of the machine: the owner of the port, the emulator of this folder, Java."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from laptop_aws import identity, java
from local import host
from local.console import Show
from local.project import Problem, Project, without_aws_account


def project_at(tmp_path: Path, port: int = 4566) -> Project:
    return Project(root=tmp_path, state=tmp_path / ".local", port=port)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_port_in_use_is_reported_with_its_process_and_a_remedy(tmp_path: Path, taken_port: int) -> None:
    with pytest.raises(Problem) as problem:
        host.check_port(project_at(tmp_path, taken_port))
    text = str(problem.value)
    assert f"port {taken_port} on 127.0.0.1 is in use by another program" in text
    assert f"pid {os.getpid()}" in text
    assert f"NCF_LOCAL_PORT={taken_port + 1}" in text


def test_another_embedded_aws_on_the_port_is_called_that() -> None:
    text = host.port_in_use_message(4566, 42, "python -m ministack", is_emulator=True)
    assert text.startswith(
        "port 4566 on 127.0.0.1 is in use by another embedded AWS (not of this folder), pid 42 (python -m ministack)."
    )


def test_an_unknown_owner_is_left_out_and_the_last_port_has_another_to_offer() -> None:
    assert host.port_in_use_message(65535, None, "", is_emulator=False) == (
        "port 65535 on 127.0.0.1 is in use by another program. Stop it, or choose another port: NCF_LOCAL_PORT=65534"
    )


def test_a_free_port_is_no_problem(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    host.check_port(project_at(tmp_path, port))


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits, with the command line of an emulator."""
    command = [sys.executable, "-c", "import sys; print('ready', flush=True); sys.stdin.read()", "-m", "laptop_aws"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        started.stdout.readline()
        yield started
        started.kill()


def record_of(process: subprocess.Popen[bytes], project: Project) -> dict[str, Any]:
    """The content of `emulator.json` if this process were the emulator."""
    started = identity.start_of(process.pid)
    return {"pid": process.pid, "port": 4700, "started": started, "directory": str(project.state)}


def test_an_emulator_of_this_folder_is_found(tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    project = project_at(tmp_path)
    project.write_state("emulator.json", record_of(process, project))
    found = host.find(project)
    assert found is not None and (found.pid, found.port) == (process.pid, 4700)
    with pytest.raises(Problem, match=r"already runs on port 4700 .*NCF_LOCAL_PORT=4700"):
        host.start(project, Show())
    assert host.stop(project, Show()) is True
    assert process.wait(5) != 0
    assert not project.emulator_file.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"directory": "/another/project/.local"},
        {"started": "another boot 1234"},
        {"started": None},
        {"pid": 2**22 + 12345},
        {"pid": "many"},
    ],
    ids=lambda change: "another " + next(iter(change)),
)
def test_down_leaves_the_process_of_a_stale_file_alone(
    tmp_path: Path, process: subprocess.Popen[bytes], change: dict[str, Any]
) -> None:
    project = project_at(tmp_path)
    project.write_state("emulator.json", record_of(process, project) | change)
    assert host.find(project) is None
    assert host.stop(project, Show()) is False
    assert process.poll() is None


def test_an_emulator_of_another_user_is_a_problem(
    tmp_path: Path, process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(pid: int, number: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    project = project_at(tmp_path)
    project.write_state("emulator.json", record_of(process, project))
    monkeypatch.setattr(os, "kill", refuse)
    with pytest.raises(Problem, match=rf"\(pid {process.pid}\) was started by the user \w+: stop it as that user"):
        host.stop(project, Show())


def test_stopping_nothing_is_no_error(tmp_path: Path) -> None:
    assert host.stop(project_at(tmp_path), Show()) is False


def test_a_missing_java_is_reported_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(state_dir: Path) -> java.Java:
        raise java.NoJava("Spark needs Java 17 or 21 and none was found.")

    monkeypatch.setattr(java, "find", none)
    with pytest.raises(Problem, match="needs Java 17 or 21"):
        host.check_java(project_at(tmp_path))


def test_a_missing_environment_is_named(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"\.envs/sam/bin/sam and \.envs/lambda/bin/python not found .*make setup"):
        host.check_environments(project_at(tmp_path))


@pytest.mark.parametrize("text", ["0", "65536", "http", "-1", "4566.0", "٤٥٦٦", "²", "9" * 5000])
def test_an_invalid_port_is_refused(text: str) -> None:
    with pytest.raises(Problem, match=f"NCF_LOCAL_PORT must be a port from 1 to 65535, not '{text}'"):
        Project.from_environment({"NCF_LOCAL_PORT": text})


def test_the_port_has_a_default() -> None:
    for environment in ({}, {"NCF_LOCAL_PORT": " "}):
        assert Project.from_environment(environment).port == 4566


def test_nothing_of_an_aws_account_is_left_in_the_environment() -> None:
    given = {
        "AWS_PROFILE": "production",
        "AWS_SESSION_TOKEN": "secret",
        "AWS_ENDPOINT_URL_S3": "https://s3.amazonaws.com",
        "AWS_ACCESS_KEY_ID": "AKIAREAL",
        "aws_profile": "production",
        "HOME": "/home/somebody",
        "NO_PROXY": "intranet",
    }
    clean = without_aws_account(given, "http://127.0.0.1:4566")
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "aws_profile"} & set(clean)
    assert clean["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566"
    assert clean["AWS_ACCESS_KEY_ID"] == "000000000000"
    assert clean["AWS_CONFIG_FILE"] == clean["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull
    assert clean["NO_PROXY"] == "intranet,127.0.0.1,localhost"
    assert clean["HOME"] == "/home/somebody"


def test_the_state_folder_and_the_port_can_be_moved(tmp_path: Path) -> None:
    project = Project.from_environment({"NCF_LOCAL_DIR": str(tmp_path / "elsewhere"), "NCF_LOCAL_PORT": "4999"})
    assert (project.state, project.endpoint) == (tmp_path / "elsewhere", "http://127.0.0.1:4999")
    assert Project.from_environment({}).state == Project.from_environment({}).root / ".local"


def test_a_state_file_that_is_broken_reads_as_empty(tmp_path: Path) -> None:
    project = project_at(tmp_path)
    project.write_state("shop.json", {"drops": 3})
    assert json.loads((project.state / "shop.json").read_text()) == {"drops": 3} == project.read_state("shop.json")
    (project.state / "shop.json").write_text('{"drops": ')
    assert project.read_state("shop.json") == {}


def test_a_state_folder_that_cannot_be_made_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / ".local").write_text("a file in its place")
    with pytest.raises(Problem, match=r"the state folder .*\.local cannot be written .*NCF_LOCAL_DIR"):
        project_at(tmp_path).make_state_folder()
