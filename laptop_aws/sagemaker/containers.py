"""Serving containers: a process of the image's ``serve`` command per production variant or transform job, watched and
replaced as SageMaker does.

A container is *healthy* from its first ``GET /ping`` that answers 200. One that ends later, or stops answering, is
restarted with growing waits; one that never becomes healthy fails with SageMaker's reason.
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import shutil
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from laptop_aws import calls, images, objects, registry
from laptop_aws.objects import S3Uri, TransferFailed
from laptop_aws.output import LogStream, OutputReader
from laptop_aws.sagemaker import settings
from laptop_aws.sagemaker.places import container_environment, log_file, record_pull, work_folder
from laptop_aws.store import Record

logger = logging.getLogger("emulator")

STARTUP_POLL_SECONDS = 0.1
PING_TIMEOUT_SECONDS = 2.0
MISSED_PINGS = 5
STARTUP_TRIES = 3
LONGEST_BACKOFF_SECONDS = 30.0
STEADY_SECONDS = 60.0
STOP_GRACE_SECONDS = 5.0
PARALLEL_REQUESTS = 32


def log_group(endpoint: str) -> str:
    return f"/aws/sagemaker/Endpoints/{endpoint}"


@dataclass(frozen=True)
class Owner:
    """The owner of a container: the endpoint or transform job ``name``; ``folder`` holds the temporary files and logs
    of its kind."""

    folder: str
    name: str
    log_group: str

    @classmethod
    def endpoint(cls, name: str) -> Owner:
        return cls("endpoints", name, log_group(name))

    def __str__(self) -> str:
        return f"{self.folder}/{self.name}"


class Container:
    """One process; ``variant`` holds VariantName, Image, ModelDataUrl, Environment, HealthCheckSeconds and RoleArn."""

    def __init__(self, owner: Owner, variant: Record) -> None:
        self.variant = variant
        self.name: str = variant["VariantName"]
        self.reason: str | None = None
        self._owner = owner
        self._folder = work_folder(owner.folder, owner.name) / f"{self.name}-{uuid.uuid4().hex[:8]}"
        self.log_stream = f"{self.name}/i-{uuid.uuid4().hex[:17]}"
        self._log = LogStream(owner.log_group, self.log_stream, log_file(owner.folder, owner.name))
        self._decided = threading.Event()
        self._stopping = threading.Event()
        self._was_healthy = False
        self._process: subprocess.Popen[Any] | None = None
        self._lock = threading.Lock()
        self.pool: urllib3.HTTPConnectionPool | None = None
        self._requests = 0

    # -- from other threads

    @contextmanager
    def in_use(self) -> Iterator[urllib3.HTTPConnectionPool | None]:
        """Yields its connection pool, or None before it is healthy. As on AWS, it is not stopped while it answers
        requests."""
        with self._lock:
            self._requests += 1
        try:
            yield self.pool
        finally:
            with self._lock:
                self._requests -= 1

    def start(self) -> None:
        registry.in_background(self._supervise, name=f"container-{self._owner}-{self.name}")

    def wait(self) -> str | None:
        """Waits until the container is healthy (returns None) or has failed (returns the reason)."""
        self._decided.wait()
        return self.reason

    def stop(self) -> None:
        """Sends SIGTERM, then SIGKILL after STOP_GRACE_SECONDS, and deletes the folder."""
        self._end(STOP_GRACE_SECONDS)
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self) -> None:
        self._end(0)

    def _end(self, grace_seconds: float) -> None:
        self._stopping.set()
        self.pool = None
        answered = time.monotonic() + grace_seconds
        while self._requests and time.monotonic() < answered:
            time.sleep(0.01)
        with self._lock:
            process = self._process
        if process is not None:
            registry.terminate(process, grace_seconds)

    # -- the thread

    def _supervise(self) -> None:
        with calls.acting_as(self.variant.get("RoleArn", "")):
            self._supervise_as_the_role()

    def _supervise_as_the_role(self) -> None:
        try:
            image, model = self._prepare()
            self._run(image, model)
        except TransferFailed as error:
            self._say(str(error))
            self.reason = str(error)
        except Exception:
            logger.exception("container %s of %s", self.name, self._owner)
            self.reason = "InternalServerError: We encountered an internal error. Please try again."
        finally:
            self._decided.set()

    def _prepare(self) -> tuple[images.Image, Path]:
        """Returns the image and the folder of the unpacked model. Raises TransferFailed with SageMaker's reason."""
        record_pull(self.variant["Image"])
        try:
            image = images.resolve(self.variant["Image"], registry.config().root)
        except images.UnknownImage as error:
            raise TransferFailed(
                f"The primary container image {self.variant['Image']!r} does not exist. ({error})"
            ) from error
        model = self._folder / "model"
        model.mkdir(parents=True)
        if url := self.variant.get("ModelDataUrl"):
            archive = self._folder / "model.tar.gz"
            try:
                objects.download(S3Uri.parse(url), archive)
            except TransferFailed as error:
                raise TransferFailed(
                    f'Failed to download model data for container "container_1" from URL: "{url}". Please ensure '
                    "that there is an object located at "
                    f"the URL and that the role passed to CreateModel has permissions to download the model. ({error})"
                ) from error
            try:
                objects.unpack(archive, model)
            except TransferFailed as error:
                raise TransferFailed(
                    f'Failed to extract model data archive for container "container_1" from URL "{url}". Please '
                    "ensure that the object located at "
                    f"the URL is a valid tar.gz archive. ({error})"
                ) from error
            archive.unlink()
        return image, model

    def _run(self, image: images.Image, model: Path) -> None:
        deadline = time.monotonic() + min(self.variant["HealthCheckSeconds"], settings.health_check())
        backoff, tries = settings.restart_backoff(), 0
        while not self._stopping.is_set():
            healthy_seconds = self._run_once(image, model, deadline)
            tries += 1
            if self._stopping.is_set():
                return
            if not self._was_healthy and (tries >= STARTUP_TRIES or time.monotonic() >= deadline):
                self.reason = (
                    f"The primary container for production variant {self.name} did not pass the ping health check. "
                    "Please check CloudWatch logs for this endpoint."
                )
                return
            if healthy_seconds > STEADY_SECONDS:
                backoff = settings.restart_backoff()
            self._say(f"the container ended; it restarts in {backoff:g} s")
            self._stopping.wait(backoff)
            backoff = min(2 * backoff, LONGEST_BACKOFF_SECONDS)

    def _run_once(self, image: images.Image, model: Path, deadline: float) -> float:
        """Runs one process to its end; returns the seconds for which it was healthy."""
        port = _free_port()
        with self._lock:
            if self._stopping.is_set():
                return 0.0
            process = self._process = registry.spawn(
                image.command("serve", registry.config().interpreter),
                name=f"{self._owner} {self.name}",
                environment=container_environment(image)
                | self.variant.get("Environment", {})
                | {"SM_MODEL_DIR": str(model), "SERVING_HOST": "127.0.0.1", "SERVING_PORT": str(port)},
                cwd=self._folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        reader = OutputReader(process, self._log)
        try:
            return self._watch(process, port, deadline)
        finally:
            self.pool = None
            status = registry.terminate(process, 0)
            reader.join(2)
            if not self._stopping.is_set():
                self._say(f"the process ended with exit status {status}")

    def _watch(self, process: subprocess.Popen[Any], port: int, deadline: float) -> float:
        while not self._ended(process, STARTUP_POLL_SECONDS):
            if _ping(port):
                break
            if not self._was_healthy and time.monotonic() >= deadline:
                self._say("/ping was not answered with 200 in time")
                return 0.0
        else:
            return 0.0
        since = time.monotonic()
        self.pool = urllib3.HTTPConnectionPool("127.0.0.1", port, maxsize=PARALLEL_REQUESTS, retries=False)
        self._was_healthy = True
        self._decided.set()
        missed = 0
        while not self._ended(process, settings.ping_interval()):
            missed = 0 if _ping(port) else missed + 1
            if missed >= MISSED_PINGS:
                self._say(f"/ping was not answered {missed} times; the process is replaced")
                break
        return time.monotonic() - since

    def _ended(self, process: subprocess.Popen[Any], seconds: float) -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            return True
        return self._stopping.is_set()

    def _say(self, text: str) -> None:
        self._log.write([text])
        logger.info("%s, container %s: %s", self._owner, self.name, text)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ping(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PING_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class Fleet:
    """The containers of one endpoint configuration: all of them, or none."""

    def __init__(self, endpoint: str, variants: list[Record]) -> None:
        self.containers = [Container(Owner.endpoint(endpoint), variant) for variant in variants]

    def start(self) -> str | None:
        """Starts all; returns None when all are healthy, else the first reason (after ending the others)."""
        for container in self.containers:
            container.start()
        reasons = [reason for container in self.containers if (reason := container.wait())]
        if reasons:
            self.stop()
            return reasons[0]
        return None

    def stop(self) -> None:
        for container in self.containers:
            container.stop()

    def kill(self) -> None:
        for container in self.containers:
            container.kill()
