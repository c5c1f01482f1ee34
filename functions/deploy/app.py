"""States Deploy and RollBack (task token) of a retraining or a rollback: start a change of the endpoint.
`on_job_finished` answers the token when the change has ended.

Deploy's answer is `{"endpointName", "endpointConfigName"}`. RollBack's answer is the same or, if there was nothing to
wait for, `{"endpointName", "endpointConfigName"?, "changed", "alarms"?}`: the deployment's alarms in state ALARM.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from contracts import history
from contracts.values import as_json
from deploy import plan, request
from deploy.plan import Action, Step
from shared import acknowledgement, consoles, environment, events, likeness, names
from shared.clients import already_exists, calling, client, code_of, in_progress, message_of, not_found
from shared.deployment import Deployment
from shared.errors import (
    AlarmNotQuiet,
    ArtefactChanged,
    CapacityUnavailable,
    DependencyFailed,
    DeploymentInProgress,
    EndpointFailed,
    EndpointUnusable,
    FunctionError,
    InvalidInput,
    MissingResource,
    ModelNotApproved,
    NotComparable,
    StaleVersion,
)
from shared.jobs import Jobs
from shared.ledger import Ledger, Token
from shared.objects import Bucket
from shared.observability import append_run, count, logger, observed
from shared.outcomes import Outcome
from shared.records import JobKind
from shared.trials import TrialDocument

STAGE = "deployment"
REMEDY = "Start the next attempt: it has names of its own"


@dataclass(frozen=True, kw_only=True)
class Settings(environment.Common):
    """Environment of this function."""

    artifacts_bucket: str
    endpoint_name: str
    serving_role_arn: str
    endpoint_instance_type: str
    endpoint_instance_count: int
    endpoint_maximum_instances: int = 0
    endpoint_inference_ami_version: str = ""
    kms_key_arn: str = ""
    endpoint_alarm_names: tuple[str, ...] = ()
    deployment_strategy: str = request.AT_ONCE.strategy
    deployment_step_percent: int = request.AT_ONCE.percent
    deployment_step_wait_seconds: int = request.AT_ONCE.wait_seconds


SETTINGS = environment.load(Settings)
if SETTINGS.deployment_strategy not in request.STRATEGIES:
    raise environment.BadEnvironment(
        f"DEPLOYMENT_STRATEGY must be one of {', '.join(request.STRATEGIES)}, not {SETTINGS.deployment_strategy!r}"
    )
TRAFFIC = request.Traffic(
    SETTINGS.deployment_strategy, SETTINGS.deployment_step_percent, SETTINGS.deployment_step_wait_seconds
)
FLEET = request.Fleet(
    SETTINGS.endpoint_instance_type,
    SETTINGS.endpoint_instance_count,
    SETTINGS.endpoint_inference_ami_version,
    SETTINGS.kms_key_arn,
)
LEDGER = Ledger(SETTINGS.runs_table)
JOBS = Jobs(LEDGER)
S3 = client("s3")
TRIAL = TrialDocument(Bucket(S3, SETTINGS.artifacts_bucket))


@observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Returns `{"action", "console"}`, the step taken and the endpoint's page; the state machine reads the token's
    answer, not this.

    Raises DeploymentInProgress while another deployment holds the endpoint or the lock, AlarmNotQuiet while an alarm is
    in state ALARM, StaleVersion if a model trained on newer data serves, InvalidInput if a person took the model back
    or what has the run's names, or is in service, is not what a run made, NotComparable if a person went back to a
    model that it was not judged against, ArtefactChanged and ModelNotApproved before any change, EndpointFailed and
    EndpointUnusable for the endpoint's status.
    """
    events.require_task(event)
    if event.get("action") not in ("deploy", "rollback"):
        raise InvalidInput(f"action must be deploy or rollback, not {str(event.get('action'))[:80]!r}")
    deployment = Deployment.from_event(event)
    run_id = deployment.run_id
    append_run(run_id=run_id, dataset_version=names.version_of(run_id))
    try:
        step = _deploy(deployment, event) if event["action"] == "deploy" else _roll_back(deployment, event)
    except (DeploymentInProgress, AlarmNotQuiet, CapacityUnavailable) as error:
        if deployment.replacing is None:
            LEDGER.park_run(run_id, str(error))
        raise
    if deployment.replacing is None:
        LEDGER.unpark_run(run_id)
    logger.info(
        "endpoint step taken",
        extra={"action": event["action"], "step": step.action.name, "endpoint_config": step.config},
    )
    page = consoles.sagemaker(JobKind.ENDPOINT, SETTINGS.endpoint_name, event["executionArn"])
    return {"action": step.action.name, "console": page}


def _stage(deployment: Deployment) -> str:
    """Return the ledger stage that records the earlier endpoint configuration."""
    return STAGE if deployment.replacing is None else f"{STAGE}#{deployment.holder}"


def _is_watched(deployment: Deployment, event: dict[str, Any]) -> bool:
    """True for the deployment of a new model, which moves traffic in steps and is watched by alarms."""
    return event["action"] == "deploy" and deployment.replacing is None


def _deploy(deployment: Deployment, event: dict[str, Any]) -> Step:
    run_id, wanted = deployment.run_id, deployment.config(SETTINGS.name_prefix)
    _refuse_if_outdated(deployment, event)
    container = _approved_container(event)
    _lock(deployment.holder)
    # Checked again under the lock: the run that held the lock before may be newer, or a rollback may have held it.
    _refuse_if_outdated(deployment, event)
    endpoint = JOBS.endpoint(SETTINGS.endpoint_name)
    step = plan.deployment(endpoint, wanted)
    if step.action in (Action.DONE, Action.WAIT):
        _require_own(deployment, container)
    if step.action in (Action.CREATE, Action.UPDATE):
        if endpoint and _is_watched(deployment, event):
            _require_way_back(endpoint["EndpointConfigName"])
            _require_quiet_alarms()
        _create_model_and_config(deployment, container)
        previous = endpoint["EndpointConfigName"] if endpoint else None
        # Written before the change, so that a rollback always knows the earlier configuration.
        LEDGER.decide(
            run_id,
            _stage(deployment),
            step.action.name,
            [],
            {"endpointConfigName": wanted, "previousEndpointConfigName": previous},
        )
    return _take(step, deployment, event)


def _roll_back(deployment: Deployment, event: dict[str, Any]) -> Step:
    run_id, wanted = deployment.run_id, deployment.config(SETTINGS.name_prefix)
    record = LEDGER.decision(run_id, _stage(deployment))
    serving = LEDGER.serving()
    if record is None or (serving and serving["runId"] == run_id):
        logger.info(
            "nothing to roll back", extra={"changed_endpoint": record is not None, "serves": record is not None}
        )
        step = Step(Action.DONE, None)
        JOBS.answer(
            _token(event, run_id, None), Outcome(output={"endpointName": SETTINGS.endpoint_name, "changed": False})
        )
        return step
    _lock(deployment.holder)
    previous = record["figures"].get("previousEndpointConfigName")
    if deployment.replacing is None and serving and record["updatedAt"] < serving.get("since", ""):
        # The record is of an earlier try: what served then may have been taken back since.
        previous = serving["endpointConfigName"]
    step = plan.rollback(JOBS.endpoint(SETTINGS.endpoint_name), wanted, previous)
    if LEDGER.end_split(wanted):
        TRIAL.end(LEDGER.seconds())
    count("EndpointRolledBack")
    return _take(step, deployment, event)


def _take(step: Step, deployment: Deployment, event: dict[str, Any]) -> Step:
    name, run_id = SETTINGS.endpoint_name, deployment.run_id
    token = _token(event, run_id, step.config)
    if step.action is Action.BUSY:
        raise DeploymentInProgress(f"endpoint {name} is changing; {step.config} waits for it")
    if step.action is Action.UNUSABLE:
        raise EndpointUnusable(f"endpoint {name} is in a state that only a person can fix; nothing was changed")
    if step.action is Action.FAILED:
        reason = (JOBS.endpoint(name) or {}).get("FailureReason") or "no reason was given"
        raise EndpointFailed(f"endpoint {name} failed on {step.config}: {reason}")
    if step.action is Action.DELETE:
        _delete_endpoint()
        if step.config is not None:
            raise DeploymentInProgress(f"the failed endpoint {name} is being deleted; {step.config} waits for it")
        JOBS.answer(token, Outcome(output={"endpointName": name, "changed": True}))
        return step
    if step.action is Action.DONE:
        output: dict[str, Any] = {"endpointName": name}
        output |= {"endpointConfigName": step.config} if step.config else {}
        if event["action"] == "rollback":
            ringing = _ringing_alarms()
            output |= {"changed": True} | ({"alarms": ringing} if ringing else {})
        JOBS.answer(token, Outcome(output=output))
        return step

    LEDGER.hold_token(token)
    if step.action is Action.CREATE:
        _change("create_endpoint", request.create_endpoint(SETTINGS.name_prefix, name, str(step.config)))
    elif step.action is Action.UPDATE:
        # A rollback moves all traffic at once and ignores alarms: an alarm may be its reason.
        watched = (SETTINGS.endpoint_alarm_names, TRAFFIC) if _is_watched(deployment, event) else ((), request.AT_ONCE)
        is_scaled = SETTINGS.endpoint_maximum_instances > 0
        _change("update_endpoint", request.update_endpoint(name, str(step.config), *watched, is_scaled=is_scaled))
    # From now on the endpoint's status is that of this change; see Jobs.outcome.
    LEDGER.name_job(token.kind, token.name, token.task_token, str(step.config))
    accepted = LEDGER.token(token.kind, token.name)
    if accepted is not None:
        JOBS.settle(accepted)
    return step


def _token(event: dict[str, Any], run_id: str, wanted: str | None) -> Token:
    return Token(
        kind=JobKind.ENDPOINT,
        name=SETTINGS.endpoint_name,
        task_token=event["taskToken"],
        execution_arn=event["executionArn"],
        run_id=run_id,
        dataset_version=names.version_of(run_id),
        wanted=wanted,
    )


def _refuse_if_outdated(deployment: Deployment, event: dict[str, Any]) -> None:
    serving, run_id = LEDGER.serving(), deployment.run_id
    if deployment.replacing is not None:
        serves = serving["runId"] if serving else None
        if serves not in (deployment.replacing, run_id):
            raise StaleVersion(f"{serves} serves now, not {deployment.replacing}, which this rollback should replace")
        return
    if serving and serving["datasetVersion"] > names.version_of(run_id):
        raise StaleVersion(f"{names.version_of(run_id)} is older than {serving['datasetVersion']}, which serves")
    refusal = acknowledgement.refusal(LEDGER, run_id, event)
    if refusal is not None:
        raise InvalidInput(refusal)
    trained = LEDGER.decision(run_id, "training")
    if serving and trained and serving["runId"] != run_id and history.is_rollback(serving.get("by")):
        judged = trained["figures"].get("channel incumbent")
        if judged != serving["modelDataUrl"]:
            raise NotComparable(
                f"{serving['runId']} serves since a rollback, and {run_id} was judged against {judged or 'no model'}: "
                "start the next attempt, which is judged against the model that serves"
            )


def _lock(holder: str) -> None:
    lock = LEDGER.lock_deployment(holder)
    if lock.holder != holder:
        raise DeploymentInProgress(f"{lock.holder} holds the deployment lock; this deployment waits for it")


def _require_quiet_alarms() -> None:
    """Raise AlarmNotQuiet if an alarm is in state ALARM: SageMaker would roll the deployment back at once."""
    wanted = SETTINGS.endpoint_alarm_names
    if not wanted:
        return
    found = _alarms()
    missing = sorted(set(wanted) - {alarm["AlarmName"] for alarm in found})
    if missing:
        raise MissingResource(f"the deployment alarms do not exist: {', '.join(missing)}")
    ringing = sorted(alarm["AlarmName"] for alarm in found if alarm["StateValue"] == "ALARM")
    if ringing:
        raise AlarmNotQuiet(f"{', '.join(ringing)} is already in state ALARM; the deployment waits until it ends")


def _ringing_alarms() -> list[str]:
    """Return the deployment's alarms in state ALARM, because SageMaker does not name the alarm of a rollback."""
    if not SETTINGS.endpoint_alarm_names:
        return []
    try:
        return sorted(alarm["AlarmName"] for alarm in _alarms() if alarm["StateValue"] == "ALARM")
    except FunctionError as error:  # the rollback is done: it does not fail because of missing alarm names
        logger.warning("the alarms cannot be read", extra={"reason": str(error)})
        return []


def _alarms() -> list[dict[str, Any]]:
    with calling("cloudwatch DescribeAlarms"):
        found = JOBS.client("cloudwatch").describe_alarms(AlarmNames=list(SETTINGS.endpoint_alarm_names))
    return list(found["MetricAlarms"])


def _approved_container(event: dict[str, Any]) -> dict[str, Any]:
    registration, training = event.get("registration") or {}, event.get("training") or {}
    arn = _text(registration.get("modelPackageArn"), "registration.modelPackageArn")
    archive = _text(training.get("modelDataUrl"), "training.modelDataUrl")
    package = JOBS.model_package(arn)
    if package.get("ModelApprovalStatus") != "Approved":
        raise ModelNotApproved(f"{arn} is {package.get('ModelApprovalStatus')}, not Approved")
    container = package["InferenceSpecification"]["Containers"][0]
    properties = package.get("CustomerMetadataProperties", {})
    for field, found, judged in (
        ("image", container["Image"], training.get("image")),
        ("archive", container["ModelDataUrl"], archive),
        ("bundle digest", properties.get("bundleDigest"), registration.get("bundleDigest")),
    ):
        if judged is not None and found != judged:
            raise ArtefactChanged(f"{arn} has the {field} {found}, not {judged}, which was judged: it is not deployed")
    registered = properties.get("modelDataETag")
    found = _etag(container["ModelDataUrl"])
    if found != registered:
        raise ArtefactChanged(
            f"{container['ModelDataUrl']} has ETag {found}, not the registered {registered}: it will not be deployed"
        )
    return request.container(container, properties.get("bundleDigest"))


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidInput(f"{name} must be a non-empty string, not {as_json(value)}")
    return value


def _etag(url: str) -> str:
    bucket, _, key = url.removeprefix("s3://").partition("/")
    found = Bucket(S3, bucket).head(key, forbidden_is_absent=True)
    if found is None:
        raise ArtefactChanged(f"{url} was registered, but is now missing or unreadable")
    return found.etag


def _calls(deployment: Deployment, container: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the calls that create the model and the endpoint configuration."""
    prefix, run_id = SETTINGS.name_prefix, deployment.run_id
    model = request.create_model(prefix, run_id, container, SETTINGS.serving_role_arn)
    if deployment.is_split and deployment.replacing and deployment.percent:
        return model, request.create_split_config(prefix, deployment.replacing, run_id, deployment.percent, FLEET)
    return model, request.create_endpoint_config(prefix, run_id, FLEET)


def _create_model_and_config(deployment: Deployment, container: dict[str, Any]) -> None:
    """Create the model and the configuration. In a rollback existing ones are used unchanged if the model has the
    container that was judged, because the stack's parameters may have changed since they were created.
    """
    is_known = deployment.replacing is not None
    sagemaker = JOBS.client("sagemaker")
    model, config = _calls(deployment, container)
    with calling("sagemaker CreateModel"):
        try:
            sagemaker.create_model(**model)
        except ClientError as error:
            if not already_exists(error):
                raise
            _require_model(model, request.same_container if is_known else request.same_model)
    with calling("sagemaker CreateEndpointConfig"):
        try:
            sagemaker.create_endpoint_config(**config)
        except ClientError as error:
            _retry_if_unseen(error)
            if not already_exists(error):
                raise
            _require_config(config, request.same_models if is_known else request.same_endpoint_config)


def _require_own(deployment: Deployment, container: dict[str, Any]) -> None:
    """Raise InvalidInput unless the model and the configuration in service are the run's, whatever the machines."""
    model, config = _calls(deployment, container)
    _require_model(model, request.same_container)
    _require_config(config, request.same_models)


def _require_model(call: dict[str, Any], is_same: request.Comparison) -> None:
    with calling("sagemaker DescribeModel"):
        described = JOBS.client("sagemaker").describe_model(ModelName=call["ModelName"])
    if not is_same(call, described):
        phrases = likeness.differences(likeness.model(call), likeness.model(described))
        raise InvalidInput(likeness.sentence(f"model {call['ModelName']}", phrases, REMEDY))


def _require_config(call: dict[str, Any], is_same: request.Comparison) -> None:
    name = call["EndpointConfigName"]
    with calling("sagemaker DescribeEndpointConfig"):
        described = JOBS.client("sagemaker").describe_endpoint_config(EndpointConfigName=name)
    if not is_same(call, described):
        phrases = likeness.differences(likeness.endpoint_config(call), likeness.endpoint_config(described))
        raise InvalidInput(likeness.sentence(f"endpoint configuration {name}", phrases, REMEDY))


def _require_way_back(config: str) -> None:
    """Raise InvalidInput if no run made the configuration in service: this function may not go back to it."""
    if not names.is_config(SETTINGS.name_prefix, config):
        raise InvalidInput(
            f"endpoint {SETTINGS.endpoint_name} serves configuration {config}, which no run made. It was left alone, "
            "because a rollback could not go back to it. Go back to a version that has served, by a rollback that "
            "names it, or delete the endpoint; then restart the run"
        )


def _change(operation: str, call: dict[str, Any]) -> None:
    with calling(f"sagemaker {operation}"):
        try:
            getattr(JOBS.client("sagemaker"), operation)(**call)
        except ClientError as error:
            if in_progress(error) or already_exists(error):
                raise DeploymentInProgress(f"endpoint {call['EndpointName']} changed in the meantime") from error
            _retry_if_unseen(error)
            _retry_if_scaled(error)
            raise


def _retry_if_scaled(error: ClientError) -> None:
    """Deregister the scalable target if SageMaker requires it for a new instance type. `scale_endpoint` registers it
    again.
    """
    if "must be deregistered" not in message_of(error):
        return
    with calling("application-autoscaling DeregisterScalableTarget"):
        try:
            JOBS.client("application-autoscaling").deregister_scalable_target(
                **names.scalable_target(SETTINGS.endpoint_name)
            )
        except ClientError as absent:
            if code_of(absent) != "ObjectNotFoundException":
                raise
    raise DependencyFailed(
        f"the endpoint's automatic scaling was removed for this change: {message_of(error)}"
    ) from error


def _retry_if_unseen(error: ClientError) -> None:
    # SageMaker is eventually consistent: a call may not find a resource that was just created.
    if not_found(error):
        raise DependencyFailed(
            f"SageMaker does not find yet a resource that was just created: {message_of(error)}"
        ) from error


def _delete_endpoint() -> None:
    with calling("sagemaker DeleteEndpoint"):
        try:
            JOBS.client("sagemaker").delete_endpoint(EndpointName=SETTINGS.endpoint_name)
        except ClientError as error:
            if in_progress(error):
                raise DeploymentInProgress(f"endpoint {SETTINGS.endpoint_name} changed in the meantime") from error
            if not not_found(error):
                raise
