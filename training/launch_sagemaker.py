"""A training job in your AWS account, with the SageMaker SDK. Image and contract are those of the state machine's jobs.

The only file in this folder that knows AWS. The SDK is imported when a job is started, because nothing else needs it.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import re
from typing import TYPE_CHECKING, Any

from rich.console import Console

from contracts import lines
from contracts.durations import seconds_of
from contracts.names import DATASET_VERSION
from training.hyperparameters import Hyperparameters
from training.launching import show
from training.launching.hyperparameter_text import Refused, texts_of

if TYPE_CHECKING:
    from sagemaker.train import ModelTrainer

INSTANCE_TYPE = "ml.g4dn.xlarge"
VOLUME_GIGABYTES = 50
MAX_RUNTIME_SECONDS = 4 * 3600
CHECKPOINTS = "/opt/ml/checkpoints"
METRICS = lines.METRICS | {"ValidationNdcg": lines.VALIDATION}
INTERRUPTED = 130
LONGEST_NAME = 15
"""Maximum length of the run's name in a job's name, which has at most 63 characters with the run id and the SDK's time.
"""


@dataclasses.dataclass(frozen=True)
class Job:
    """The settings of a training job, without the SDK's types."""

    dataset: str
    output: str
    role: str
    image: str
    instance_type: str
    incumbent: str | None
    version: str
    name: str

    @classmethod
    def read(cls, arguments: argparse.Namespace, model: str) -> Job:
        """Read the settings from the command line. Raises Refused with the missing or invalid option."""
        for option in ("resume", "list"):
            if getattr(arguments, option):
                raise Refused(f"--{option} is for runs on this machine and cannot be combined with --sagemaker")
        for option, meaning in {
            "role": "the ARN of the job's execution role",
            "image": "the URI of the image of container/Dockerfile",
            "output": "an s3:// URI for its model",
        }.items():
            if not getattr(arguments, option):
                raise Refused(f"--sagemaker needs --{option}, {meaning}")
        for option, uri in (("DATASET", arguments.dataset), ("--output", arguments.output)):
            if not (uri or "").startswith("s3://"):
                raise Refused(f"with --sagemaker, {option} must be an s3://… URI, not {uri}")
        if arguments.incumbent and not re.fullmatch(r"s3://.+/model\.tar\.gz", arguments.incumbent):
            raise Refused(f"with --sagemaker, --incumbent must be s3://…/model.tar.gz, not {arguments.incumbent}")
        version = arguments.dataset.rstrip("/").rpartition("/")[2]
        if not DATASET_VERSION.fullmatch(version):
            raise Refused(
                f"the last part of {arguments.dataset} must be the dataset's version, such as "
                f"v20261123t151300z-1a2b3c4d: give the folder with manifest.json"
            )
        return cls(
            dataset=arguments.dataset.rstrip("/") + "/",
            output=arguments.output.rstrip("/"),
            role=arguments.role,
            image=arguments.image,
            instance_type=arguments.instance_type or INSTANCE_TYPE,
            incumbent=arguments.incumbent,
            version=version,
            name=re.sub(r"[^A-Za-z0-9]+", "-", arguments.name or model)[:LONGEST_NAME].strip("-"),
        )

    def run_id(self, others: list[str]) -> str:
        """Return the next free run id of this version; `others` are the names of the account's training jobs."""
        taken = [
            int(match[1]) for name in others if (match := re.search(re.escape(self.version) + r"-r([0-9]{1,4})", name))
        ]
        return f"{self.version}-r{1 + max(taken, default=0)}"

    def hyperparameters(self, given: Hyperparameters, run_id: str) -> dict[str, str]:
        """Return the hyperparameters as texts for SageMaker. The image's digest is the version of the code."""
        derived = {
            "run_id": run_id,
            "dataset_version": self.version,
            "code_version": self.image.rpartition("@sha256:")[2],
        }
        return texts_of(given.to_dict()) | derived


def launch(arguments: argparse.Namespace, given: Hyperparameters, console: Console) -> int:
    """Start the job and, with --wait, show its log until it ends. Return the exit status. Raises Refused."""
    job = Job.read(arguments, given.model)
    if given.search and seconds_of(given.search) >= MAX_RUNTIME_SECONDS:
        raise Refused(f"--search {given.search} must be shorter than the job's time limit, {MAX_RUNTIME_SECONDS} s")
    try:
        from botocore.exceptions import BotoCoreError, ClientError
        from sagemaker.core.helper.session_helper import Session
        from sagemaker.core.resources import TrainingJob
        from sagemaker.core.utils.exceptions import FailedStatusError
    except ImportError as error:
        raise Refused(
            f"--sagemaker needs the SageMaker SDK, which cannot be imported ({error}): "
            "pip install -r requirements/sagemaker.txt in a separate environment (docs/dependencies.md)"
        ) from error
    # The SDK refuses a role without some permissions that this job does not need, such as for networks in EC2.
    # SageMaker itself refuses a role without the permissions that the job needs.
    os.environ.setdefault("SAGEMAKER_VALIDATE_ROLE", "false")
    try:
        session = Session()
        others = TrainingJob.get_all(name_contains=job.version, session=session.boto_session)
        run_id = job.run_id([str(other.training_job_name) for other in others])
        made = trainer(job, job.hyperparameters(given, run_id), run_id, session)
        made.train(wait=False, logs=False)
        started = made._latest_training_job
        show.say(console, f"training job {started.training_job_name} on {job.instance_type}: {run_id}", "[green]✓[/] ")
        if not arguments.wait:
            show.say(console, f"  model and figures will be in {job.output}/{started.training_job_name}/output/")
            return 0
        logging.getLogger("sagemaker.core.resources").addHandler(_JobLog(console))
        logging.getLogger("sagemaker.core.resources").setLevel(logging.INFO)
        try:
            started.wait(logs=True)
        except KeyboardInterrupt:
            stop = f"aws sagemaker stop-training-job --training-job-name {started.training_job_name}"
            show.say(console, f"the job continues in your account; to stop it: {stop}", "[yellow]![/] ")
            return INTERRUPTED
        except FailedStatusError:
            show.say(console, f"{started.failure_reason}", "[red]✗[/] ")
            return 1
        show.say(console, f"{started.training_job_status}: {job.output}/{started.training_job_name}/output/", "· ")
        return 0 if started.training_job_status == "Completed" else 1
    except (BotoCoreError, ClientError, ValueError) as error:
        raise Refused(f"the training job was not started: {error}") from error


class _JobLog(logging.Handler):
    """Prints the job's log. The SDK logs each line as the stream's name, a colon, a newline and the line."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        _, separator, line = record.getMessage().partition(":\n")
        if separator:
            show.say(self._console, line.rstrip("\n"), style="dim")


def trainer(job: Job, hyperparameters: dict[str, str], run_id: str, session: Any) -> ModelTrainer:
    """Return the SDK's trainer of the job. It sends no source code, because the image has the command `train`."""
    from sagemaker.core.shapes import (
        CheckpointConfig,
        MetricDefinition,
        OutputDataConfig,
        StoppingCondition,
        Tag,
    )
    from sagemaker.core.training.configs import Compute, InputData, Networking
    from sagemaker.train import ModelTrainer

    channels = [InputData(channel_name="dataset", data_source=job.dataset)]
    if job.incumbent:
        channels.append(InputData(channel_name="incumbent", data_source=job.incumbent))
    return ModelTrainer(
        sagemaker_session=session,
        role=job.role,
        base_job_name=f"{run_id}-{job.name}",
        training_image=job.image,
        compute=Compute(instance_type=job.instance_type, instance_count=1, volume_size_in_gb=VOLUME_GIGABYTES),
        networking=Networking(enable_network_isolation=True),
        stopping_condition=StoppingCondition(max_runtime_in_seconds=MAX_RUNTIME_SECONDS),
        input_data_config=channels,
        output_data_config=OutputDataConfig(s3_output_path=job.output),
        checkpoint_config=CheckpointConfig(s3_uri=f"{job.output}/checkpoints/{run_id}/", local_path=CHECKPOINTS),
        hyperparameters=hyperparameters,
        tags=[Tag(key="runId", value=run_id), Tag(key="datasetVersion", value=job.version)],
    ).with_metric_definitions([MetricDefinition(name=name, regex=regex) for name, regex in METRICS.items()])
