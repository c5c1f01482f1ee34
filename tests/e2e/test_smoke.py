"""`make smoke`, as every pipeline calls it: on a stack of its own, whose data nobody else drops."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import deployed
from tests.e2e.deployed_stack import PROJECT_ROOT, REGION, DeployedStack

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[DeployedStack]:
    with deployed(tmp_path_factory.mktemp("local"), request) as stack:
        yield stack


def smoke(stack: DeployedStack) -> subprocess.CompletedProcess[str]:
    """Run the command in a shell that knows where AWS is."""
    account = {"AWS_ENDPOINT_URL": stack.endpoint_url, "AWS_REGION": REGION, "AWS_CONFIG_FILE": "/dev/null"}
    keys = {"AWS_ACCESS_KEY_ID": "000000000000", "AWS_SECRET_ACCESS_KEY": "local"}
    return subprocess.run(
        [sys.executable, "-m", "delivery", "smoke", "--environment", "local"],
        cwd=PROJECT_ROOT,
        env=stack.environment | account | keys,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_release_is_smoked_and_the_next_one_too(stack: DeployedStack) -> None:
    first = smoke(stack)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "-r1: DEPLOYED" in first.stdout and "items are of the customer's own circle" in first.stdout
    # The next release finds the model of this one, which the same data cannot beat: that is no fault of the release.
    second = smoke(stack)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "items are of the customer's own circle" in second.stdout
