"""One running host for the whole conformance suite, and more for tests that start, stop or kill their own."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from laptop_aws.tests.conformance.hosting import Host, unique
from laptop_aws.tests.conformance.sagemaker_fixtures import bucket, build_image
from laptop_aws.tests.conformance.state_machines import failing_function


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """The host that the suite shares; after SIGTERM it must exit with 0."""
    running = Host(tmp_path_factory.mktemp("local")).start()
    try:
        yield running
    finally:
        status = running.stop()
    assert status == 0, f"the host ended with {status}"


@pytest.fixture(scope="module")
def image(host: Host) -> str:
    """The URI of a model image with configurable behaviour."""
    return build_image(host)


@pytest.fixture(scope="module")
def place(host: Host) -> str:
    """A bucket with a small dataset."""
    return bucket(host)


@pytest.fixture(scope="module")
def application(host: Host) -> str:
    """An application of EMR Serverless."""
    emr = host.client("emr-serverless")
    return str(emr.create_application(type="SPARK", releaseLabel="emr-spark-8.0.0", name="prep")["applicationId"])


@pytest.fixture(scope="module")
def lake(host: Host) -> str:
    """An empty bucket for job runs."""
    name = unique("lake")
    host.client("s3").create_bucket(Bucket=name)
    return name


@pytest.fixture(scope="module")
def token_queue(host: Host) -> str:
    """A queue for task tokens."""
    return host.queue()[0]


@pytest.fixture(scope="module")
def failing(host: Host) -> str:
    """A function that raises the error that its event names."""
    return failing_function(host)


@pytest.fixture
def another_host(tmp_path: Path) -> Iterator[Callable[..., Host]]:
    """Creates further hosts, and ends those that still run."""
    made: list[Host] = []

    def make(root: Path | None = None, **settings: Any) -> Host:
        made.append(Host(root or tmp_path / "local", **settings))
        return made[-1]

    yield make
    for running in made:
        if running.process is not None and running.process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.stop(signal.SIGKILL)
