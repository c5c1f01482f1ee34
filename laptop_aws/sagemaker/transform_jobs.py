"""Batch Transform: sends each object below a prefix to a container, and writes the answer as ``<object>.out``.

A job is one background thread: it starts the model's container, waits for its ``/ping``, sends up to the job's limit of
concurrent requests, and ends the container. Answers written before a failure or a stop stay, as on AWS.
"""

from __future__ import annotations

import logging
import shutil
import threading
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextvars import copy_context

import urllib3

from laptop_aws import calls, objects, registry
from laptop_aws.objects import S3Uri, TransferFailed
from laptop_aws.sagemaker import events, listing
from laptop_aws.sagemaker.containers import Container, Owner
from laptop_aws.sagemaker.job_runs import TERMINAL, JobRuns
from laptop_aws.sagemaker.models import find_model
from laptop_aws.sagemaker.places import work_folder
from laptop_aws.sagemaker.store import arn, store, tag
from laptop_aws.service_model import ServiceError, validation_error
from laptop_aws.store import Record, now, public

logger = logging.getLogger("emulator")

LOG_GROUP = "/aws/sagemaker/TransformJobs"
DEFAULT_PAYLOAD_MB = 6
MOST_PAYLOAD_MB = 100
"""Maximum total payload of concurrent requests, in MB."""
STARTUP_SECONDS = 600
CONNECT_SECONDS = 2.0
INTERNAL_ERROR = "InternalServerError: We encountered an internal error. Please try again."
INTERRUPTED = f"{INTERNAL_ERROR} (The embedded AWS ended while this transform job ran.)"
runs: JobRuns[_Run] = JobRuns("transform", lambda: store.tables().transform_jobs, "TransformJobStatus")


class _Ended(Exception):
    """The job has ended; holds its final status."""

    def __init__(self, status: str, reason: str | None = None) -> None:
        super().__init__(reason or status)
        self.status, self.reason = status, reason


# ---- operations ------------------------------------------------------------------------------------------------------


def create(request: Record) -> Record:
    name = request["TransformJobName"]
    _check(request)
    with store.lock:
        if name in store.tables().transform_jobs:
            raise ServiceError(
                "ResourceInUse",
                "Transform job names must be unique within an AWS account and region, and a transform job with this "
                f"name already exists ({arn('transform-job', name)})",
            )
        model = find_model(request["ModelName"])
        job = {key: value for key, value in request.items() if key != "Tags"} | {
            "TransformJobArn": arn("transform-job", name),
            "TransformJobStatus": "InProgress",
            "CreationTime": now(),
            "MaxPayloadInMB": request.get("MaxPayloadInMB", DEFAULT_PAYLOAD_MB),
        }
        store.tables().transform_jobs[name] = job
        run = _Run(job, model["_Container"])
        runs.add(name, run)
    tag(job["TransformJobArn"], request.get("Tags"))
    runs.start(name, run)
    return {"TransformJobArn": job["TransformJobArn"]}


def describe(request: Record) -> Record:
    with store.lock:
        return public(_find(request["TransformJobName"]))


def stop(request: Record) -> Record:
    runs.stop(request["TransformJobName"], _find)
    return {}


def list_jobs(request: Record) -> Record:
    members = (
        "TransformJobName", "TransformJobArn", "CreationTime", "TransformEndTime", "LastModifiedTime",
        "TransformJobStatus", "FailureReason",
    )  # fmt: skip
    with store.lock:
        rows, token = listing.select(
            store.tables().transform_jobs.values(),
            request,
            name="TransformJobName",
            status="TransformJobStatus",
            descending=True,
        )
        return listing.answer("TransformJobSummaries", [listing.summary(row, *members) for row in rows], token)


def _find(name: str) -> Record:
    job = store.tables().transform_jobs.get(name)
    if job is None:
        raise validation_error(f'Could not find requested job with name: "{name}".')
    return job


def _check(request: Record) -> None:
    """Checks that AWS makes at once, beyond the service model, and for options that the embedded AWS lacks. Raises
    ServiceError."""
    source = request["TransformInput"]
    if source["DataSource"]["S3DataSource"]["S3DataType"] != "S3Prefix":
        raise validation_error("The embedded AWS supports S3DataType S3Prefix, not ManifestFile.")
    if source.get("SplitType", "None") != "None" or request["TransformOutput"].get("AssembleWith", "None") != "None":
        raise validation_error("The embedded AWS sends objects whole: SplitType and AssembleWith must be None.")
    if request.get("DataProcessing"):
        raise validation_error("The embedded AWS does not support DataProcessing.")
    if source.get("CompressionType", "None") != "None":
        raise validation_error("CompressionType must be None on the embedded AWS.")
    together = request.get("MaxConcurrentTransforms", 1) * request.get("MaxPayloadInMB", DEFAULT_PAYLOAD_MB)
    if together > MOST_PAYLOAD_MB:
        raise validation_error(
            f"MaxConcurrentTransforms * MaxPayloadInMB must not exceed {MOST_PAYLOAD_MB} MB, and is {together}."
        )
    for uri in (source["DataSource"]["S3DataSource"]["S3Uri"], request["TransformOutput"]["S3OutputPath"]):
        try:
            S3Uri.parse(uri)
        except TransferFailed as error:
            raise validation_error(str(error)) from None


# ---- a job that runs -------------------------------------------------------------------------------------------------


class _Run:
    """One job's thread and its container; ``container`` holds Image, ModelDataUrl and Environment of the model."""

    def __init__(self, job: Record, container: Record) -> None:
        self._job = job
        self._name: str = job["TransformJobName"]
        self._model = container
        self._stopping = threading.Event()
        self._abandoned = threading.Event()
        self._container: Container | None = None

    # -- from other threads

    def stop(self) -> None:
        """StopTransformJob: sends no further object; the job's thread does the rest."""
        self._stopping.set()
        self._enter("Stopping")
        self._end_container()

    def abandon(self) -> None:
        """Ends the process and writes nothing more, because the host ends or deletes the job."""
        self._abandoned.set()
        self._stopping.set()
        self._end_container()

    def _end_container(self) -> None:
        container = self._container
        if container is not None:
            container.kill()

    # -- the thread

    def run(self) -> None:
        with calls.acting_as(self._model.get("RoleArn", "")):
            self._run()

    def _run(self) -> None:
        try:
            self._work()
        except _Ended as end:
            self._finish(end)
        except TransferFailed as error:
            self._finish(_Ended("Failed", f"ClientError: {error}"))
        except Exception:
            logger.exception("transform job %s", self._name)
            self._finish(_Ended("Failed", INTERNAL_ERROR))
        finally:
            if self._container is not None:
                self._container.stop()
            shutil.rmtree(work_folder("transform", self._name), ignore_errors=True)

    def fail(self, reason: str) -> None:
        """Ends a job whose process no longer exists."""
        self._finish(_Ended("Failed", reason))

    def _work(self) -> None:
        events.transform_job_changed(self._snapshot())
        source = S3Uri.parse(self._job["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"])
        keys = [key for key in objects.list_keys(source) if not key.endswith("/")]
        if not keys:
            raise _Ended("Failed", f"ClientError: No S3 objects found under {source}")
        self._container = Container(Owner("transform", self._name, LOG_GROUP), self._variant())
        self._enter("InProgress", TransformStartTime=now())
        self._container.start()
        reason = self._container.wait()
        if self._stopping.is_set():
            raise _Ended("Stopped")
        if reason:
            raise _Ended("Failed", f"AlgorithmError: {reason}")
        self._send_all(source, keys, self._container)
        raise _Ended("Stopped" if self._stopping.is_set() else "Completed")

    def _variant(self) -> Record:
        told = {
            "SAGEMAKER_BATCH": "true",
            "SAGEMAKER_BATCH_STRATEGY": self._job.get("BatchStrategy", "MultiRecord"),
            "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": str(self._job.get("MaxConcurrentTransforms", 1)),
            "SAGEMAKER_MAX_PAYLOAD_IN_MB": str(self._job["MaxPayloadInMB"]),
        }
        return {
            "VariantName": "algo-1",
            "Image": self._model["Image"],
            "ModelDataUrl": self._model.get("ModelDataUrl"),
            "Environment": self._model.get("Environment", {}) | self._job.get("Environment", {}) | told,
            "HealthCheckSeconds": STARTUP_SECONDS,
            "RoleArn": calls.role(),
        }

    def _send_all(self, source: S3Uri, keys: list[str], container: Container) -> None:
        """Sends every object. Raises _Ended at the first that fails."""
        with ThreadPoolExecutor(self._job.get("MaxConcurrentTransforms") or 1, "transform") as pool:
            pending = {pool.submit(copy_context().run, self._send, source, key, container) for key in keys}
            done, left = wait(pending, return_when=FIRST_EXCEPTION)
            for future in left:
                future.cancel()
        for future in done:
            future.result()

    def _send(self, source: S3Uri, key: str, container: Container) -> None:
        if self._stopping.is_set():
            return
        body = objects.s3().get_object(Bucket=source.bucket, Key=key)["Body"].read()
        most = self._job["MaxPayloadInMB"]
        if most and len(body) > most * 1024**2:
            raise _Ended(
                "Failed", f"ClientError: {key} has {len(body)} bytes, more than MaxPayloadInMB ({most}) allows"
            )
        answer = self._answer_of(body, key, container)
        if answer is not None:
            target = S3Uri.parse(self._job["TransformOutput"]["S3OutputPath"])
            objects.put(answer, target.child(f"{objects.below(source.key, key)}.out"))

    def _answer_of(self, body: bytes, key: str, container: Container) -> bytes | None:
        """The container's answer; None if the job was stopped in the meantime. Raises _Ended after the last try."""
        config = self._job.get("ModelClientConfig", {})
        headers = {"Content-Type": self._job["TransformInput"].get("ContentType", "application/octet-stream")}
        if accept := self._job["TransformOutput"].get("Accept"):
            headers["Accept"] = accept
        problem = "the container is not running"
        for _ in range(1 + config.get("InvocationsMaxRetries", 3)):
            with container.in_use() as pool:
                if self._stopping.is_set():
                    return None
                if pool is None:
                    break
                try:
                    answer = pool.urlopen(
                        "POST",
                        "/invocations",
                        body=body,
                        headers=headers,
                        timeout=urllib3.Timeout(
                            connect=CONNECT_SECONDS, read=config.get("InvocationsTimeoutInSeconds", 600)
                        ),
                        retries=False,
                    )
                except (urllib3.exceptions.HTTPError, OSError) as error:
                    problem = f"no answer ({type(error).__name__})"
                    continue
            if 200 <= answer.status < 300:
                return bytes(answer.data)
            problem = f"status {answer.status}: {answer.data[:300].decode('utf-8', 'replace')}"
            if answer.status < 500:
                break
        if self._stopping.is_set():
            return None
        raise _Ended("Failed", f"ClientError: See job logs for more information ({key}: {problem})")

    # -- status

    def _enter(self, status: str, **members: object) -> None:
        if self._abandoned.is_set():
            return
        with store.lock:
            if self._job["TransformJobStatus"] in TERMINAL:
                return
            self._job |= {"TransformJobStatus": status} | members
        registry.mark_changed()
        logger.info("transform job %s: %s", self._name, status)
        events.transform_job_changed(self._snapshot())

    def _finish(self, end: _Ended) -> None:
        reason = {"FailureReason": end.reason[:1024]} if end.reason else {}
        self._enter(end.status, TransformEndTime=now(), **reason)

    def _snapshot(self) -> Record:
        with store.lock:
            return public(self._job)


# ---- the host's life -------------------------------------------------------------------------------------------------


def fail_interrupted() -> None:
    """Marks the jobs that ran when the host ended as Failed, and sends their events."""
    runs.fail_interrupted(lambda job: _Run(job, {}), INTERRUPTED)
