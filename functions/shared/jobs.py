"""The task-token pattern: store a token before the job exists, describe the job, answer the token when the job has
ended.

`start_*`, `request_approval` and `deploy` store tokens and sometimes answer at once. `on_job_finished` answers on an
event; `reconcile` answers where no event arrived. The answer always comes from the job's description, not the event.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from botocore.exceptions import ClientError

from shared import outcomes
from shared.artefacts import PINNED, Pin
from shared.clients import calling, client, code_of, not_found
from shared.ledger import Ledger, Token
from shared.objects import first_version
from shared.observability import count, logger
from shared.outcomes import Outcome
from shared.records import JobError, JobKind

MAXIMUM_CAUSE_LENGTH = 4000

_TOKEN_HAS_ENDED = {"TaskTimedOut", "TaskDoesNotExist", "InvalidToken"}


class Jobs:
    """Describes jobs of all kinds and answers their tokens. Clients are created on first use."""

    def __init__(self, ledger: Ledger, emr_application_id: str = "") -> None:
        self._ledger = ledger
        self._emr_application_id = emr_application_id
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """Return the client of `service`, created once."""
        if service not in self._clients:
            self._clients[service] = client(service)
        return self._clients[service]

    def outcome(self, token: Token) -> Outcome | None:
        """Return how the job of `token` ended; None if it runs or has not begun."""
        if token.kind == JobKind.TRAINING:
            job = self.training_job(token.name)
            return self._pinned(token, outcomes.training(job)) if job else None
        if token.kind == JobKind.TRANSFORM:
            job = self.transform_job(token.name)
            return outcomes.transform(job, token.run_id or "") if job else None
        if token.kind == JobKind.PREPARATION:
            return (
                outcomes.preparation(self.job_run(token.job_id), token.dataset_version or "") if token.job_id else None
            )
        if token.kind == JobKind.ENDPOINT:
            # Until SageMaker has accepted the change, the endpoint's status is the one before the change.
            return (
                outcomes.endpoint(self.endpoint(token.name), token.name, token.wanted or "") if token.job_id else None
            )
        return outcomes.approval(self.model_package(token.name))

    def _pinned(self, token: Token, outcome: Outcome | None) -> Outcome | None:
        """Add the pins of its two archives to the output of a completed training; a missing archive gets none."""
        if outcome is None or outcome.output is None or token.run_id is None:
            return outcome
        pins = {
            name: self._pin(token.run_id, f"pin#{name}#{token.name}", outcome.output[url])
            for name, url in PINNED.items()
        }
        return replace(outcome, output={**outcome.output, **{name: pin for name, pin in pins.items() if pin}})

    def _pin(self, run_id: str, stage: str, url: str) -> dict[str, Any] | None:
        """Record the first version of the object, unless the ledger has its pin already, and return the pin in the
        ledger. A training writes its archives once: one that was written again since is not taken.
        """
        bucket, _, key = url.removeprefix("s3://").partition("/")
        found = first_version(self.client("s3"), bucket, key) if key else None
        if found is not None:
            self._ledger.decide(run_id, stage, "PINNED", [url], Pin.of(found).to_state(), once=True)
        record = self._ledger.decision(run_id, stage)
        return record["figures"] if record else None

    def answer(self, token: Token, outcome: Outcome) -> None:
        """Answer the waiting task and close its token. A second or late answer changes nothing."""
        if outcome.error == JobError.CAPACITY_UNAVAILABLE and token.kind == JobKind.TRAINING and token.run_id:
            self._ledger.park_run(token.run_id, outcome.cause or "")
        states = self.client("stepfunctions")
        details = {"job_kind": token.kind, "job_name": token.name, "error_name": outcome.error}
        with calling("states SendTask"):
            try:
                if outcome.error is None:
                    states.send_task_success(taskToken=token.task_token, output=json.dumps(outcome.output))
                else:
                    cause = (outcome.cause or "")[:MAXIMUM_CAUSE_LENGTH]
                    states.send_task_failure(taskToken=token.task_token, error=outcome.error, cause=cause)
                logger.info("task answered", extra=details)
            except ClientError as error:
                if code_of(error) not in _TOKEN_HAS_ENDED:
                    raise
                logger.info("task had already ended", extra={**details, "answer": code_of(error)})
                count("TaskAnsweredTwice")
        self._ledger.release_token(token)

    def settle(self, token: Token) -> bool:
        """Answer `token` if its job has ended; False otherwise."""
        outcome = self.outcome(token)
        if outcome is None:
            return False
        self.answer(token, outcome)
        return True

    def training_job(self, name: str) -> dict[str, Any] | None:
        """DescribeTrainingJob, or None when there is no such job."""
        return self._described(
            "sagemaker DescribeTrainingJob",
            lambda: self.client("sagemaker").describe_training_job(TrainingJobName=name),
        )

    def tags(self, arn: str) -> dict[str, str]:
        """ListTags of a SageMaker resource."""
        with calling("sagemaker ListTags"):
            found = self.client("sagemaker").list_tags(ResourceArn=arn)["Tags"]
        return {tag["Key"]: tag["Value"] for tag in found}

    def transform_job(self, name: str) -> dict[str, Any] | None:
        """DescribeTransformJob, or None when there is no such job."""
        return self._described(
            "sagemaker DescribeTransformJob",
            lambda: self.client("sagemaker").describe_transform_job(TransformJobName=name),
        )

    def endpoint(self, name: str) -> dict[str, Any] | None:
        """DescribeEndpoint, or None when there is no such endpoint."""
        return self._described(
            "sagemaker DescribeEndpoint", lambda: self.client("sagemaker").describe_endpoint(EndpointName=name)
        )

    def model_package(self, arn: str) -> dict[str, Any]:
        """DescribeModelPackage. Raises MissingResource when there is no such package."""
        with calling("sagemaker DescribeModelPackage"):
            return dict(self.client("sagemaker").describe_model_package(ModelPackageName=arn))

    def job_run(self, job_run_id: str) -> dict[str, Any]:
        """GetJobRun of our EMR Serverless application."""
        with calling("emr-serverless GetJobRun"):
            answer = self.client("emr-serverless").get_job_run(
                applicationId=self._emr_application_id, jobRunId=job_run_id
            )
        return dict(answer["jobRun"])

    @staticmethod
    def _described(what: str, call: Any) -> dict[str, Any] | None:
        with calling(what):
            try:
                return dict(call())
            except ClientError as error:
                if not_found(error):
                    return None
                raise
