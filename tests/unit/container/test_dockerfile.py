"""The Dockerfile's instructions, executed in a folder without Docker, a base image or installed packages.

Only a real build can test that the base image exists and that its Python runs the packages.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
DOCKERFILE = ROOT / "container" / "Dockerfile"
PROGRAM = "/opt/program"


def instructions() -> Any:
    """Return (instruction, arguments) of each line of the Dockerfile, with continued lines joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [tuple(line.split(None, 1)) for line in lines if line.strip()]


def install(arguments: Any) -> Any:
    return "pip install" in arguments


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The folder that replaces /opt/program, and the image's environment variables."""
    program = tmp_path_factory.mktemp("image") / "program"
    base = tmp_path_factory.mktemp("base")
    for command in ("train", "serve"):  # the base image has commands of these names
        (base / command).write_text("#!/bin/sh\nexit 99\n")
        (base / command).chmod(0o755)
    environment = {"PATH": f"{base}:{Path(sys.executable).parent}:/usr/bin:/bin"}
    for name, arguments in instructions():
        arguments = arguments.replace(PROGRAM, str(program))
        if name == "COPY":
            *sources, target = arguments.split()
            for source in sources:
                origin = ROOT / source
                assert origin.exists(), f"COPY {source}: there is no such path"
                if origin.is_dir():
                    # With what numba has compiled here: to compile it again takes ten seconds.
                    shutil.copytree(origin, target, ignore=shutil.ignore_patterns("*.pyc"))
                else:
                    Path(target).mkdir(parents=True, exist_ok=True)
                    shutil.copy(origin, target)
        elif name == "RUN":
            if install(arguments):
                continue
            subprocess.run(["/bin/sh", "-c", arguments], env=environment, check=True, cwd=program)
        elif name == "ENV":
            for pair in shlex.split(arguments):
                variable, _, value = pair.partition("=")
                environment[variable] = value.replace("${PATH}", environment["PATH"])
    return program, environment


def test_the_default_base_image_is_sagemakers_pytorch_image() -> None:
    arguments = dict(argument.split("=", 1) for name, argument in instructions() if name == "ARG" if "=" in argument)
    assert [argument for name, argument in instructions() if name == "FROM"] == ["${BASE_IMAGE}"]
    assert arguments["BASE_IMAGE"].partition("@")[0].replace("${REGION}", arguments["REGION"]) == (
        "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch:2.13-cu133-amzn2023-sagemaker"
    )


def test_the_base_image_has_the_pinned_torch() -> None:
    (pin,) = re.findall(r"^torch==(\S+)$", (ROOT / "requirements" / "training.txt").read_text(), re.MULTILINE)
    assert f'== "{pin}"' in DOCKERFILE.read_text()
    assert f"pytorch:{pin.rpartition('.')[0]}-" in DOCKERFILE.read_text()


def pins(name: str) -> list[str]:
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    return [line.rstrip(" \\") for line in lines if re.match(r"\w", line)]


def test_installs_every_pinned_package_except_torch_by_its_hashes() -> None:
    wanted = [pin for pin in (*pins("training"), *pins("serving")) if not pin.startswith("torch==")]
    assert sorted(pins("image")) == sorted(wanted), "requirements/image.txt is not current: make lock"
    packages = re.split(r"^(?=\w)", (ROOT / "requirements" / "image.txt").read_text(), flags=re.MULTILINE)[1:]
    assert [package for package in packages if not re.search(r"--hash=sha256:[0-9a-f]{64}\b", package)] == []
    (installs,) = [arguments for name, arguments in instructions() if name == "RUN" and install(arguments)]
    assert shlex.split(installs)[3:] == [
        "install", "--no-cache-dir", "--disable-pip-version-check", "--require-hashes", "--only-binary", ":all:",
        "--requirement", "/opt/program/requirements/image.txt",
    ]  # fmt: skip


def test_the_build_context_has_only_the_copied_files() -> None:
    kept = [
        line[1:]
        for line in (ROOT / "container" / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    copied = [source for name, arguments in instructions() if name == "COPY" for source in arguments.split()[:-1]]
    assert sorted(kept) == sorted(copied)


def test_the_image_has_no_entry_point() -> None:
    assert ("ENTRYPOINT", "[]") in instructions()


@pytest.mark.parametrize("command", ["train", "serve"])
def test_the_commands_come_before_those_of_the_base_image(image: Any, command: Any) -> None:
    program, environment = image
    assert shutil.which(command, path=environment["PATH"]) == str(program / "bin" / command)


def test_serve_answers_for_a_model(image: Any, bundle_directory: Any) -> None:
    program, environment = image
    process = subprocess.Popen(
        ["serve"],
        executable=program / "bin" / "serve",
        env=environment | {"SM_MODEL_DIR": str(bundle_directory), "SERVING_HOST": "127.0.0.1", "SERVING_PORT": "0"},
        stdout=subprocess.PIPE,
        text=True,
        cwd=os.sep,
    )
    assert process.stdout is not None
    try:
        connection = http.client.HTTPConnection("127.0.0.1", json.loads(process.stdout.readline())["port"], timeout=60)
        connection.request("GET", "/ping")
        assert connection.getresponse().status == 200
        connection.close()
        process.terminate()  # the shell has replaced itself by Python, so the exit status is the server's
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()


def test_train_refuses_an_empty_container_with_a_reason(image: Any, tmp_path: Path) -> None:
    _, environment = image
    result = subprocess.run(
        ["train"],
        executable=shutil.which("train", path=environment["PATH"]),
        env=environment | {"SAGEMAKER_BASE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode != 0
    assert (tmp_path / "output" / "failure").read_text().strip()
