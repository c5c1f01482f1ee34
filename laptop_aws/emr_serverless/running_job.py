"""A job run that runs: its thread, its folder, its Java and its process, from SUBMITTED to its end with a reason."""

from __future__ import annotations

import contextlib
import gzip
import logging
import shutil
import subprocess
import threading
import time
from collections.abc import Hashable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from laptop_aws import calls, java, objects, registry
from laptop_aws.emr_serverless import applications, class_archive, events, spark
from laptop_aws.emr_serverless.ready_java import DidNotStart, Keeper, ReadyJava
from laptop_aws.emr_serverless.staging import Stage, local_copy, uris_in
from laptop_aws.emr_serverless.store import new_id, store
from laptop_aws.objects import S3Uri, TransferFailed
from laptop_aws.output import LogStream, OutputReader
from laptop_aws.store import Record, now, public

logger = logging.getLogger("emulator")

TERMINAL = ("SUCCESS", "FAILED", "CANCELLED")
LONGEST_DETAILS = 256
CANCEL_GRACE_SECONDS = 10.0
_FAILED = (
    "Job failed, please check complete logs in configured logging destination. "
    "ExitCode: {status}. Last few exceptions: {said}"
)

running: dict[str, RunningJob] = {}
"""By job run id; guarded by ``store.lock``."""
kept_java = Keeper()
one_at_a_time = threading.Semaphore(1)


def kind_of_java(found: java.Java, given: Mapping[str, str]) -> Hashable:
    """Equal where small job runs with these settings (``given``) can use the same Java."""
    return (found, *spark.at_start(given))


def new_java(found: java.Java, given: Mapping[str, str]) -> ReadyJava:
    """Starts a Java for small job runs. Raises DidNotStart."""
    folder = registry.config().work_directory / "emr-serverless" / f"java-{new_id()}"
    archive = class_archive.find(found, spark.SMALL_JOB_OPTIONS)
    words = spark.options(given, folder, small=True, archive=archive)
    return ReadyJava(words, spark.environment(found, folder), folder, archive)


class Ended(Exception):
    """The job run has ended; holds its final state and the details."""

    def __init__(self, state: str, details: str = "") -> None:
        super().__init__(details or state)
        self.state, self.details = state, details


class RunningJob:
    """One job run's thread, its folder and its process."""

    def __init__(self, job_run: Record, submission: spark.Submission, runtime: list[Record]) -> None:
        self._job_run = job_run
        self._submission = submission
        self._runtime = runtime
        self._id: str = job_run["jobRunId"]
        self._work = registry.config().work_directory / "emr-serverless" / self._id
        self._cancelled: str | None = None
        self._abandoned = threading.Event()
        self._process: subprocess.Popen[Any] | None = None
        self._lock = threading.Lock()

    # -- from other threads

    def cancel(self, reason: str) -> None:
        with self._lock:
            if self._cancelled is not None:
                return
            self._cancelled = reason
            process = self._process
        self._enter("CANCELLING")
        if process is not None:
            registry.in_background(registry.terminate, process, CANCEL_GRACE_SECONDS, name=f"cancel-{self._id}")

    def abandon(self) -> None:
        """Ends the process and writes nothing more, because the host ends or deletes the job run."""
        self._abandoned.set()
        with self._lock:
            if self._process is not None:
                registry.terminate(self._process, 0)

    # -- the thread

    def run(self) -> None:
        with calls.acting_as(self._job_run["executionRole"]):
            self._run()

    def _run(self) -> None:
        try:
            self._announce(None)
            self._enter("PENDING")
            self._enter("SCHEDULED")
            while not one_at_a_time.acquire(timeout=0.2):
                self._check_cancelled()
            try:
                self._attempts()
            finally:
                one_at_a_time.release()
        except Ended as end:
            self.finish(end)
        except (TransferFailed, java.NoJava) as error:
            self.finish(Ended("FAILED", f"Job failed. {error}"))
        except Exception as error:
            logger.exception("job run %s", self._id)
            self.finish(Ended("FAILED", f"Job failed, internal error: {error!r}"))
        finally:
            with store.lock:
                running.pop(self._id, None)
            shutil.rmtree(self._work, ignore_errors=True)

    def _attempts(self) -> None:
        most = (self._job_run.get("retryPolicy") or {}).get("maxAttempts", 1)
        for attempt in range(1, most + 1):
            with store.lock:
                self._job_run |= {"attempt": attempt, "attemptCreatedAt": now(), "attemptUpdatedAt": now()}
            try:
                self._attempt()
            except Ended as end:
                if end.state != "FAILED" or attempt == most:
                    raise
                logger.info("job run %s: attempt %d of %d failed: %s", self._id, attempt, most, end.details)

    def _attempt(self) -> None:
        """Runs the job once. Always raises Ended."""
        self._check_cancelled()
        shutil.rmtree(self._work, ignore_errors=True)
        for folder in ("code", "home", "scratch", "logs"):
            (self._work / folder).mkdir(parents=True)
        driver = self._job_run["jobDriver"]["sparkSubmit"]
        arguments: list[str] = driver.get("entryPointArguments", [])
        stage = Stage(self._work / "s3", uris_in(arguments))
        entry_point = local_copy(driver["entryPoint"], self._work / "code")
        py_files = [local_copy(uri, self._work / "code") for uri in self._submission.py_files]
        fetched = stage.fetch()
        found = java.find(registry.config().root)
        self._check_cancelled()
        self._enter("RUNNING", startedAt=now())
        with contextlib.closing(
            LogStream(*self._cloudwatch(), registry.config().logs_directory / "emr" / f"{self._id}.log")
        ) as log:
            log.write([f"{fetched} objects staged; Java {found.version} from {found.origin}"])
            status, said = self._run_process(entry_point, arguments, py_files, stage, found, log)
            if self._abandoned.is_set():
                raise Ended("FAILED")
            try:
                uploaded, deleted = stage.bring_back()
                log.write([f"{uploaded} objects written to S3, {deleted} deleted"])
            finally:
                self._store_logs()
        self._check_cancelled()
        if status != 0:
            raise Ended("FAILED", _FAILED.format(status=status, said=said))
        raise Ended("SUCCESS")

    def _run_process(
        self,
        entry_point: Path,
        arguments: list[str],
        py_files: list[Path],
        stage: Stage,
        found: java.Java,
        log: LogStream,
    ) -> tuple[int, str]:
        """Returns the exit status (128 + signal) and the last line of stderr."""
        overrides = (self._job_run.get("configurationOverrides") or {}).get("applicationConfiguration", [])
        settings: dict[str, str] = {}
        for classification in (*self._runtime, *overrides):
            if classification["classification"] == "spark-defaults":
                settings |= classification.get("properties", {})
        settings |= self._submission.settings
        own = spark.settings(settings, self._work, stage, py_files)
        with self._java(found, settings, own, spark.is_small(stage), log) as environment:
            environment |= {"PYTHONPATH": spark.python_path(py_files), "HOME": str(self._work / "home")}
            environment |= spark.Submission(settings).driver_environment
            with self._lock:
                if self._cancelled or self._abandoned.is_set():
                    raise Ended("CANCELLED", self._cancelled or "")
                process = self._process = registry.spawn(
                    [registry.config().interpreter, entry_point, *arguments],
                    name=f"job run {self._id}",
                    environment=environment,
                    cwd=self._work / "code",
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
            reader = OutputReader(process, log, self._keep_line)
            self._wait(process)
            status = registry.terminate(process, 0)
            reader.join(5)
        last = [line for line in reader.stderr_tail if line.strip()]
        return (128 - status if status < 0 else status), (last[-1].strip() if last else "")

    @contextlib.contextmanager
    def _java(
        self, found: java.Java, given: dict[str, str], own: dict[str, str], small: bool, log: LogStream
    ) -> Iterator[dict[str, str]]:
        """The environment of a process in which pyspark finds its Java: a large job starts its own, a small one uses
        the Java that its application keeps. ``given`` are the settings of the job, ``own`` those of this run.
        """
        scratch = self._work / "scratch"
        if not small:
            options = spark.options(given, scratch)
            yield spark.environment(found, scratch) | spark.submit_arguments(options, own)
            return
        application = self._job_run["applicationId"]
        options = spark.options(given, scratch, small)
        try:
            ready = kept_java.of(
                application,
                kind_of_java(found, given),
                partial(new_java, found, given),
                partial(applications.is_started, application),
            )
            address = ready.begin(own, log, self._keep_line)
        except DidNotStart as error:
            kept_java.close()
            raise Ended("FAILED", f"Job failed. {error}") from None
        try:
            yield spark.environment(found, scratch) | spark.submit_arguments(options, own) | address
        finally:
            if self._cancelled or self._abandoned.is_set() or not ready.end():
                kept_java.close(ready)

    def _wait(self, process: subprocess.Popen[Any]) -> None:
        minutes = self._job_run["executionTimeoutMinutes"]
        deadline = time.monotonic() + 60 * minutes if minutes else float("inf")
        while True:
            try:
                process.wait(0.2)
                return
            except subprocess.TimeoutExpired:
                if time.monotonic() > deadline:
                    self.cancel(f"Job run exceeded its execution timeout of {minutes} minutes")

    # -- logs

    def _monitoring(self) -> Record:
        monitoring: Record = (self._job_run.get("configurationOverrides") or {}).get("monitoringConfiguration", {})
        return monitoring

    def _log_path(self) -> str:
        return f"applications/{self._job_run['applicationId']}/jobs/{self._id}/SPARK_DRIVER"

    def _cloudwatch(self) -> tuple[str, str]:
        """Group and stream; both empty if logging to CloudWatch is off."""
        wanted = self._monitoring().get("cloudWatchLoggingConfiguration", {})
        if not wanted.get("enabled"):
            return "", ""
        prefix = wanted.get("logStreamNamePrefix")
        return wanted.get("logGroupName", "/aws/emr-serverless"), "/".join(
            filter(None, (prefix, self._log_path(), "stdout"))
        )

    def _keep_line(self, line: str, is_stderr: bool) -> None:
        with (self._work / "logs" / ("stderr" if is_stderr else "stdout")).open(
            "a", encoding="utf-8", errors="replace"
        ) as file:
            file.write(f"{line}\n")

    def _store_logs(self) -> None:
        """Puts stdout.gz and stderr.gz below the monitoring URI, as EMR Serverless does."""
        uri = self._monitoring().get("s3MonitoringConfiguration", {}).get("logUri")
        if not uri:
            return
        for name in ("stdout", "stderr"):
            path = self._work / "logs" / name
            content = path.read_bytes() if path.exists() else b""
            try:
                objects.put(
                    gzip.compress(content, mtime=0), S3Uri.parse(uri.rstrip("/")).child(f"{self._log_path()}/{name}.gz")
                )
            except TransferFailed as error:
                logger.warning("job run %s: its logs could not be stored: %s", self._id, error)

    # -- state

    def _check_cancelled(self) -> None:
        if self._cancelled is not None:
            raise Ended("CANCELLED", self._cancelled)
        if self._abandoned.is_set():
            raise Ended("FAILED")

    def _enter(self, state: str, **members: Any) -> None:
        if self._abandoned.is_set():
            return
        with store.lock:
            previous = self._job_run["state"]
            if previous in (*TERMINAL, state) or (
                previous == "CANCELLING" and state != "CANCELLED" and state not in TERMINAL
            ):
                return
            self._job_run |= {"state": state, "updatedAt": now()} | members
        registry.mark_changed()
        logger.info("job run %s: %s", self._id, state)
        self._announce(previous)

    def _announce(self, previous: str | None) -> None:
        with store.lock:
            snapshot = public(self._job_run)
        events.job_run_changed(snapshot, previous)

    def finish(self, end: Ended) -> None:
        moment = now()
        seconds = max(0, round(moment - self._job_run.get("startedAt", moment)))
        with store.lock:
            store.tables().applications.get(self._job_run["applicationId"], {})["_lastUsed"] = moment
        self._enter(
            end.state,
            stateDetails=" ".join(end.details.split())[:LONGEST_DETAILS],
            endedAt=moment,
            attemptUpdatedAt=moment,
            totalExecutionDurationSeconds=seconds,
        )
