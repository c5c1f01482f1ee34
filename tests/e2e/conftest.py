"""One deployed stack for the end-to-end tests: an embedded AWS of its own, deployed by the user's command.

Every AWS call of its roles is recorded, and replayed at the end against the roles' policies (tests/permissions).
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.built_once import built_once
from tests.e2e.deployed_stack import DeployedStack
from tests.permissions.proof import prove


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def deployed(folder: Path, request: pytest.FixtureRequest) -> Iterator[DeployedStack]:
    """An embedded AWS of its own with the stack, as long as the context lasts. Fails at its end if a role made a call
    that its policies do not allow.
    """
    stack = DeployedStack(folder, free_port())
    try:
        with built_once(folder):
            up = stack.command("up")
            assert up.returncode == 0, f"`up` failed:\n{up.stdout}\n{up.stderr}"
        yield stack
        prove(stack, request)
    finally:
        stack.command("down", timeout=60)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[DeployedStack]:
    with deployed(tmp_path_factory.mktemp("local"), request) as stack:
        yield stack
