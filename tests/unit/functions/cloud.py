"""One small AWS for the functions' tests: DynamoDB, S3, SNS, EventBridge and Step Functions from moto; SageMaker,
EMR Serverless and task tokens from botocore's Stubber, which checks every call and answer against AWS's own models."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.config import Config
from moto.dynamodb.models import dynamodb_backends
from moto.s3.models import FakeKey, s3_backends
from moto.sns.models import sns_backends

ROOT = Path(__file__).resolve().parents[3]
TAGS = [{"Key": "application", "Value": "ncf-recommender"}, {"Key": "stack", "Value": "ncf"}]
"""Of everything that costs."""
REGION, ACCOUNT = "eu-central-1", "123456789012"
VERSION = "v20261123t151300z-1a2b3c4d"
NOW = 1_795_651_200.0  # 2026-11-26, epoch seconds: after every version in these tests
RUN = f"{VERSION}-r1"
JOB = f"ncf-{RUN}"
BATCH = f"ncf-{RUN}-b1"
DATA, ARTIFACTS = f"ncf-data-{ACCOUNT}", f"ncf-artifacts-{ACCOUNT}"
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/ncf-recommender@sha256:{'5f' * 32}"
MACHINE = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:ncf-retraining"
EXECUTION = f"arn:aws:states:{REGION}:{ACCOUNT}:execution:ncf-retraining:{RUN}"
PACKAGE = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package/ncf-recommender/1"
STACK = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/ncf/6f1b0c2e"
APPLICATION = "00f1cbgd2l3k4m09"
TOKEN = "AQCkAAAAKgAAAAMAAAAAAAAAAexample"  # an example, as in events/
MODEL_URL = f"s3://{ARTIFACTS}/training/{JOB}/output/model.tar.gz"
OUTPUT_URL = f"s3://{ARTIFACTS}/training/{JOB}/output/output.tar.gz"
DIGEST = "c4" * 32  # of the bundle, as in events/

ENVIRONMENT = {
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_SESSION_TOKEN": "testing",
    "POWERTOOLS_SERVICE_NAME": "ncf",
    "POWERTOOLS_METRICS_NAMESPACE": "NcfRecommender",
    "POWERTOOLS_LOG_LEVEL": "INFO",
    "NAME_PREFIX": "ncf",
    "RUNS_TABLE": "ncf-runs",
    "DATA_BUCKET": DATA,
    "ARTIFACTS_BUCKET": ARTIFACTS,
    "EMR_APPLICATION_ID": APPLICATION,
    "EMR_EXECUTION_ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/ncf-preparation",
    "PREPARATION_ENTRY_POINT": f"s3://{ARTIFACTS}/code/preparation/{'ab' * 32}/preprocess.py",
    "PREPARATION_PY_FILES": f"s3://{ARTIFACTS}/code/preparation/{'ab' * 32}/preparation.zip",
    "PREPARATION_CODE_VERSION": "ab" * 32,
    "PREPARATION_SOURCE": "",
    "PREPARATION_LOG_URI": f"s3://{ARTIFACTS}/logs/emr/",
    "PREPARATION_LOG_GROUP": "/aws/emr-serverless/ncf-preparation",
    "PREPARATION_TIMEOUT_MINUTES": "120",
    "PREPARATION_PARAMETERS": "{}",
    "RETRAINING_STATE_MACHINE_ARN": MACHINE,
    "ROLLBACK_STATE_MACHINE_ARN": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:ncf-rollback",
    "MINIMUM_TEST_USERS": "2",
    "MODEL_IMAGE_URI": IMAGE,
    "TRAINING_ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/ncf-training",
    "TRAINING_INSTANCE_TYPE": "ml.g4dn.xlarge",
    "TRAINING_USE_SPOT": "true",
    "TRAINING_MAX_RUNTIME_SECONDS": "3600",
    "HYPERPARAMETERS": '{"epochs": 20, "learning_rate": 0.001, "mlp_layers": [64, 32, 16]}',
    "ENDPOINT_NAME": "ncf-recommender",
    "GATE_POLICY": '{"minimumTestUsers": 2}',
    "MODEL_PACKAGE_GROUP_NAME": "ncf-recommender",
    "APPROVAL": "auto",
    "NOTIFICATIONS_TOPIC_ARN": f"arn:aws:sns:{REGION}:{ACCOUNT}:ncf-notifications",
    "SERVING_ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/ncf-serving",
    "ENDPOINT_INSTANCE_TYPE": "ml.g4dn.xlarge",
    "ENDPOINT_INSTANCE_COUNT": "1",
    "LOG_RETENTION_DAYS": "30",
    "ENDPOINT_MAXIMUM_INSTANCES": "0",
    "ENDPOINT_REQUESTS_PER_INSTANCE": "12000",
    "ENDPOINT_INFERENCE_AMI_VERSION": "",
    "ENDPOINT_ALARM_NAMES": "ncf-endpoint-errors,ncf-endpoint-latency",
    "APPROVAL_DEADLINE_HOURS": "168",
    "KEPT_VERSIONS": "2",
    "ERASE_AFTER_DAYS": "14",
    "TRAINING_PRICE_PER_HOUR": "0.736",
    "BATCH_INSTANCE_TYPE": "ml.m5.xlarge",
    "BATCH_NUM_RESULTS": "50",
    "ON_DATA_READY_FUNCTION_NAME": "ncf-on-data-ready",
    "HANDLE_FAILURE_FUNCTION_NAME": "ncf-handle-failure",
    "EVENTS_TABLE": "ncf-events",
    "EVENTS_STREAM": "ncf-events",
    "EVENTS_KEPT_DAYS": "14",
    "STACK_ID": STACK,
    "URL_SUFFIX": "amazonaws.com",
    "MAXIMUM_EVENTS_PER_WINDOW": "5",
}
CONTEXT = SimpleNamespace(
    function_name="ncf-test",
    memory_limit_in_mb=256,
    invoked_function_arn=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:ncf-test",
    aws_request_id="52fdfc07-2182-454f-963f-5f0f9a621d72",
)


def sample_event(name: str) -> dict[str, Any]:
    """The sample `events/<name>.json`."""
    found: dict[str, Any] = json.loads((ROOT / "events" / f"{name}.json").read_text(encoding="utf-8"))
    return found


def archive_of(files: dict[str, bytes]) -> bytes:
    """A `.tar.gz` of `files`, as SageMaker writes it; equal files give equal bytes."""
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def training_job(status: str = "Completed", name: str = JOB, **more: Any) -> dict[str, Any]:
    """Answer of DescribeTrainingJob."""
    return {
        "TrainingJobName": name,
        "TrainingJobArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/{name}",
        "ModelArtifacts": {"S3ModelArtifacts": MODEL_URL},
        "TrainingJobStatus": status,
        "SecondaryStatus": status,
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "EnableSageMakerMetricsTimeSeries": False,
        },
        "RoleArn": ENVIRONMENT["TRAINING_ROLE_ARN"],
        "InputDataConfig": [
            {
                "ChannelName": "dataset",
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": f"s3://{DATA}/datasets/{VERSION}/",
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
                "CompressionType": "None",
                "RecordWrapperType": "None",
                "InputMode": "File",
            }
        ],
        "HyperParameters": {
            "epochs": "20",
            "learning_rate": "0.001",
            "mlp_layers": "64,32,16",
            "run_id": RUN,
            "dataset_version": VERSION,
            "code_version": "5f" * 32,
        },
        "OutputDataConfig": {"KmsKeyId": "", "S3OutputPath": f"s3://{ARTIFACTS}/training", "CompressionType": "GZIP"},
        "CheckpointConfig": {"S3Uri": f"s3://{ARTIFACTS}/checkpoints/{name}/", "LocalPath": "/opt/ml/checkpoints"},
        "EnableNetworkIsolation": True,
        "ResourceConfig": {"InstanceType": "ml.g4dn.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 50},
        "StoppingCondition": {},
        "CreationTime": 0,
        **more,
    }


def tags_of_training(run: str = RUN) -> dict[str, Any]:
    """Answer of ListTags for the training job of a run, with a tag that the account adds."""
    tags = {"runId": run, "datasetVersion": run.rpartition("-r")[0], "cost-centre": "shop"}
    return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}


def transform_job(status: str, name: str = BATCH, **more: Any) -> dict[str, Any]:
    """Answer of DescribeTransformJob."""
    return {
        "TransformJobName": name,
        "TransformJobArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:transform-job/{name}",
        "TransformJobStatus": status,
        "ModelName": JOB,
        "BatchStrategy": "SingleRecord",
        "TransformInput": {
            "DataSource": {
                "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{ARTIFACTS}/batch/{name}/input/"}
            },
            "ContentType": "application/json",
            "CompressionType": "None",
            "SplitType": "None",
        },
        "TransformOutput": {
            "S3OutputPath": f"s3://{ARTIFACTS}/batch/{name}/lists",
            "Accept": "application/json",
            "AssembleWith": "None",
            "KmsKeyId": "",
        },
        "DataProcessing": {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None"},
        "TransformResources": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1},
        "CreationTime": 0,
        **more,
    }


def job_run(state: str, run: str = "00f1", version: str = VERSION) -> dict[str, Any]:
    """Answer of GetJobRun for the preparation of `version`."""
    role = f"arn:aws:iam::{ACCOUNT}:role/ncf-preparation"
    return {
        "jobRun": {
            "applicationId": APPLICATION,
            "jobRunId": run,
            "name": f"ncf-{version}",
            "arn": f"arn:aws:emr-serverless:{REGION}:{ACCOUNT}:/applications/{APPLICATION}/jobruns/{run}",
            "createdBy": role,
            "createdAt": 0,
            "updatedAt": 0,
            "executionRole": role,
            "state": state,
            "stateDetails": "the container exited with status 1",
            "releaseLabel": "emr-spark-8.0.0",
            "jobDriver": {"sparkSubmit": {"entryPoint": "s3://a/preprocess.py"}},
        }
    }


def model_package(status: str, **more: Any) -> dict[str, Any]:
    """Answer of DescribeModelPackage for a package with that approval status."""
    return {
        "ModelPackageName": "ncf-recommender",
        "ModelPackageArn": PACKAGE,
        "CreationTime": 0,
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": []},
        "ModelApprovalStatus": status,
        **more,
    }


def described(call: dict[str, Any]) -> dict[str, Any]:
    """AWS's description of what a call created, which has no tags."""
    return {name: value for name, value in call.items() if name != "Tags"}


def endpoint(status: str, config: str, pending: str | None = None, **more: Any) -> dict[str, Any]:
    """Answer of DescribeEndpoint; `pending` is the configuration that an update moves to."""
    return {
        "EndpointName": "ncf-recommender",
        "EndpointArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/ncf-recommender",
        "EndpointConfigName": config,
        "EndpointStatus": status,
        "CreationTime": 0,
        "LastModifiedTime": 0,
        **({"PendingDeploymentSummary": {"EndpointConfigName": pending}} if pending else {}),
        **more,
    }


def success(output: dict[str, Any]) -> dict[str, str]:
    """The SendTaskSuccess that answers the waiting task with `output`."""
    return {"taskToken": TOKEN, "output": json.dumps(output)}


class Lender:
    """In place of boto3's session: lends clients and resources to one test after the other, each to one place at a
    time, because making one takes longer than the calls of a test. It knows no credentials but those of the tests.
    """

    def __init__(self) -> None:
        self._session = boto3.Session("testing", "testing", "testing", region_name=REGION)
        self._spare: dict[str, list[Any]] = {}
        self._lent: list[tuple[str, Any]] = []
        self._retried = False
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self._session.events.register("provide-client-params.events.PutEvents", self._hear)
        self._session.events.register("needs-retry", self._count)

    def client(self, service: str, **options: Any) -> Any:
        """A client of `service`, as boto3.client."""
        return self._lend(self._session.client, service, options)

    def resource(self, service: str, **options: Any) -> Any:
        """The resource of `service`, as boto3.resource."""
        return self._lend(self._session.resource, service, options)

    def take_back(self) -> None:
        """Take all back at the end of a test; not after a retry, of which a client has a limited number, and not what
        a test has given a method of its own.
        """
        for key, made in self._lent:
            if not self._retried and all(name.startswith("_") for name in vars(made).keys() - {"meta", "waiter_names"}):
                self._spare.setdefault(key, []).append(made)
        self._lent, self._retried, self.heard = [], False, []

    def _lend(self, make: Callable[..., Any], service: str, options: dict[str, Any]) -> Any:
        values = {name: vars(value) if isinstance(value, Config) else value for name, value in options.items()}
        environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        key = f"{make.__name__} {service} {values} {environment}"
        spare = self._spare.get(key)
        made = spare.pop() if spare else make(service, **options)
        self._lent.append((key, made))
        return made

    def _hear(self, params: dict[str, Any], **_: Any) -> None:
        for entry in params["Entries"]:
            assert entry["Source"] == "ncf.recommender"
            self.heard.append((entry["DetailType"], json.loads(entry["Detail"])))

    def _count(self, attempts: int, **_: Any) -> None:
        self._retried |= attempts > 1


class Cloud:
    """moto's AWS with the stack's table, buckets and topic. What is there before a function runs is put straight into
    moto: a request would take ten times as long.
    """

    def __init__(self, lender: Lender) -> None:
        self.lender = lender
        for bucket in (DATA, ARTIFACTS):
            s3_backends[ACCOUNT]["aws"].create_bucket(bucket, REGION)
        _create_table("ncf-runs", {"kind": "S", "updatedAt": "S"}, everywhere=[("byKind", "kind", "updatedAt")])
        _create_table(
            "ncf-events",
            {"at": "N", "window": "S"},
            everywhere=[("byWindow", "window", "sk")],
            local=[("byTime", "pk", "at")],
        )
        self.s3 = lender.client("s3")
        self.table = lender.resource("dynamodb").Table("ncf-runs")

    def open_stream(self) -> None:
        """Create the delivery stream, which writes each record into an object of the bucket of data at once."""
        self.lender.client("firehose").create_delivery_stream(
            DeliveryStreamName="ncf-events",
            ExtendedS3DestinationConfiguration={
                "BucketARN": f"arn:aws:s3:::{DATA}",
                "Prefix": "raw/live/",
                "RoleARN": f"arn:aws:iam::{ACCOUNT}:role/ncf-events-stream",
            },
        )

    def listen(self) -> None:
        """Create the topic, which keeps the notifications."""
        self._topic = sns_backends[ACCOUNT][REGION].create_topic("ncf-notifications")

    def item(self, pk: str, sk: str = "STATE") -> dict[str, Any]:
        """A ledger item, or {}."""
        found: dict[str, Any] = self.table.get_item(Key={"pk": pk, "sk": sk}).get("Item", {})
        return found

    def put(self, pk: str, sk: str = "STATE", **attributes: Any) -> None:
        """Write a ledger item as it is."""
        item = {"pk": pk, "sk": sk, "updatedAt": "2026-11-23T15:00:00.000Z", **attributes}
        dynamodb_backends[ACCOUNT][REGION].put_item("ncf-runs", TypeSerializer().serialize(item)["M"])

    def notifications(self) -> list[dict[str, Any]]:
        """Notifications to operators since the last call."""
        sent, self._topic.sent_notifications = self._topic.sent_notifications, []
        return [{"Subject": subject, "Message": message} for _, message, subject, *_ in sent]

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """(type, detail) of our own events since the last call."""
        heard, self.lender.heard = self.lender.heard, []
        return heard

    def empty(self) -> None:
        """Delete the ledger's items and all objects."""
        dynamodb_backends[ACCOUNT][REGION].tables["ncf-runs"].items.clear()
        for bucket in (ARTIFACTS, DATA):
            for key in self.objects(bucket):
                s3_backends[ACCOUNT]["aws"].delete_object(bucket, key)

    def items(self) -> list[dict[str, Any]]:
        """All items of the ledger."""
        read, table = TypeDeserializer().deserialize, dynamodb_backends[ACCOUNT][REGION].tables["ncf-runs"]
        rows = [item.to_json()["Attributes"] for of_key in table.items.values() for item in of_key.values()]
        return [{name: read(value) for name, value in row.items()} for row in rows]

    def objects(self, bucket: str) -> dict[str, bytes]:
        """All objects of a bucket, by key."""
        found = s3_backends[ACCOUNT]["aws"].get_bucket(bucket).keys
        return {name: key.value for name, key in found.items() if isinstance(key, FakeKey)}

    def write(self, bucket: str, key: str, content: bytes | str | dict[str, Any] | list[Any]) -> None:
        """Put an object; documents as JSON."""
        text = content if isinstance(content, bytes | str) else json.dumps(content)
        s3_backends[ACCOUNT]["aws"].put_object(bucket, key, text.encode() if isinstance(text, str) else text)

    def pinned(self, name: str) -> dict[str, Any]:
        """The sample `events/<name>.json`, with the archives that are there now as those at the training's end."""
        event = sample_event(name)
        for pin, url in (("modelData", MODEL_URL), ("output", OUTPUT_URL)):
            bucket, _, key = url.removeprefix("s3://").partition("/")
            if key in [entry["Key"] for entry in self.s3.list_objects_v2(Bucket=bucket).get("Contents", [])]:
                head = self.s3.head_object(Bucket=bucket, Key=key)
                event["training"][pin] = {"etag": head["ETag"].strip('"'), "versionId": head.get("VersionId")}
        return event


def _create_table(
    name: str,
    attributes: dict[str, str],
    everywhere: list[tuple[str, str, str]],
    local: list[tuple[str, str, str]] | None = None,
) -> None:
    """A table with the keys `pk` and `sk`; its indexes are (name, hash key, range key)."""

    def keys(first: str, second: str) -> list[dict[str, str]]:
        return [{"AttributeName": first, "KeyType": "HASH"}, {"AttributeName": second, "KeyType": "RANGE"}]

    def indexes(given: list[tuple[str, str, str]]) -> list[dict[str, Any]]:
        shown = {"ProjectionType": "ALL"}
        return [{"IndexName": index, "KeySchema": keys(*names), "Projection": shown} for index, *names in given]

    kinds = {"pk": "S", "sk": "S"} | attributes
    dynamodb_backends[ACCOUNT][REGION].create_table(
        name,
        schema=keys("pk", "sk"),
        attr=[{"AttributeName": attribute, "AttributeType": kind} for attribute, kind in kinds.items()],
        global_indexes=indexes(everywhere),
        indexes=indexes(local) if local else None,
        billing_mode="PAY_PER_REQUEST",
        throughput=None,
        streams=None,
        sse_specification=None,
        tags=[],
        deletion_protection_enabled=False,
        warm_throughput=None,
    )


class Clock:
    """Epoch seconds, which a test moves on."""

    def __init__(self) -> None:
        self.now = 1_795_446_780.0

    def __call__(self) -> float:
        return self.now
