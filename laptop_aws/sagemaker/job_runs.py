"""The jobs of one kind that run now: their threads, from the start of a job to its end or that of the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from laptop_aws import registry
from laptop_aws.sagemaker.store import store
from laptop_aws.service_model import validation_error
from laptop_aws.store import Record, Table, scope

TERMINAL = ("Completed", "Failed", "Stopped")


class Run(Protocol):
    """One job that runs."""

    def run(self) -> None:
        """Does the job's work; returns when the job has ended."""

    def stop(self) -> None:
        """Stops the job, as its Stop operation does."""

    def abandon(self) -> None:
        """Ends the job's process and writes nothing more."""

    def fail(self, reason: str) -> None:
        """Ends a job whose process no longer exists."""


R = TypeVar("R", bound=Run)


class JobRuns(Generic[R]):
    """The runs of all jobs of one kind (``training`` or ``transform``), by scope and name. ``jobs`` returns the table
    of the current scope, ``status`` names the member of a job that holds its status."""

    def __init__(self, kind: str, jobs: Callable[[], Table], status: str) -> None:
        self._kind, self._jobs, self._status = kind, jobs, status
        self._runs: dict[tuple[tuple[str, str], str], R] = {}

    def add(self, name: str, run: R) -> None:
        """Adds a run; the caller holds the store's lock, so that the job and its run appear together."""
        self._runs[scope(), name] = run

    def start(self, name: str, run: R) -> None:
        """Starts an added run on its own thread."""
        registry.in_background(self._to_its_end, name, run, name=f"{self._kind}-{name}")

    def _to_its_end(self, name: str, run: R) -> None:
        try:
            run.run()
        finally:
            with store.lock:
                self._runs.pop((scope(), name), None)

    def stop(self, name: str, find: Callable[[str], Record]) -> None:
        """Stops a job. Raises ServiceError if it has ended; ``find`` raises it if there is none."""
        with store.lock:
            status = find(name)[self._status]
            if status in TERMINAL:
                raise validation_error(f"The request was rejected because the {self._kind} job is in status {status}.")
            run = self._runs.get((scope(), name))
        if run is not None and status != "Stopping":
            run.stop()

    def fail_interrupted(self, make: Callable[[Record], R], reason: str) -> None:
        """Marks the jobs that ran when the host ended as Failed, and sends their events."""
        from ministack.core.responses import request_scope

        for account, region in store.scopes():
            with request_scope(account, region):
                with store.lock:
                    interrupted = [
                        job
                        for name, job in self._jobs().items()
                        if job[self._status] not in TERMINAL and (scope(), name) not in self._runs
                    ]
                for job in interrupted:
                    make(job).fail(reason)

    def close(self) -> None:
        """Ends all processes when the host ends; the jobs' records stay unchanged."""
        with store.lock:
            runs = list(self._runs.values())
        for run in runs:
            run.abandon()

    def abandon_all(self) -> None:
        """Ends all processes and forgets their runs, because the jobs are deleted."""
        with store.lock:
            runs = list(self._runs.values())
            self._runs.clear()
        for run in runs:
            run.abandon()
