"""As much of SageMaker, task tokens and EMR Serverless as the functions ask for, between botocore and the wire.

What it holds changes as AWS says that it does: a name is taken once, an answer to a task token stands, the same client
token starts one job. It keeps jobs as they are until a test changes them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from botocore.awsrequest import AWSResponse

from tests.unit.functions.cloud import APPLICATION, PACKAGE, endpoint, job_run, model_package
from tests.unit.functions.cloud import training_job as described_training_job
from tests.unit.functions.cloud import transform_job as described_transform_job

SERVICES = ("sagemaker", "sagemaker-runtime", "sfn", "emr-serverless")
ARN = "arn:aws:sagemaker:eu-central-1:123456789012"


class Body:
    """The part of urllib3's response that botocore reads."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self, amt: int | None = None) -> bytes:
        content, self.content = self.content, b""
        return content

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.read()

    def close(self) -> None:
        pass


class Refused(Exception):
    """An error answer of the service: a code and a message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class SageMakerFake:
    """`training`, `transforms`, `job_runs`: what Describe says, by name; `packages`: in the order of their making;
    `models`, `configs`: the calls that made them; `endpoint`: what DescribeEndpoint says; `answers`: what each task
    token was answered; `responses`: what the model answers, by user id.
    """

    def __init__(self) -> None:
        self.empty()

    def empty(self) -> None:
        """Forget everything."""
        self.training: dict[str, Any] = {}
        self.transforms: dict[str, Any] = {}
        self.job_runs: dict[str, Any] = {}
        self.tags: dict[str, Any] = {}
        self.packages: list[dict[str, Any]] = []
        self.models: dict[str, Any] = {}
        self.configs: dict[str, Any] = {}
        self.endpoint: dict[str, Any] | None = None
        self.answers: dict[str, Any] = {}
        self.executions: dict[str, Any] = {}
        self.responses: dict[str, Any] = {}

    def state(self) -> dict[str, Any]:
        """All of it, as a copy."""
        held: dict[str, Any] = json.loads(json.dumps(vars(self)))
        return held

    def __call__(self, event_name: str, request: Any) -> AWSResponse:
        body = request.body.decode() if isinstance(request.body, bytes) else request.body
        target = request.headers.get("X-Amz-Target", b"")
        operation = (target.decode() if isinstance(target, bytes) else target).rpartition(".")[2]
        try:
            if operation:
                name = re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()
                answer = getattr(self, name)(json.loads(body))
            elif ".emr-serverless." in event_name:
                answer = self.emr(request, body)
            else:
                answer = self.responses[json.loads(body)["userId"]]
            return _response(request, 200, answer)
        except Refused as refusal:
            return _response(request, 400, {"__type": refusal.code, "message": str(refusal)}, refusal.code)

    # Jobs

    def create_training_job(self, call: dict[str, Any]) -> Any:
        if call["TrainingJobName"] in self.training:
            raise Refused("ResourceInUse", "Training job names must be unique within an AWS account")
        kept = {name: value for name, value in call.items() if name != "Tags"}
        job = {**described_training_job("InProgress", call["TrainingJobName"]), **kept}
        self.training[call["TrainingJobName"]] = job
        self.tags[job["TrainingJobArn"]] = call["Tags"]
        return {"TrainingJobArn": job["TrainingJobArn"]}

    def describe_training_job(self, call: dict[str, Any]) -> Any:
        return _found(self.training, call["TrainingJobName"])

    def list_tags(self, call: dict[str, Any]) -> Any:
        return {"Tags": self.tags.get(call["ResourceArn"], [])}

    def stop_training_job(self, call: dict[str, Any]) -> Any:
        job = _found(self.training, call["TrainingJobName"])
        if job["TrainingJobStatus"] != "InProgress":
            raise Refused(
                "ValidationException", "The request was rejected because the training job is in a final state"
            )
        job["TrainingJobStatus"] = job["SecondaryStatus"] = "Stopping"
        return {}

    def create_transform_job(self, call: dict[str, Any]) -> Any:
        if call["TransformJobName"] in self.transforms:
            raise Refused("ResourceInUse", "Job names must be unique")
        job = {**described_transform_job("InProgress", call["TransformJobName"]), **call}
        self.transforms[call["TransformJobName"]] = job
        return {"TransformJobArn": job["TransformJobArn"]}

    def describe_transform_job(self, call: dict[str, Any]) -> Any:
        return _found(self.transforms, call["TransformJobName"])

    def emr(self, request: Any, body: str) -> Any:
        if request.method == "GET":
            return self.job_runs[request.url.rpartition("/")[2]]
        token = json.loads(body)["clientToken"]
        run = f"00{len(self.job_runs)}" if token not in self.job_runs else self.job_runs[token]
        if token not in self.job_runs:
            self.job_runs |= {token: run, run: job_run("RUNNING", run)}
        return {"applicationId": APPLICATION, "jobRunId": run, "arn": f"arn:aws:emr-serverless:::/{run}"}

    # Registry

    def list_model_packages(self, call: dict[str, Any]) -> Any:
        kept = ("ModelPackageArn", "CreationTime", "ModelPackageStatus", "ModelPackageDescription")
        found = [{name: one[name] for name in kept if name in one} for one in reversed(self.packages)]
        return {"ModelPackageSummaryList": found}

    def create_model_package(self, call: dict[str, Any]) -> Any:
        for one in self.packages:
            if one.get("ClientToken") == call["ClientToken"]:
                return {"ModelPackageArn": one["ModelPackageArn"]}
        arn = f"{PACKAGE.rpartition('/')[0]}/{len(self.packages) + 1}"
        status = call["ModelApprovalStatus"]
        self.packages.append({**model_package(status), **call, "ModelPackageArn": arn})
        return {"ModelPackageArn": arn}

    def describe_model_package(self, call: dict[str, Any]) -> Any:
        return next(one for one in self.packages if one["ModelPackageArn"] == call["ModelPackageName"])

    # Serving

    def create_model(self, call: dict[str, Any]) -> Any:
        return {"ModelArn": _made(self.models, call["ModelName"], call, "model")}

    def describe_model(self, call: dict[str, Any]) -> Any:
        return {**_found(self.models, call["ModelName"]), "CreationTime": 0, "ModelArn": f"{ARN}:model/m"}

    def delete_model(self, call: dict[str, Any]) -> Any:
        _found(self.models, call["ModelName"])
        del self.models[call["ModelName"]]
        return {}

    def create_endpoint_config(self, call: dict[str, Any]) -> Any:
        return {"EndpointConfigArn": _made(self.configs, call["EndpointConfigName"], call, "endpoint configuration")}

    def describe_endpoint_config(self, call: dict[str, Any]) -> Any:
        config = _found(self.configs, call["EndpointConfigName"])
        return {**config, "CreationTime": 0, "EndpointConfigArn": f"{ARN}:endpoint-config/c"}

    def delete_endpoint_config(self, call: dict[str, Any]) -> Any:
        _found(self.configs, call["EndpointConfigName"])
        del self.configs[call["EndpointConfigName"]]
        return {}

    def list_endpoint_configs(self, call: dict[str, Any]) -> Any:
        found = [
            {"EndpointConfigName": name, "EndpointConfigArn": f"{ARN}:endpoint-config/{name}", "CreationTime": 0}
            for name in self.configs
        ]
        return {"EndpointConfigs": found}

    def list_endpoints(self, call: dict[str, Any]) -> Any:
        return {"Endpoints": [self.endpoint] if self.endpoint else []}

    def create_endpoint(self, call: dict[str, Any]) -> Any:
        if self.endpoint is not None:
            raise Refused("ValidationException", "Cannot create already existing endpoint")
        self.endpoint = endpoint("Creating", call["EndpointConfigName"])
        return {"EndpointArn": self.endpoint["EndpointArn"]}

    def update_endpoint(self, call: dict[str, Any]) -> Any:
        assert self.endpoint is not None
        if self.endpoint["EndpointStatus"] != "InService":
            raise Refused("ValidationException", "Cannot update in-progress endpoint")
        serves = self.endpoint["EndpointConfigName"]
        self.endpoint = endpoint("Updating", serves, pending=call["EndpointConfigName"])
        return {"EndpointArn": self.endpoint["EndpointArn"]}

    def delete_endpoint(self, call: dict[str, Any]) -> Any:
        self.describe_endpoint(call)
        self.endpoint = None
        return {}

    def describe_endpoint(self, call: dict[str, Any]) -> Any:
        return _found({} if self.endpoint is None else {call["EndpointName"]: self.endpoint}, call["EndpointName"])

    # Step Functions

    def send_task_success(self, call: dict[str, Any]) -> Any:
        return self._answer(call["taskToken"], json.loads(call["output"]))

    def send_task_failure(self, call: dict[str, Any]) -> Any:
        return self._answer(call["taskToken"], [call["error"], call["cause"]])

    def _answer(self, token: str, answer: Any) -> Any:
        if token in self.answers:
            raise Refused("TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'")
        self.answers[token] = answer
        return {}

    def start_execution(self, call: dict[str, Any]) -> Any:
        arn = call["stateMachineArn"].replace(":stateMachine:", ":execution:") + f":{call['name']}"
        if arn in self.executions:
            raise Refused("ExecutionAlreadyExists", f"Execution Already Exists: '{arn}'")
        self.executions[arn] = {**call, "executionArn": arn, "status": "RUNNING", "startDate": 0}
        return {"executionArn": arn, "startDate": 0}

    def describe_execution(self, call: dict[str, Any]) -> Any:
        if call["executionArn"] not in self.executions:
            raise Refused("ExecutionDoesNotExist", f"Execution Does Not Exist: '{call['executionArn']}'")
        return self.executions[call["executionArn"]]


def _found(held: dict[str, Any], name: str) -> Any:
    if name not in held:
        raise Refused("ValidationException", f"Could not find {name}")
    return held[name]


def _made(held: dict[str, Any], name: str, call: dict[str, Any], kind: str) -> str:
    if name in held:
        raise Refused("ValidationException", f"Cannot create already existing {kind} {name}")
    held[name] = {member: value for member, value in call.items() if member != "Tags"}
    return f"{ARN}:{kind.replace(' ', '-')}/{name}"


def _response(request: Any, status: int, content: Any, code: str | None = None) -> AWSResponse:
    headers = {"x-amzn-errortype": code} if code else {}
    return AWSResponse(request.url, status, headers, Body(json.dumps(content).encode()))  # type: ignore[arg-type]
