"""Runs one training job: SageMaker's ``/opt/ml`` contract around real processes, from download to upload.

A job is one background thread: for each instance it lays out a base directory (``SAGEMAKER_BASE_DIR``), downloads the
channels, and runs the image's ``train`` command in its own process group; then it uploads the contents of ``model`` and
``output/data``. Each step is a secondary status, and each an event. The first process that fails ends the job.
"""

from __future__ import annotations

import json
import logging
import math
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

from laptop_aws import calls, images, objects, registry
from laptop_aws.objects import S3Uri, TransferFailed
from laptop_aws.output import LogStream, OutputReader
from laptop_aws.sagemaker import events, settings
from laptop_aws.sagemaker.job_runs import TERMINAL
from laptop_aws.sagemaker.places import container_environment, log_file, record_pull, work_folder
from laptop_aws.sagemaker.store import store
from laptop_aws.store import Record, now, public

logger = logging.getLogger("emulator")

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
CHECKPOINT_SECONDS = 5.0
POLL_SECONDS = 0.1
LONGEST_REASON = 1024
MESSAGES = {
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


class Ended(Exception):
    """The job has ended; holds its final status."""

    def __init__(self, status: str, secondary: str, reason: str | None = None) -> None:
        super().__init__(reason or secondary)
        self.status, self.secondary, self.reason = status, secondary, reason


class _Instance:
    """One instance of a job: its base directory, its log and its process."""

    def __init__(self, job: str, number: int, base: Path) -> None:
        self.name, self.base = f"algo-{number}", base
        self.stream = f"{job}/{self.name}"
        """Prefix of its log stream, and the dimension Host of its metrics."""
        self.process: subprocess.Popen[Any] | None = None
        self.log: LogStream | None = None
        self.reader: OutputReader | None = None
        self.checkpoints: objects.Mirror | None = None

    def status(self) -> int | None:
        """The exit status (128 + signal), None while the process runs."""
        status = None if self.process is None else self.process.poll()
        return 128 - status if status is not None and status < 0 else status

    def signal_stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        """Ends the process and its group, and reads the rest of its output."""
        if self.process is not None:
            registry.terminate(self.process, 0)
        if self.reader is not None:
            self.reader.join(5)
        if self.log is not None:
            self.log.close()


class TrainingRun:
    """One job's thread, its folder and its processes."""

    def __init__(self, job: Record) -> None:
        self._job = job
        self._name: str = job["TrainingJobName"]
        self._base = work_folder("training", self._name)
        self._stopping = threading.Event()
        self._abandoned = threading.Event()
        count = job.get("ResourceConfig", {}).get("InstanceCount", 1)
        # One instance has the folder itself, and AWS's name, which nothing has to resolve.
        self._hosts = ["algo-1"] if count == 1 else [f"127.0.0.{number}" for number in range(1, count + 1)]
        self._instances = [
            _Instance(self._name, number, self._base if count == 1 else self._base / f"algo-{number}")
            for number in range(1, count + 1)
        ]
        self._process_lock = threading.Lock()
        self._metrics = [
            (definition["Name"], re.compile(definition["Regex"]))
            for definition in job["AlgorithmSpecification"].get("MetricDefinitions", ())
        ]

    # -- from other threads

    def stop(self) -> None:
        """StopTrainingJob: sends SIGTERM now, and SIGKILL after the grace period; the job's thread does the rest."""
        self._stopping.set()
        self._enter("Stopping", "Stopping")
        with self._process_lock:
            for instance in self._instances:
                instance.signal_stop()

    def abandon(self) -> None:
        """Ends the processes and writes nothing more, because the host ends or deletes the job."""
        self._abandoned.set()
        with self._process_lock:
            for instance in self._instances:
                if instance.process is not None:
                    registry.terminate(instance.process, 0)

    # -- the thread

    def run(self) -> None:
        with calls.acting_as(self._job["RoleArn"]):
            self._run()

    def _run(self) -> None:
        try:
            self._work()
        except Ended as end:
            self._finish(end)
        except TransferFailed as error:
            self._finish(Ended("Failed", "Failed", f"ClientError: {error}"))
        except Exception:
            logger.exception("training job %s", self._name)
            self._finish(
                Ended("Failed", "Failed", "InternalServerError: We encountered an internal error. Please try again.")
            )
        finally:
            shutil.rmtree(self._base, ignore_errors=True)

    def fail(self, reason: str) -> None:
        """Ends a job whose process no longer exists."""
        self._finish(Ended("Failed", "Failed", reason))
        shutil.rmtree(self._base, ignore_errors=True)

    def _work(self) -> None:
        events.training_job_changed(self._snapshot())
        image = self._pull()
        self._enter("InProgress", "Downloading")
        self._lay_out()
        try:
            self._download()
        except TransferFailed as error:
            raise Ended("Failed", "Failed", f"ClientError: Data download failed:{error}") from error
        self._check_stopped()
        self._enter("InProgress", "Training", TrainingStartTime=now())
        failed, timed_out = self._train(image)
        if self._abandoned.is_set():
            return
        stopped = self._stopping.is_set() or timed_out
        if failed is not None and not stopped:
            self._upload(model=False)
            raise Ended("Failed", "Failed", failed)
        if not stopped:
            self._enter("InProgress", "Uploading")
        self._upload(model=True)
        if timed_out:
            raise Ended("Stopped", "MaxRuntimeExceeded")
        if stopped:
            raise Ended("Stopped", "Stopped")
        raise Ended("Completed", "Completed")

    def _pull(self) -> images.Image:
        uri = self._job["AlgorithmSpecification"]["TrainingImage"]
        record_pull(uri)
        try:
            return images.resolve(uri, registry.config().root)
        except images.UnknownImage as error:
            raise Ended(
                "Failed",
                "Failed",
                "ClientError: Cannot pull algorithm container. Either the image does not exist or its "
                f"permissions are incorrect. ({error})",
            ) from error

    def _lay_out(self) -> None:
        shutil.rmtree(self._base, ignore_errors=True)
        for number, instance in enumerate(self._instances):
            for folder in ("input/config", "input/data", "model", "output/data", "checkpoints", "code"):
                (instance.base / folder).mkdir(parents=True)
            for name, content in self._config(self._hosts[number]).items():
                (instance.base / "input" / "config" / f"{name}.json").write_text(json.dumps(content), "utf-8")

    def _config(self, host: str) -> dict[str, Any]:
        """The documents below ``input/config`` of the instance with this name."""
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
        return {
            "hyperparameters": self._job.get("HyperParameters", {}),
            "inputdataconfig": channels,
            "resourceconfig": {
                "current_host": host,
                "current_instance_type": instance,
                "current_group_name": "homogeneousCluster",
                "hosts": self._hosts,
                "instance_groups": [
                    {"instance_group_name": "homogeneousCluster", "instance_type": instance, "hosts": self._hosts}
                ],
                "network_interface_name": "lo",
            },
        }

    def _download(self) -> None:
        for channel in self._job.get("InputDataConfig", ()):
            uri = S3Uri.parse(channel["DataSource"]["S3DataSource"]["S3Uri"])
            for instance in self._instances:
                folder = instance.base / "input" / "data" / channel["ChannelName"]
                if not objects.download_prefix(uri, folder):
                    raise TransferFailed(f"no objects under {uri}")
                self._check_stopped()

    def _train(self, image: images.Image) -> tuple[str | None, bool]:
        """Runs the command on every instance; returns the reason of the first failure, and True if the job timed
        out."""
        for instance in self._instances:
            instance.checkpoints = self._checkpoints(instance.base)
            if instance.checkpoints is not None:
                instance.checkpoints.fetch()
        meeting = {} if len(self._instances) == 1 else {"MASTER_PORT": _free_port()}
        with self._process_lock:
            for instance in self._instances:
                self._start(instance, image, meeting)
            if self._stopping.is_set():
                for instance in self._instances:
                    instance.signal_stop()
        try:
            failed, timed_out = self._wait()
        finally:
            for instance in self._instances:
                instance.end()
        if not self._abandoned.is_set():
            self._push_checkpoints()
        return (None if failed is None else self._reason(failed)), timed_out

    def _start(self, instance: _Instance, image: images.Image, meeting: dict[str, str]) -> None:
        instance.log = LogStream(
            LOG_GROUP, f"{instance.stream}-{int(time.time() * 1000)}", log_file("training", self._name)
        )
        instance.process = registry.spawn(
            image.command("train", registry.config().interpreter),
            name=f"training {instance.stream}",
            environment=container_environment(image)
            | {
                "SAGEMAKER_BASE_DIR": str(instance.base),
                "TRAINING_JOB_NAME": self._name,
                "TRAINING_JOB_ARN": self._job["TrainingJobArn"],
            }
            | meeting
            | self._job.get("Environment", {}),
            cwd=instance.base / "code",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        instance.reader = OutputReader(instance.process, instance.log, partial(self._read_metrics, instance))

    def _wait(self) -> tuple[_Instance | None, bool]:
        """Waits until all processes have ended or one has failed, copies checkpoints, and enforces the time limit and
        the grace period. Returns the instance that failed, and True if the job timed out."""
        deadline = time.monotonic() + self._job["StoppingCondition"]["MaxRuntimeInSeconds"]
        next_copy = time.monotonic() + CHECKPOINT_SECONDS
        kill_at: float | None = None
        timed_out = False
        while not self._abandoned.is_set():
            ended = [(instance, instance.status()) for instance in self._instances]
            is_leaving = timed_out or self._stopping.is_set()
            failed = next((instance for instance, status in ended if status), None)
            if all(status is not None for _, status in ended) or (failed is not None and not is_leaving):
                return failed, timed_out
            time.sleep(POLL_SECONDS)
            moment = time.monotonic()
            if moment >= next_copy:
                self._push_checkpoints()
                next_copy = time.monotonic() + CHECKPOINT_SECONDS
            if kill_at is None and moment >= deadline and not self._stopping.is_set():
                timed_out = True
                self._enter("Stopping", "Stopping", message=MESSAGES["MaxRuntimeExceeded"])
                for instance in self._instances:
                    instance.signal_stop()
            if kill_at is None and (timed_out or self._stopping.is_set()):
                kill_at = moment + settings.stop_grace()
            if kill_at is not None and moment >= kill_at:
                for instance in self._instances:
                    instance.end()
        return None, timed_out

    def _push_checkpoints(self) -> None:
        for instance in self._instances:
            if instance.checkpoints is not None:
                instance.checkpoints.push()

    def _checkpoints(self, base: Path) -> objects.Mirror | None:
        config = self._job.get("CheckpointConfig")
        if not config:
            return None
        local = config.get("LocalPath", "/opt/ml/checkpoints").rstrip("/")
        if local != "/opt/ml/checkpoints":
            raise Ended(
                "Failed",
                "Failed",
                "ClientError: CheckpointConfig.LocalPath must be /opt/ml/checkpoints on the embedded AWS, not "
                f"{local!r}",
            )
        return objects.Mirror(base / "checkpoints", S3Uri.parse(config["S3Uri"]))

    def _read_metrics(self, instance: _Instance, line: str, is_stderr: bool) -> None:
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
            calls.record("cloudwatch", "PutMetricData", {"Namespace": LOG_GROUP}, once=True)
            registry.put_metric_data(LOG_GROUP, name, value, "None", {"Host": instance.stream})

    def _upload(self, *, model: bool) -> None:
        """Uploads ``model.tar.gz`` (for a stopped job only if the folder has files) and ``output.tar.gz``, under
        SageMaker's names."""
        place = S3Uri.parse(self._job["OutputDataConfig"]["S3OutputPath"]).child(f"{self._name}/output")
        first = self._instances[0].base
        for instance in self._instances[1:]:  # AWS puts the files of all instances into one archive
            for part in ("model", "output/data"):
                shutil.copytree(instance.base / part, first / part, dirs_exist_ok=True)
        wanted = [("output.tar.gz", first / "output" / "data")]
        stopped = self._job["TrainingJobStatus"] == "Stopping"
        if model and not (stopped and not any((first / "model").iterdir())):
            wanted.insert(0, ("model.tar.gz", first / "model"))
        for name, folder in wanted:
            archive = first / name
            objects.pack(folder, archive)
            try:
                objects.upload(archive, place.child(name))
            except TransferFailed as error:
                raise Ended("Failed", "Failed", f"ClientError: Artifact upload failed:{error}") from error
            if name == "model.tar.gz":
                with store.lock:
                    self._job["ModelArtifacts"] = {"S3ModelArtifacts": str(place.child(name))}

    def _reason(self, failed: _Instance) -> str:
        try:
            text = (failed.base / "output" / "failure").read_text("utf-8", "replace").strip()
        except OSError:
            text = ""
        text = text or "\n".join(failed.reader.stderr_tail if failed.reader else ()).strip()
        ending = f", exit code: {failed.status()}"
        return f"AlgorithmError: {text}"[: LONGEST_REASON - len(ending)] + ending

    # -- status

    def _check_stopped(self) -> None:
        if self._stopping.is_set():
            raise Ended("Stopped", "Stopped")

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
                {"Status": secondary, "StartTime": moment, "StatusMessage": message or MESSAGES[secondary]}
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

    def _finish(self, end: Ended) -> None:
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


def _free_port() -> str:
    """A port that is free now: all instances of all jobs share one machine, so they cannot all meet at the same one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])
