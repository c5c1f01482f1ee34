"""Runs `sam build` of the application into a given folder."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def sam(root: Path, *arguments: str, python: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs the SAM CLI in `root`, without prompts, telemetry or an AWS account, and with `python` first on PATH."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    if python is not None:
        environment["PATH"] = f"{python.parent}{os.pathsep}{environment['PATH']}"
    environment |= {
        "SAM_CLI_TELEMETRY": "0",
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    }
    command = [str(root / ".envs" / "sam" / "bin" / "sam"), *arguments]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=500)


def build(root: Path, folder: Path, runtime: str, architecture: str, python: Path | None = None) -> Path:
    """Builds every function and layer for `runtime` and `architecture` under `folder`; returns the folder of the
    artefacts. `python` is the interpreter of that runtime, if it is not on PATH. Raises AssertionError with sam's
    output if the build fails.
    """
    artefacts = folder / "artefacts"
    result = sam(
        root, "build", "--config-env", "local", "--no-cached", "--build-dir", str(artefacts),
        "--parameter-overrides", f"FunctionRuntime={runtime}", f"FunctionArchitecture={architecture}",
        python=python,
    )  # fmt: skip
    assert result.returncode == 0, (
        f"sam build for {runtime} on {architecture} failed:\n{result.stdout}\n{result.stderr}"
    )
    return artefacts
