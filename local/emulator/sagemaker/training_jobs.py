"""Training jobs: SageMaker's ``/opt/ml`` contract around a real process, from download to upload.

A job is one background thread: it lays out the base directory (``SAGEMAKER_BASE_DIR``), downloads the channels, runs
the image's ``train`` command in a process group of its own, and uploads what the command left in ``model`` and
``output/data``. Each step is a secondary status, and each an event.
"""

from __future__ import annotations

import json
import logging
import math
import re
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from local import images
from local.emulator import objects, registry
from local.emulator.objects import S3Uri, TransferFailed
from local.emulator.output import LogStream, OutputReader
from local.emulator.sagemaker import events, listing, settings
from local.emulator.sagemaker.places import container_environment, log_file, work_folder
from local.emulator.sagemaker.store import arn, store, tag
from local.emulator.service_model import ServiceError, validation_error
from local.emulator.store import Record, now, public, scope

logger = logging.getLogger("emulator")

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
CHECKPOINT_SECONDS = 5.0
LONGEST_REASON = 1024
TERMINAL = ("Completed", "Failed", "Stopped")
INTERRUPTED = (
    "InternalServerError: We encountered an internal error. Please try again. "
    "(The embedded AWS ended while this training job ran.)"
)
_MESSAGES = {
    "Starting": "Preparing the instances for training",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopping": "Stopping the training job",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
}

_runs: dict[tuple[tuple[str, str], str], _Run] = {}


# ---- operations ------------------------------------------------------------------------------------------------------


def create(request: Record) -> Record:
    name = request["TrainingJobName"]
    if name in store.tables().training_jobs:
        raise _name_in_use(name)
    _check(request)
    moment = now()
    job = {key: value for key, value in request.items() if key != "Tags"} | {
        "TrainingJobArn": arn("training-job", name),
        "TrainingJobStatus": "InProgress",
        "SecondaryStatus": "Starting",
        "SecondaryStatusTransitions": [
            {"Status": "Starting", "StartTime": moment, "StatusMessage": _MESSAGES["Starting"]}
        ],
        "CreationTime": moment,
        "LastModifiedTime": moment,
        "EnableNetworkIsolation": request.get("EnableNetworkIsolation", False),
        "EnableInterContainerTrafficEncryption": request.get("EnableInterContainerTrafficEncryption", False),
        "EnableManagedSpotTraining": request.get("EnableManagedSpotTraining", False),
        "StoppingCondition": {"MaxRuntimeInSeconds": 86_400} | request.get("StoppingCondition", {}),
        "ProfilingStatus": "Disabled",
    }
    with store.lock:
        if name in store.tables().training_jobs:
            raise _name_in_use(name)
        store.tables().training_jobs[name] = job
        run = _runs[scope(), name] = _Run(job)
    tag(job["TrainingJobArn"], request.get("Tags"))
    registry.in_background(run.run, name=f"training-{name}")
    return {"TrainingJobArn": job["TrainingJobArn"]}


def describe(request: Record) -> Record:
    with store.lock:
        return public(_find(request["TrainingJobName"]))


def stop(request: Record) -> Record:
    name = request["TrainingJobName"]
    with store.lock:
        job = _find(name)
        status = job["TrainingJobStatus"]
        if status in TERMINAL:
            raise validation_error(f"The request was rejected because the training job is in status {status}.")
        run = _runs.get((scope(), name))
    if run is not None and status != "Stopping":
        run.stop()
    return {}


def list_jobs(request: Record) -> Record:
    with store.lock:
        rows, token = listing.select(
            store.tables().training_jobs.values(), request, name="TrainingJobName", status="TrainingJobStatus"
        )
        members = (
            "TrainingJobName",
            "TrainingJobArn",
            "CreationTime",
            "TrainingEndTime",
            "LastModifiedTime",
            "TrainingJobStatus",
            "SecondaryStatus",
        )
        return listing.answer("TrainingJobSummaries", [listing.summary(row, *members) for row in rows], token)


def _find(name: str) -> Record:
    job = store.tables().training_jobs.get(name)
    if job is None:
        raise validation_error("Requested resource not found.")
    return job


def _name_in_use(name: str) -> ServiceError:
    return ServiceError(
        "ResourceInUse",
        "Training job names must be unique within an AWS account and region, and a training job with this name "
        "already exists "
        f"({arn('training-job', name)})",
    )


def _check(request: Record) -> None:
    """What AWS refuses at once, beyond the service model. Raises ServiceError."""
    algorithm = request["AlgorithmSpecification"]
    if not algorithm.get("TrainingImage"):
        raise validation_error(
            "You must specify a TrainingImage: the embedded AWS has no built-in or Marketplace algorithms."
        )
    for definition in algorithm.get("MetricDefinitions", ()):
        try:
            re.compile(definition["Regex"])
        except re.error as error:
            raise validation_error(
                f"Invalid regular expression {definition['Regex']!r} of metric {definition['Name']!r}: {error}"
            ) from None
    if request.get("EnableManagedSpotTraining"):
        condition = request.get("StoppingCondition", {})
        if condition.get("MaxWaitTimeInSeconds", -1) < condition.get("MaxRuntimeInSeconds", 86_400):
            raise validation_error(
                "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds "
                "when EnableManagedSpotTraining is set to true"
            )
    names = [channel["ChannelName"] for channel in request.get("InputDataConfig", ())]
    if len(set(names)) != len(names):
        raise validation_error(f"Input channel names must be unique: {', '.join(names)}")
    for channel in request.get("InputDataConfig", ()):
        _check_channel(channel, channel.get("InputMode", algorithm["TrainingInputMode"]), request.get("RoleArn", ""))


def _check_channel(channel: Record, mode: str, role: str) -> None:
    source = channel["DataSource"].get("S3DataSource")
    if source is None or source["S3DataType"] != "S3Prefix" or mode == "Pipe":
        raise validation_error(
            f"Channel {channel['ChannelName']!r}: the embedded AWS reads S3DataSource with S3DataType S3Prefix in "
            "modes File and FastFile only."
        )
    try:
        uri = S3Uri.parse(source["S3Uri"])
        found = objects.list_keys(uri)
    except TransferFailed:
        found = []
    if not found:
        bucket = source["S3Uri"].removeprefix("s3://").partition("/")[0]
        raise validation_error(
            f'No S3 objects found under S3 URL "{source["S3Uri"]}" given in input data source. Please ensure that '
            "the bucket exists in the selected "
            f'region ({scope()[1]}), that objects exist under that S3 prefix, and that the role "{role}" has '
            '"s3:ListBucket" permissions on '
            f'bucket "{bucket}".'
        )


# ---- a job that runs -------------------------------------------------------------------------------------------------


class _Ended(Exception):
    """The job is over; carries its final status."""

    def __init__(self, status: str, secondary: str, reason: str | None = None) -> None:
        super().__init__(reason or secondary)
        self.status, self.secondary, self.reason = status, secondary, reason


class _Run:
    """One job's thread, its folder and its process."""

    def __init__(self, job: Record) -> None:
        self._job = job
        self._name: str = job["TrainingJobName"]
        self._base = work_folder("training", self._name)
        self._stopping = threading.Event()
        self._abandoned = threading.Event()
        self._process: subprocess.Popen[Any] | None = None
        self._process_lock = threading.Lock()
        self._metrics = [
            (definition["Name"], re.compile(definition["Regex"]))
            for definition in job["AlgorithmSpecification"].get("MetricDefinitions", ())
        ]

    # -- from other threads

    def stop(self) -> None:
        """StopTrainingJob: SIGTERM now, SIGKILL after the grace period; the job's thread does the rest."""
        self._stopping.set()
        self._enter("Stopping", "Stopping")
        with self._process_lock:
            if self._process is not None and self._process.poll() is None:
                self._process.send_signal(signal.SIGTERM)

    def abandon(self) -> None:
        """The host ends or forgets the job: end the process, write nothing more."""
        self._abandoned.set()
        with self._process_lock:
            if self._process is not None:
                registry.terminate(self._process, 0)

    # -- the thread

    def run(self) -> None:
        try:
            self._work()
        except _Ended as end:
            self._finish(end)
        except TransferFailed as error:
            self._finish(_Ended("Failed", "Failed", f"ClientError: {error}"))
        except Exception:
            logger.exception("training job %s", self._name)
            self._finish(
                _Ended("Failed", "Failed", "InternalServerError: We encountered an internal error. Please try again.")
            )
        finally:
            with store.lock:
                _runs.pop((scope(), self._name), None)
            shutil.rmtree(self._base, ignore_errors=True)

    def _work(self) -> None:
        events.training_job_changed(self._snapshot())
        image = self._pull()
        self._enter("InProgress", "Downloading")
        self._lay_out()
        try:
            self._download()
        except TransferFailed as error:
            raise _Ended("Failed", "Failed", f"ClientError: Data download failed:{error}") from error
        self._heed_stop()
        self._enter("InProgress", "Training", TrainingStartTime=now())
        log = LogStream(LOG_GROUP, f"{self._name}/algo-1-{int(time.time() * 1000)}", log_file("training", self._name))
        try:
            exit_status, tail, timed_out = self._train(image, log)
        finally:
            log.close()
        if self._abandoned.is_set():
            return
        stopped = self._stopping.is_set() or timed_out
        if exit_status != 0 and not stopped:
            self._upload(model=False)
            raise _Ended("Failed", "Failed", self._reason(exit_status, tail))
        if not stopped:
            self._enter("InProgress", "Uploading")
        self._upload(model=True)
        if timed_out:
            raise _Ended("Stopped", "MaxRuntimeExceeded")
        if stopped:
            raise _Ended("Stopped", "Stopped")
        raise _Ended("Completed", "Completed")

    def _pull(self) -> Path:
        try:
            return images.resolve(self._job["AlgorithmSpecification"]["TrainingImage"], registry.config().root)
        except images.UnknownImage as error:
            raise _Ended(
                "Failed",
                "Failed",
                "ClientError: Cannot pull algorithm container. Either the image does not exist or its "
                f"permissions are incorrect. ({error})",
            ) from error

    def _lay_out(self) -> None:
        shutil.rmtree(self._base, ignore_errors=True)
        for folder in ("input/config", "input/data", "model", "output/data", "checkpoints", "code"):
            (self._base / folder).mkdir(parents=True)
        algorithm, resources = self._job["AlgorithmSpecification"], self._job.get("ResourceConfig", {})
        channels = {
            channel["ChannelName"]: {
                "TrainingInputMode": channel.get("InputMode", algorithm["TrainingInputMode"]),
                "S3DistributionType": channel["DataSource"]["S3DataSource"].get(
                    "S3DataDistributionType", "FullyReplicated"
                ),
                "RecordWrapperType": channel.get("RecordWrapperType", "None"),
                **({"ContentType": channel["ContentType"]} if "ContentType" in channel else {}),
            }
            for channel in self._job.get("InputDataConfig", ())
        }
        instance = resources.get("InstanceType", "")
        hosts = {
            "current_host": "algo-1",
            "current_instance_type": instance,
            "current_group_name": "homogeneousCluster",
            "hosts": ["algo-1"],
            "instance_groups": [
                {"instance_group_name": "homogeneousCluster", "instance_type": instance, "hosts": ["algo-1"]}
            ],
            "network_interface_name": "lo",
        }
        for name, content in (
            ("hyperparameters", self._job.get("HyperParameters", {})),
            ("inputdataconfig", channels),
            ("resourceconfig", hosts),
        ):
            (self._base / "input" / "config" / f"{name}.json").write_text(json.dumps(content), "utf-8")

    def _download(self) -> None:
        for channel in self._job.get("InputDataConfig", ()):
            uri = S3Uri.parse(channel["DataSource"]["S3DataSource"]["S3Uri"])
            folder = self._base / "input" / "data" / channel["ChannelName"]
            if not objects.download_prefix(uri, folder):
                raise TransferFailed(f"no objects under {uri}")
            self._heed_stop()

    def _train(self, image: Path, log: LogStream) -> tuple[int, list[str], bool]:
        """Runs the command; returns its exit status (128 + signal), the last lines of stderr, and whether the time ran
        out."""
        checkpoints = self._checkpoints()
        if checkpoints is not None:
            checkpoints.fetch()
        with self._process_lock:
            process = self._process = registry.spawn(
                [registry.config().interpreter, image / images.TRAIN],
                name=f"training {self._name}",
                environment=container_environment(image)
                | {
                    "SAGEMAKER_BASE_DIR": str(self._base),
                    "TRAINING_JOB_NAME": self._name,
                    "TRAINING_JOB_ARN": self._job["TrainingJobArn"],
                }
                | self._job.get("Environment", {}),
                cwd=self._base / "code",
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            if self._stopping.is_set():
                process.send_signal(signal.SIGTERM)
        reader = OutputReader(process, log, self._read_metrics)
        timed_out = self._wait(process, checkpoints)
        status = registry.terminate(process, 0)
        reader.join(5)
        if checkpoints is not None and not self._abandoned.is_set():
            checkpoints.push()
        return (128 - status if status < 0 else status), list(reader.stderr_tail), timed_out

    def _wait(self, process: subprocess.Popen[Any], checkpoints: objects.Mirror | None) -> bool:
        """Until the process ends: copies checkpoints, minds the time limit and the grace period; returns whether the
        time ran out."""
        deadline = time.monotonic() + self._job["StoppingCondition"]["MaxRuntimeInSeconds"]
        next_copy = time.monotonic() + CHECKPOINT_SECONDS
        kill_at: float | None = None
        timed_out = False
        while not self._abandoned.is_set():
            try:
                process.wait(0.2)
                return timed_out
            except subprocess.TimeoutExpired:
                pass
            moment = time.monotonic()
            if checkpoints is not None and moment >= next_copy:
                checkpoints.push()
                next_copy = time.monotonic() + CHECKPOINT_SECONDS
            if kill_at is None and moment >= deadline and not self._stopping.is_set():
                timed_out = True
                self._enter("Stopping", "Stopping", message=_MESSAGES["MaxRuntimeExceeded"])
                process.send_signal(signal.SIGTERM)
            if kill_at is None and (timed_out or self._stopping.is_set()):
                kill_at = moment + settings.stop_grace()
            if kill_at is not None and moment >= kill_at:
                registry.terminate(process, 0)
        return timed_out

    def _checkpoints(self) -> objects.Mirror | None:
        config = self._job.get("CheckpointConfig")
        if not config:
            return None
        local = config.get("LocalPath", "/opt/ml/checkpoints").rstrip("/")
        if local != "/opt/ml/checkpoints":
            raise _Ended(
                "Failed",
                "Failed",
                "ClientError: CheckpointConfig.LocalPath must be /opt/ml/checkpoints on the embedded AWS, not "
                f"{local!r}",
            )
        return objects.Mirror(self._base / "checkpoints", S3Uri.parse(config["S3Uri"]))

    def _read_metrics(self, line: str, is_stderr: bool) -> None:
        for name, pattern in self._metrics:
            match = pattern.search(line)
            if not match:
                continue
            try:
                value = float(match[1] if match.re.groups else match[0])
            except ValueError:
                continue
            if not math.isfinite(value):
                continue
            datum = {"MetricName": name, "Value": value, "Timestamp": now()}
            with store.lock:
                others = [entry for entry in self._job.get("FinalMetricDataList", []) if entry["MetricName"] != name]
                self._job["FinalMetricDataList"] = [*others, datum]
            registry.put_metric_data(LOG_GROUP, name, value, "None", {"Host": f"{self._name}/algo-1"})

    def _upload(self, *, model: bool) -> None:
        """``model.tar.gz`` (of a stopped job only when it left something) and ``output.tar.gz``, named as SageMaker
        names them."""
        place = S3Uri.parse(self._job["OutputDataConfig"]["S3OutputPath"]).child(f"{self._name}/output")
        wanted = [("output.tar.gz", self._base / "output" / "data")]
        stopped = self._job["TrainingJobStatus"] == "Stopping"
        if model and not (stopped and not any((self._base / "model").iterdir())):
            wanted.insert(0, ("model.tar.gz", self._base / "model"))
        for name, folder in wanted:
            archive = self._base / name
            objects.pack(folder, archive)
            try:
                objects.upload(archive, place.child(name))
            except TransferFailed as error:
                raise _Ended("Failed", "Failed", f"ClientError: Artifact upload failed:{error}") from error
            if name == "model.tar.gz":
                with store.lock:
                    self._job["ModelArtifacts"] = {"S3ModelArtifacts": str(place.child(name))}

    def _reason(self, exit_status: int, tail: list[str]) -> str:
        try:
            text = (self._base / "output" / "failure").read_text("utf-8", "replace").strip()
        except OSError:
            text = ""
        text = text or "\n".join(tail).strip()
        ending = f", exit code: {exit_status}"
        return f"AlgorithmError: {text}"[: LONGEST_REASON - len(ending)] + ending

    # -- status

    def _heed_stop(self) -> None:
        if self._stopping.is_set():
            raise _Ended("Stopped", "Stopped")

    def _enter(self, status: str, secondary: str, *, message: str | None = None, **members: Any) -> None:
        if self._abandoned.is_set():
            return
        with store.lock:
            if self._job["TrainingJobStatus"] in TERMINAL or (
                status == "InProgress" and self._job["TrainingJobStatus"] == "Stopping"
            ):
                return
            moment = now()
            transitions = self._job["SecondaryStatusTransitions"]
            transitions[-1].setdefault("EndTime", moment)
            transitions.append(
                {"Status": secondary, "StartTime": moment, "StatusMessage": message or _MESSAGES[secondary]}
            )
            self._job |= {
                "TrainingJobStatus": status,
                "SecondaryStatus": secondary,
                "LastModifiedTime": moment,
            } | members
            if status in TERMINAL:
                transitions[-1]["EndTime"] = moment
        registry.mark_changed()
        logger.info("training job %s: %s / %s", self._name, status, secondary)
        events.training_job_changed(self._snapshot())

    def _finish(self, end: _Ended) -> None:
        moment = now()
        members: Record = {"TrainingEndTime": moment}
        if started := self._job.get("TrainingStartTime"):
            seconds = max(1, math.ceil(moment - started))
            members |= {"TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": seconds}
        if end.reason:
            members["FailureReason"] = end.reason[:LONGEST_REASON]
        self._enter(end.status, end.secondary, message=end.reason, **members)

    def _snapshot(self) -> Record:
        with store.lock:
            return public(self._job)


# ---- the host's life -------------------------------------------------------------------------------------------------


def fail_interrupted() -> None:
    """Ends the jobs that ran when the host ended, and says so in an event: their processes are gone."""
    from ministack.core.responses import request_scope

    for account, region in store.scopes():
        with request_scope(account, region):
            with store.lock:
                interrupted = [
                    job
                    for name, job in store.tables().training_jobs.items()
                    if job["TrainingJobStatus"] not in TERMINAL and (scope(), name) not in _runs
                ]
            for job in interrupted:
                run = _Run(job)
                run._finish(_Ended("Failed", "Failed", INTERRUPTED))
                shutil.rmtree(run._base, ignore_errors=True)


def close() -> None:
    """The host ends: end all processes and leave the jobs' records as they are."""
    with store.lock:
        runs = list(_runs.values())
    for run in runs:
        run.abandon()


def abandon_all() -> None:
    with store.lock:
        runs = list(_runs.values())
        _runs.clear()
    for run in runs:
        run.abandon()
