"""One running host for the whole conformance suite, and more for tests that start, stop or kill their own."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from laptop_aws.tests.conformance.hosting import Host
from laptop_aws.tests.conformance.sagemaker_fixtures import bucket, build_image


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
