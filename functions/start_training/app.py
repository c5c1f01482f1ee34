"""State StartTraining (task token): start a SageMaker training job. `on_job_finished` answers the token when the job
has ended.

The answer is `{"jobName", "modelDataUrl", "outputUrl", "image", "instanceType", "instanceCount", "modelData",
"output"}`; the last two are the pins of both archives (`shared/artefacts.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from shared import acknowledgement, consoles, environment, events, likeness, names
from shared.clients import already_exists, calling
from shared.errors import CapacityUnavailable, DependencyFailed, InvalidInput
from shared.jobs import Jobs
from shared.ledger import Ledger, Token
from shared.observability import append_run, count, logger, observed
from shared.records import JobKind, Run
from start_training import attempt, request


@dataclass(frozen=True, kw_only=True)
class Settings(environment.Common):
    """Environment of this function."""

    data_bucket: str
    artifacts_bucket: str
    model_image_uri: str
    training_role_arn: str
    training_instance_type: str
    training_max_runtime_seconds: int
    training_instance_count: int = 1
    training_use_spot: bool = False
    kms_key_arn: str = ""
    hyperparameters: dict[str, Any] = field(default_factory=dict)


STAGE = "training"
SETTINGS = environment.load(Settings)
LEDGER = Ledger(SETTINGS.runs_table)
JOBS = Jobs(LEDGER)


@observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Returns `{"jobName", "console"}`; the state machine reads the token's answer, not this."""
    events.require_task(event)
    run_id, version = request.from_event(event)
    append_run(run_id=run_id, dataset_version=version)
    names.require_past(version, LEDGER.seconds())

    state = LEDGER.run(run_id)
    refusal = attempt.refusal(state, event["executionArn"]) or acknowledgement.refusal(LEDGER, run_id, event)
    if refusal is not None:
        LEDGER.decide(run_id, _restart(event), "REFUSED", [refusal], {"executionArn": event["executionArn"]})
        raise InvalidInput(f"run {run_id} cannot be started: {refusal}")
    earlier = JOBS.training_job(names.training_job(SETTINGS.name_prefix, run_id, attempt.current(state)))
    number = attempt.following(state, earlier)
    serving = LEDGER.serving()
    incumbent = (serving["modelDataUrl"], serving.get("bundleDigest")) if serving else ()
    run = request.Run(run_id, version, number, *incumbent)
    call = request.create_training_job(
        run,
        name_prefix=SETTINGS.name_prefix,
        data_bucket=SETTINGS.data_bucket,
        artifacts_bucket=SETTINGS.artifacts_bucket,
        image_uri=SETTINGS.model_image_uri,
        role_arn=SETTINGS.training_role_arn,
        instance_type=SETTINGS.training_instance_type,
        instance_count=SETTINGS.training_instance_count,
        use_spot=SETTINGS.training_use_spot,
        max_runtime_seconds=SETTINGS.training_max_runtime_seconds,
        given_hyperparameters=SETTINGS.hyperparameters,
        kms_key_arn=SETTINGS.kms_key_arn,
    )
    token = Token(
        kind=JobKind.TRAINING,
        name=call["TrainingJobName"],
        task_token=event["taskToken"],
        execution_arn=event["executionArn"],
        run_id=run_id,
        dataset_version=version,
    )
    if state is None:  # a further attempt, started by a person
        LEDGER.open_run(run_id, version, event["executionArn"])
    _remember_restart(run_id, state, event)
    LEDGER.resume_run(run_id, version, event["executionArn"], number)
    if earlier is None or number != attempt.current(state):
        # Written before the creation: a later try knows the run's own job by it, whatever the stack's parameters are.
        LEDGER.decide(
            run_id, STAGE, "STARTED", [f"training job {token.name}"], {"jobName": token.name, **_traits(call)}
        )
        LEDGER.hold_token(token)
        if _create(call, run_id):
            return _started(token)
        earlier = JOBS.training_job(token.name)  # another try of this state created it at the same time
    logger.info("training job already exists", extra={"job_name": token.name})
    _require_own(run, call, earlier, token)
    LEDGER.hold_token(token)
    JOBS.settle(token)
    return _started(token)


def _started(token: Token) -> dict[str, Any]:
    return {"jobName": token.name, "console": consoles.sagemaker(token.kind, token.name, token.execution_arn)}


def _restart(event: dict[str, Any]) -> str:
    """Return the ledger stage of the restart by this execution."""
    return f"restart#{event['executionArn'].rpartition(':')[2]}"


def _remember_restart(run_id: str, state: Run | None, event: dict[str, Any]) -> None:
    """Record why the earlier execution ended, before the run's record names the new one."""
    if state is None or state.get("executionArn") in (None, event["executionArn"]):
        return
    figures = {
        "executionArn": event["executionArn"],
        "earlierExecutionArn": state["executionArn"],
        "earlierStatus": state["status"],
    }
    LEDGER.decide(run_id, _restart(event), "RESTARTED", state.get("reasons") or [], figures)
    logger.info("run restarted", extra={"earlier_status": state["status"]})
    count("RunRestarted")


def _traits(call: dict[str, Any]) -> dict[str, str]:
    return likeness.training(call, {tag["Key"]: tag["Value"] for tag in call["Tags"] if tag["Key"] in request.IDENTITY})


def _require_own(run: request.Run, call: dict[str, Any], job: dict[str, Any] | None, token: Token) -> None:
    """Raise InvalidInput unless the job that has the run's name is the one that the run has created, or would create.
    The run's next job then has another name; no token is left by which `handle_failure` would stop this one.
    """
    if job is None:
        raise DependencyFailed(f"training job {token.name} exists, and is not described yet")
    record = LEDGER.decision(run.run_id, STAGE)
    created = dict(record["figures"]) if record else {}
    wanted = created if created.pop("jobName", None) == token.name else _traits(call)
    tags = {name: value for name, value in JOBS.tags(job["TrainingJobArn"]).items() if name in request.IDENTITY}
    phrases = likeness.differences(wanted, likeness.training(job, tags))
    if not phrases:
        return
    LEDGER.release_token(token)
    LEDGER.resume_run(run.run_id, run.dataset_version, token.execution_arn, run.attempt + 1)
    following = names.training_job(SETTINGS.name_prefix, run.run_id, run.attempt + 1)
    remedy = f"Restart the run: it trains as {following}"
    raise InvalidInput(likeness.sentence(f"training job {token.name}", phrases, remedy))


def _create(call: dict[str, Any], run_id: str) -> bool:
    """Create the job. False if its name is taken. The run is parked while there is no capacity."""
    try:
        with calling("sagemaker CreateTrainingJob"):
            try:
                JOBS.client("sagemaker").create_training_job(**call)
            except ClientError as error:
                if already_exists(error):
                    return False
                raise
    except CapacityUnavailable as error:
        LEDGER.park_run(run_id, str(error))
        raise
    logger.info(
        "training job started", extra={"job_name": call["TrainingJobName"], "channels": len(call["InputDataConfig"])}
    )
    return True
