"""One deployed stack for all end-to-end tests: an embedded AWS of its own, deployed by the user's command."""

import socket
from collections.abc import Iterator

import pytest

from tests.e2e.deployed_stack import DeployedStack


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeployedStack]:
    deployed = DeployedStack(tmp_path_factory.mktemp("local"), free_port())
    try:
        up = deployed.command("up")
        assert up.returncode == 0, f"`up` failed:\n{up.stdout}\n{up.stderr}"
        yield deployed
    finally:
        deployed.command("down", timeout=60)
