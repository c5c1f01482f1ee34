"""The task-token pattern: hold a token before the job exists, look at the job, answer the token once the job is over.

`start_*`, `request_approval` and `deploy` hold and sometimes answer at once; `on_job_finished` answers on an event;
`reconcile` answers what no event answered. An event is only a reason to look: what is answered is always what the job
itself says.
"""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import ClientError

from shared import outcomes
from shared.clients import calling, client, code_of, not_found
from shared.ledger import Ledger, Token
from shared.observability import count, logger
from shared.outcomes import Outcome
from shared.records import JobError, JobKind

MAXIMUM_CAUSE_LENGTH = 4000

_TOKEN_IS_OVER = {"TaskTimedOut", "TaskDoesNotExist", "InvalidToken"}


class Jobs:
    """Looks at jobs of all kinds and answers their tokens. Clients are made when first needed."""

    def __init__(self, ledger: Ledger, emr_application_id: str = "") -> None:
        self._ledger = ledger
        self._emr_application_id = emr_application_id
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """The client of `service`, made once."""
        if service not in self._clients:
            self._clients[service] = client(service)
        return self._clients[service]

    def outcome(self, token: Token) -> Outcome | None:
        """How the job of `token` ended, or None while it runs, or has not begun."""
        if token.kind == JobKind.TRAINING:
            job = self.training_job(token.name)
            return outcomes.training(job) if job else None
        if token.kind == JobKind.TRANSFORM:
            job = self.transform_job(token.name)
            return outcomes.transform(job, token.run_id or "") if job else None
        if token.kind == JobKind.PREPARATION:
            return (
                outcomes.preparation(self.job_run(token.job_id), token.dataset_version or "") if token.job_id else None
            )
        if token.kind == JobKind.ENDPOINT:
            # Until SageMaker has accepted the change, the endpoint's state still speaks of the time before it.
            return (
                outcomes.endpoint(self.endpoint(token.name), token.name, token.wanted or "") if token.job_id else None
            )
        return outcomes.approval(self.model_package(token.name))

    def answer(self, token: Token, outcome: Outcome) -> None:
        """Answer the waiting task and close its token. Answering twice, or too late, changes nothing."""
        if outcome.error == JobError.CAPACITY_UNAVAILABLE and token.kind == JobKind.TRAINING and token.run_id:
            self._ledger.park_run(token.run_id, outcome.cause or "")
        states = self.client("stepfunctions")
        about = {"job_kind": token.kind, "job_name": token.name, "error_name": outcome.error}
        with calling("states SendTask"):
            try:
                if outcome.error is None:
                    states.send_task_success(taskToken=token.task_token, output=json.dumps(outcome.output))
                else:
                    cause = (outcome.cause or "")[:MAXIMUM_CAUSE_LENGTH]
                    states.send_task_failure(taskToken=token.task_token, error=outcome.error, cause=cause)
                logger.info("task answered", extra=about)
            except ClientError as error:
                if code_of(error) not in _TOKEN_IS_OVER:
                    raise
                logger.info("task was over already", extra={**about, "answer": code_of(error)})
                count("TaskAnsweredTwice")
        self._ledger.release_token(token)

    def settle(self, token: Token) -> bool:
        """Answer `token` if its job is over. False while it is not."""
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
