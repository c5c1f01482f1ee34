"""Where the embedded AWS lives on this machine: paths, port, account and interpreters, read from the environment
once."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

ACCOUNT_ID = "000000000000"
DEFAULT_PORT = 4566
DEFAULT_REGION = "us-east-1"
MINISTACK_VERSION = "1.5.33"
STATE_VERSION = "1"


class ConfigurationError(Exception):
    """The environment asks for something the host cannot do; the message says which variable and what to set."""


def _port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise ConfigurationError(f"NCF_LOCAL_PORT must be a port from 1 to 65535, not {text!r}")
    return int(text)


def _lambda_interpreter(project_root: Path) -> Path:
    named = os.environ.get("NCF_LAMBDA_PYTHON")
    return Path(named) if named else project_root / ".envs" / "lambda" / "bin" / "python"


@dataclass(frozen=True)
class Config:
    """Everything that differs from one laptop, or one test session, to the next.

    ``root`` is ``.local/``; all that the host writes lies under it. ``lambda_interpreter`` runs function code and
    holds boto3 alone, as AWS's runtime does; ``interpreter`` (the host's own) runs training, serving and Spark.
    """

    project_root: Path
    root: Path
    port: int = DEFAULT_PORT
    region: str = DEFAULT_REGION
    account: str = ACCOUNT_ID
    interpreter: Path = field(default_factory=lambda: Path(sys.executable))
    lambda_interpreter: Path = Path("python3")

    @classmethod
    def from_environment(cls) -> Config:
        """Reads ``NCF_LOCAL_DIR``, ``NCF_LOCAL_PORT``, ``NCF_LOCAL_REGION`` and ``NCF_LAMBDA_PYTHON``.

        Raises ConfigurationError for a port that is none.
        """
        project_root = Path(__file__).resolve().parents[2]
        root = Path(os.environ.get("NCF_LOCAL_DIR") or project_root / ".local").expanduser().resolve()
        return cls(
            project_root=project_root,
            root=root,
            port=_port(os.environ.get("NCF_LOCAL_PORT") or str(DEFAULT_PORT)),
            region=os.environ.get("NCF_LOCAL_REGION") or DEFAULT_REGION,
            lambda_interpreter=_lambda_interpreter(project_root),
        )

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def state_directory(self) -> Path:
        """Saved state of every service, one JSON file each."""
        return self.root / "state"

    @property
    def s3_directory(self) -> Path:
        return self.root / "s3"

    @property
    def images_directory(self) -> Path:
        """``images/<sha256>/`` is a model image: a snapshot of ``training/`` and ``serving/``."""
        return self.root / "images"

    @property
    def work_directory(self) -> Path:
        """Scratch of running jobs (``work/training/<name>``, ``work/endpoints/<name>``, ...); services empty what
        they made."""
        return self.root / "work"

    @property
    def temporary_directory(self) -> Path:
        """Unpacked function code and the like; emptied when the host starts and when it ends."""
        return self.root / "tmp"

    @property
    def logs_directory(self) -> Path:
        return self.root / "logs"

    @property
    def log_file(self) -> Path:
        return self.logs_directory / "emulator.log"

    @property
    def ready_file(self) -> Path:
        """Present while the host answers requests: ``{"pid", "port", "endpointUrl", "version", ...}``."""
        return self.root / "emulator.json"
