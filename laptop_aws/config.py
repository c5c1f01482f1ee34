"""Configuration of the embedded AWS, read once from the environment: paths, port, account and interpreters. Standard
library only, so that a command line imports it quickly."""

from __future__ import annotations

import os
import re
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
    """An environment variable has an invalid value; the message names the variable and a valid value."""


def port_of(text: str, variable: str = "LAPTOP_AWS_PORT") -> int:
    """Returns the port in ``text``, the value of ``variable``. Raises ConfigurationError."""
    if not re.fullmatch("[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise ConfigurationError(f"{variable} must be a port from 1 to 65535, not {text!r}")
    return int(text)


def flag_of(text: str, variable: str) -> bool:
    """Returns whether ``text``, the value of ``variable``, is 1. Raises ConfigurationError if it is not 0 either."""
    if text not in ("0", "1"):
        raise ConfigurationError(f"{variable} must be 0 or 1, not {text!r}")
    return text == "1"


def sdk_environment(endpoint_url: str, region: str = DEFAULT_REGION, account: str = ACCOUNT_ID) -> dict[str, str]:
    """The variables that direct an AWS SDK to the embedded AWS.

    The credentials are not secret and work nowhere else. They, and the empty configuration files, keep an SDK from
    finding the user's own credentials.
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
    """The settings of one host.

    The host writes only under ``root``. ``lambda_interpreter`` runs function code and should contain only boto3, as
    AWS's runtime does; ``interpreter`` (the host's own) runs training, serving and Spark.
    """

    root: Path
    port: int = DEFAULT_PORT
    region: str = DEFAULT_REGION
    account: str = ACCOUNT_ID
    interpreter: Path = field(default_factory=lambda: Path(sys.executable))
    lambda_interpreter: Path | None = None
    calls_file: Path | None = None
    """Where the calls of roles are recorded (``laptop_aws.calls``); None: nowhere."""
    ready_spark: bool = False
    """Whether the host starts a Java for Spark before a job needs it (``laptop_aws.emr_serverless.spare_java``)."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Config:
        """Reads ``LAPTOP_AWS_DIR``, ``_PORT``, ``_REGION``, ``_LAMBDA_PYTHON``, ``_CALLS_FILE`` and
        ``_READY_SPARK``; a blank value counts as unset. Raises ConfigurationError.
        """
        given = {name: value.strip() for name, value in environment.items() if name.startswith("LAPTOP_AWS_")}
        lambda_interpreter = given.get("LAPTOP_AWS_LAMBDA_PYTHON")
        calls_file = given.get("LAPTOP_AWS_CALLS_FILE")
        return cls(
            root=Path(given.get("LAPTOP_AWS_DIR") or DEFAULT_DIRECTORY).expanduser().resolve(),
            port=port_of(given.get("LAPTOP_AWS_PORT") or str(DEFAULT_PORT)),
            region=given.get("LAPTOP_AWS_REGION") or DEFAULT_REGION,
            lambda_interpreter=Path(lambda_interpreter) if lambda_interpreter else None,
            calls_file=Path(calls_file).expanduser().resolve() if calls_file else None,
            ready_spark=flag_of(given.get("LAPTOP_AWS_READY_SPARK") or "0", "LAPTOP_AWS_READY_SPARK"),
        )

    @property
    def endpoint_url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def sdk_environment(self) -> dict[str, str]:
        """The variables that direct an AWS SDK to this host."""
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
        """Temporary files of running jobs (``work/training/<name>``, ``work/endpoints/<name>``, …); each service
        removes its own."""
        return self.root / "work"

    @property
    def temporary_directory(self) -> Path:
        """Unpacked function code and other temporary files; emptied when the host starts and when it ends."""
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
