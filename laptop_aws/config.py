"""Where the embedded AWS lives on this machine: paths, port, account and interpreters, read from the environment
once. Standard library only, so that a command line can import it in no time."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from laptop_aws.identity import READY_FILE

HOST = "127.0.0.1"
LOOPBACK = f"{HOST},localhost"
DEFAULT_DIRECTORY = ".laptop-aws"
DEFAULT_PORT = 4566
DEFAULT_REGION = "us-east-1"
ACCOUNT_ID = "000000000000"
SECRET_KEY = "local"
MINISTACK_VERSION = "1.5.33"
STATE_VERSION = "1"


class ConfigurationError(Exception):
    """The environment asks for something the host cannot do; the message says which variable and what to set."""


def port_of(text: str, variable: str = "LAPTOP_AWS_PORT") -> int:
    """The port that ``text``, the value of ``variable``, names. Raises ConfigurationError."""
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise ConfigurationError(f"{variable} must be a port from 1 to 65535, not {text!r}")
    return int(text)


def sdk_environment(endpoint_url: str, region: str = DEFAULT_REGION, account: str = ACCOUNT_ID) -> dict[str, str]:
    """The variables that lead an AWS SDK to the embedded AWS.

    The credentials are not secret and work nowhere else; setting them, and pointing the configuration files at
    nothing, is what keeps an SDK from finding the person's own.
    """
    return {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_ACCESS_KEY_ID": account,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@dataclass(frozen=True)
class Config:
    """Everything that differs from one laptop, or one test session, to the next.

    All that the host writes lies under ``root``. ``lambda_interpreter`` runs function code and should hold boto3
    alone, as AWS's runtime does; ``interpreter`` (the host's own) runs training, serving and Spark.
    """

    root: Path
    port: int = DEFAULT_PORT
    region: str = DEFAULT_REGION
    account: str = ACCOUNT_ID
    interpreter: Path = field(default_factory=lambda: Path(sys.executable))
    lambda_interpreter: Path | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Config:
        """Reads ``LAPTOP_AWS_DIR``, ``LAPTOP_AWS_PORT``, ``LAPTOP_AWS_REGION`` and ``LAPTOP_AWS_LAMBDA_PYTHON``; a
        blank value counts as unset. Raises ConfigurationError when the port is not one.
        """
        given = {name: value.strip() for name, value in environment.items() if name.startswith("LAPTOP_AWS_")}
        lambda_interpreter = given.get("LAPTOP_AWS_LAMBDA_PYTHON")
        return cls(
            root=Path(given.get("LAPTOP_AWS_DIR") or DEFAULT_DIRECTORY).expanduser().resolve(),
            port=port_of(given.get("LAPTOP_AWS_PORT") or str(DEFAULT_PORT)),
            region=given.get("LAPTOP_AWS_REGION") or DEFAULT_REGION,
            lambda_interpreter=Path(lambda_interpreter) if lambda_interpreter else None,
        )

    @property
    def endpoint_url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def sdk_environment(self) -> dict[str, str]:
        """The variables that lead an AWS SDK to this host."""
        return sdk_environment(self.endpoint_url, self.region, self.account)

    @property
    def state_directory(self) -> Path:
        """Saved state of every service, one JSON file each."""
        return self.root / "state"

    @property
    def s3_directory(self) -> Path:
        return self.root / "s3"

    @property
    def work_directory(self) -> Path:
        """Scratch of running jobs (``work/training/<name>``, ``work/endpoints/<name>``, …); each service removes
        what it made."""
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
        """Present while the host answers requests: ``{"pid", "started", "directory", "port", "endpointUrl", …}``."""
        return self.root / READY_FILE
