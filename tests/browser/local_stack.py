"""The application on the embedded AWS, deployed by the user's command, for the console to show."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from control.connection import Connection
from control.ledger import Ledger
from tests.built_once import built_once

PROJECT_ROOT = Path(__file__).resolve().parents[2]
LONGEST_RUN_SECONDS = 900


class LocalStack:
    """The stack ncf-local at `endpoint_url`; `environment` runs `python -m local` on it."""

    def __init__(self, endpoint_url: str, environment: dict[str, str] | None = None) -> None:
        self.endpoint_url, self.environment = endpoint_url, environment
        self.connection = Connection("ncf-local", endpoint_url=endpoint_url)

    @classmethod
    @contextmanager
    def deployed(cls, folder: Path, port: int) -> Iterator[LocalStack]:
        """A stack of its own, as long as the block lasts."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment |= {"NCF_LOCAL_DIR": str(folder), "NCF_LOCAL_PORT": str(port), "NO_COLOR": "1"}
        stack = cls(f"http://127.0.0.1:{port}", environment)
        try:
            with built_once(folder):
                up = stack.command("up")
                assert up.returncode == 0, f"`up` failed:\n{up.stdout}\n{up.stderr}"
            yield stack
        finally:
            stack.command("down", timeout=60)

    def command(self, *arguments: str, timeout: float = 1200) -> subprocess.CompletedProcess[str]:
        """Run `python -m local …` to its end, in the environment of the product."""
        return subprocess.run(
            [PROJECT_ROOT / ".venv" / "bin" / "python", "-m", "local", *arguments],
            cwd=PROJECT_ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    @cached_property
    def outputs(self) -> dict[str, str]:
        return self.connection.outputs

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.connection, self.outputs["RunsTableName"])

    def client(self, service: str) -> Any:
        return self.connection.client(service)

    def drop(self, name: str, files: dict[str, bytes]) -> None:
        """Upload a drop to the data bucket, and close it."""
        s3, bucket = self.client("s3"), self.outputs["DataBucketName"]
        for file_name, content in {**files, "_SUCCESS": b""}.items():
            s3.put_object(Bucket=bucket, Key=f"raw/{name}/{file_name}", Body=content)


def eventually(condition: Callable[[], Any], what: str, seconds: float = LONGEST_RUN_SECONDS) -> Any:
    """The first true value of `condition`; fails with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.5)
    pytest.fail(f"not seen within {seconds:.0f} s: {what}")
