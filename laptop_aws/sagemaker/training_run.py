"""Runs one training job: SageMaker's ``/opt/ml`` contract around a real process, from download to upload.

A job is one background thread: it lays out the base directory (``SAGEMAKER_BASE_DIR``), downloads the channels, runs
the image's ``train`` command in its own process group, and uploads the contents of ``model`` and ``output/data``. Each
step is a secondary status, and each an event.
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
from typing import Any

from laptop_aws import images, objects, registry
from laptop_aws.objects import S3Uri, TransferFailed
from laptop_aws.output import LogStream, OutputReader
from laptop_aws.sagemaker import events, settings
from laptop_aws.sagemaker.job_runs import TERMINAL
from laptop_aws.sagemaker.places import container_environment, log_file, work_folder
from laptop_aws.sagemaker.store import store
from laptop_aws.store import Record, now, public

logger = logging.getLogger("emulator")

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
CHECKPOINT_SECONDS = 5.0
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


class TrainingRun:
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
        """StopTrainingJob: sends SIGTERM now, and SIGKILL after the grace period; the job's thread does the rest."""
        self._stopping.set()
        self._enter("Stopping", "Stopping")
        with self._process_lock:
            if self._process is not None and self._process.poll() is None:
                self._process.send_signal(signal.SIGTERM)

    def abandon(self) -> None:
        """Ends the process and writes nothing more, because the host ends or deletes the job."""
        self._abandoned.set()
        with self._process_lock:
            if self._process is not None:
                registry.terminate(self._process, 0)

    # -- the thread

    def run(self) -> None:
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
            raise Ended("Failed", "Failed", self._reason(exit_status, tail))
        if not stopped:
            self._enter("InProgress", "Uploading")
        self._upload(model=True)
        if timed_out:
            raise Ended("Stopped", "MaxRuntimeExceeded")
        if stopped:
            raise Ended("Stopped", "Stopped")
        raise Ended("Completed", "Completed")

    def _pull(self) -> images.Image:
        try:
            return images.resolve(self._job["AlgorithmSpecification"]["TrainingImage"], registry.config().root)
        except images.UnknownImage as error:
            raise Ended(
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
            self._check_stopped()

    def _train(self, image: images.Image, log: LogStream) -> tuple[int, list[str], bool]:
        """Runs the command; returns its exit status (128 + signal), the last lines of stderr, and True if it timed
        out."""
        checkpoints = self._checkpoints()
        if checkpoints is not None:
            checkpoints.fetch()
        with self._process_lock:
            process = self._process = registry.spawn(
                image.command("train", registry.config().interpreter),
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
        """Waits for the process to end, copies checkpoints, and enforces the time limit and the grace period. Returns
        True if the process timed out."""
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
                self._enter("Stopping", "Stopping", message=MESSAGES["MaxRuntimeExceeded"])
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
            raise Ended(
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
        """Uploads ``model.tar.gz`` (for a stopped job only if the folder has files) and ``output.tar.gz``, under
        SageMaker's names."""
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
                raise Ended("Failed", "Failed", f"ClientError: Artifact upload failed:{error}") from error
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
