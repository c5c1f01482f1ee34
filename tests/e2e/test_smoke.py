"""`make smoke`, as every pipeline calls it: on a stack of its own, whose data nobody else drops. The second time, a
second stack stands beside it, and neither touches the other.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from control.connection import Connection
from delivery.chain.smoke import Smoke
from delivery.teardown import Teardown
from tests.e2e.conftest import deployed
from tests.e2e.deployed_stack import PROJECT_ROOT, REGION, DeployedStack, eventually
from tests.e2e.second_stack import PREFIX, called, inventory, second_stack, served, versions
from tests.permissions.replay import Account, recorded, trespasses

pytestmark = pytest.mark.timeout(1800)
OF_NO_STACK = re.compile(
    r"application-autoscaling:\w+ .*"  # on AWS, the ARN of a scalable target has no name in it
    r"|cloudwatch:PutMetricData \*"  # knows no resource; the namespace limits it
    r"|ecr:\w+ .*"  # one image for both
    r"|events:PutEvents .*:event-bus/default"  # an event says its stack, and rules match it
    r"|logs:\w+ .*:log-group:/aws/sagemaker/(Training|Transform)Jobs:.*"  # SageMaker has one group for the account
)
"""What the roles of every stack may do."""


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


def test_a_release_is_smoked(stack: DeployedStack) -> None:
    first = smoke(stack)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "-r1: DEPLOYED" in first.stdout and "items are of the customer's own circle" in first.stdout


def test_the_next_release_is_smoked_while_a_second_stack_trains_and_neither_touches_the_other(
    stack: DeployedStack,
) -> None:
    alone = inventory(stack)
    with second_stack(stack) as other:
        with ThreadPoolExecutor(1) as pool:
            trains = pool.submit(Smoke(Connection(other.name, None, REGION, other.endpoint_url), print).run)
            second = smoke(stack)
            trains.result()
        # The next release finds the model of the first, which the same data cannot beat: that is no fault of it.
        assert second.returncode == 0, second.stdout + second.stderr
        assert "items are of the customer's own circle" in second.stdout

        # Data, runs, executions, reports: each stack has its own, and all of the other's went nowhere here.
        ours, theirs = versions(stack), versions(other)
        assert [len(met) for met in ours.values()] == [2, 2, 2], ours
        assert [len(met) for met in theirs.values()] == [1, 1, 1], theirs
        assert set.union(*ours.values()) == ours["ledger"] and set.union(*theirs.values()) == theirs["ledger"]
        assert not ours["ledger"] & theirs["ledger"]
        for one in (stack, other):
            letters = one.client("sqs").get_queue_attributes(
                QueueUrl=one.outputs["DeadLetterQueueUrl"], AttributeNames=["ApproximateNumberOfMessages"]
            )
            assert letters["Attributes"]["ApproximateNumberOfMessages"] == "0", one.name
        # Both serve, each its own model, and each answer is counted for its own stack.
        for one in (stack, other):
            answer = one.call("GET", "/users/u0/recommendations").body
            assert (answer["source"], answer["model"]["version"]) == ("personalized", one.serving()["runId"])
        eventually(lambda: served(stack, "ncf") >= 41, "the count of the first stack's answers")
        eventually(lambda: served(stack, PREFIX) >= 21, "the count of the second stack's answers")
        # Rules and schedules of each call what is its own, and the same ones of both.
        pairs = [(name, target, f":{PREFIX}-" in target) for name, target in called(stack)]
        assert [(name, target) for name, target, is_theirs in pairs if is_theirs != name.startswith(f"{PREFIX}-")] == []
        assert len(pairs) == 2 * sum(is_theirs for *_, is_theirs in pairs) > 0
        # No role may touch what the same role of the other stack used.
        accounts = [Account.of_stack(stack.name, stack.client), *stack.others]
        calls = recorded(stack.calls_file)
        for own, foreign in (accounts, reversed(accounts)):
            assert not [what for what in trespasses(calls, own, foreign) if not OF_NO_STACK.fullmatch(what)]
        # The removal of the one whose names begin like the other's would name nothing of the other.
        assert not [step for step in Teardown.of(stack.client, stack.name).plan() if PREFIX in step]

    after = inventory(stack)
    assert after == alone, "the removal of the second stack left something, or took something of the first"
    answer = stack.call("GET", "/users/u0/recommendations").body
    assert (answer["source"], answer["model"]["version"]) == ("personalized", stack.serving()["runId"])
