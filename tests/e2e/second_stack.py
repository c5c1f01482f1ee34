"""A second stack on an embedded AWS that has one: deployed from what `up` has built, under names that begin like the
first one's.
"""

from __future__ import annotations

import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager

from delivery.teardown import Teardown
from local.project import Project
from tests.e2e.deployed_stack import PROJECT_ROOT, DeployedStack

NAME, PREFIX = "ncf-local-prod", "ncf-prod"


@contextmanager
def second_stack(first: DeployedStack) -> Iterator[DeployedStack]:
    """The stack `ncf-local-prod` with the prefix `ncf-prod`, beside `ncf-local` with `ncf`; it is gone at the end."""
    project = Project(PROJECT_ROOT, first.state, first.port)
    settings = tomllib.loads((PROJECT_ROOT / "samconfig.toml").read_text("utf-8"))["local"]["deploy"]["parameters"]
    deploy = [str(project.sam), "deploy", "--template-file", str(first.state / "build" / "template.yaml")]
    deploy += ["--config-file", str(PROJECT_ROOT / "samconfig.toml"), "--config-env", "local"]
    deploy += ["--stack-name", NAME, "--s3-prefix", NAME, "--no-confirm-changeset", "--no-progressbar"]
    deploy += ["--parameter-overrides", *settings["parameter_overrides"], f"NamePrefix={PREFIX}"]
    environment = project.environment() | {"SAM_CLI_POLL_DELAY": "0.5"}
    done = subprocess.run(deploy, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    second = DeployedStack(first.state, first.port, NAME)
    try:
        yield second
    finally:
        Teardown.of(second.client, NAME).remove(print)
