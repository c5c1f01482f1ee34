"""The folders of local mode, and its clients of the embedded AWS.

Every command works on one `Project`: the working tree, the state folder (`.local`, moved by `NCF_LOCAL_DIR`) and the
port (4566, moved by `NCF_LOCAL_PORT`). Clients and child processes get an environment without the settings of a real
AWS account: no profile, no configuration file, no key. No call leaves the loopback interface.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config as ClientConfig

from contracts import documents
from contracts.documents import Unfit
from control.connection import Connection
from laptop_aws import config

STACK = "ncf-local"
REGION = config.DEFAULT_REGION
ACCESS_KEY = config.ACCOUNT_ID
SECRET_KEY = config.SECRET_KEY


class Problem(Exception):
    """A problem with this machine or the arguments, which the user must fix (exit status 2)."""


class RunFailedError(Exception):
    """A run failed; the message is its reason (exit status 1)."""


def without_aws_account(environment: dict[str, str], endpoint: str) -> dict[str, str]:
    """A copy of `environment` in which every AWS setting points to the embedded AWS.

    All `AWS_*` variables are removed, including those that only later versions of botocore read. Loopback bypasses any
    proxy.
    """
    kept = {name: value for name, value in environment.items() if not name.upper().startswith("AWS_")}
    for name in ("NO_PROXY", "no_proxy"):
        kept[name] = f"{kept[name]},{config.LOOPBACK}" if kept.get(name) else config.LOOPBACK
    return kept | config.sdk_environment(endpoint) | {"SAM_CLI_TELEMETRY": "0"}


@dataclass(frozen=True)
class Project:
    """One working tree with its local state.

    `root` is the repository, `state` the folder of everything that local mode writes, `port` where the embedded AWS
    listens.
    """

    root: Path
    state: Path
    port: int
    _clients: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def from_environment(cls, environment: dict[str, str] | None = None) -> Project:
        """The project of this file's working tree. Raises Problem if NCF_LOCAL_PORT is not a port."""
        given = os.environ if environment is None else environment
        root = Path(__file__).resolve().parents[1]
        state = given.get("NCF_LOCAL_DIR", "").strip() or root / ".local"
        port = given.get("NCF_LOCAL_PORT", "").strip() or str(config.DEFAULT_PORT)
        try:
            return cls(root, Path(state).expanduser().resolve(), config.port_of(port, "NCF_LOCAL_PORT"))
        except config.ConfigurationError as error:
            raise Problem(str(error)) from None

    @property
    def endpoint(self) -> str:
        return f"http://{config.HOST}:{self.port}"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def emulator_file(self) -> Path:
        return self.state / "emulator.json"

    @property
    def emulator_log(self) -> Path:
        return self.logs / "emulator.log"

    def preparation_log(self, job_run_id: str) -> Path:
        """The live log of a Spark job."""
        return self.logs / "emr" / f"{job_run_id}.log"

    @property
    def python(self) -> str:
        return sys.executable

    @property
    def sam(self) -> Path:
        return self.root / ".envs" / "sam" / "bin" / "sam"

    def environment(self) -> dict[str, str]:
        """The environment for child processes; the interpreter of this process is first on PATH, because `sam build`
        looks it up by name.
        """
        environment = without_aws_account(dict(os.environ), self.endpoint)
        environment["PATH"] = f"{Path(self.python).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
        environment["NCF_LOCAL_DIR"] = str(self.state)
        environment["NCF_LOCAL_PORT"] = str(self.port)
        return environment

    def emulator_environment(self) -> dict[str, str]:
        """The environment of the emulator: the user's `LAPTOP_AWS_*` settings, except folder and port."""
        lambda_python = self.root / ".envs" / "lambda" / "bin" / "python"
        return (
            {"LAPTOP_AWS_LAMBDA_PYTHON": str(lambda_python), "LAPTOP_AWS_READY_SPARK": "1"}
            | self.environment()
            | {"LAPTOP_AWS_DIR": str(self.state), "LAPTOP_AWS_PORT": str(self.port)}
        )

    def adopt_environment(self) -> None:
        """Apply `environment` to this process, so that no library finds a profile or a key."""
        clean = self.environment()
        os.environ.clear()
        os.environ.update(clean)

    @cached_property
    def _session(self) -> boto3.Session:
        return boto3.Session(aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY, region_name=REGION)

    @cached_property
    def connection(self) -> Connection:
        """The stack as `control` and the console know it."""
        return Connection(STACK, region=REGION, endpoint_url=self.endpoint)

    def client(self, service: str) -> Any:
        """A boto3 client of the embedded AWS (`Any`: boto3 makes its clients at run time)."""
        if service not in self._clients:
            settings = ClientConfig(
                retries={"mode": "standard", "max_attempts": 2},
                connect_timeout=5,
                read_timeout=60,
                s3={"addressing_style": "path"},
                proxies={},
            )
            self._clients[service] = self._session.client(service, endpoint_url=self.endpoint, config=settings)
        return self._clients[service]

    def read_state(self, name: str) -> dict[str, Any]:
        """The JSON object in `<state>/<name>`, or {} if it is missing or unreadable (it is only a cache)."""
        try:
            return documents.read_object((self.state / name).read_bytes(), name)
        except (OSError, Unfit):
            return {}

    def write_state(self, name: str, content: dict[str, Any]) -> None:
        """Replace `<state>/<name>` in one step, so that a reader never sees a partial file."""
        self.make_state_folder()
        path = self.state / name
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
        temporary.replace(path)

    def make_state_folder(self) -> None:
        """Create the state folder. Raises Problem if it cannot be written."""
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
            probe = self.state / f".writable.{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise Problem(
                f"the state folder {self.state} cannot be written ({error.strerror}); set NCF_LOCAL_DIR to one that can"
            ) from error
