"""A model image with configurable behaviour, and the calls that every SageMaker test makes."""

from __future__ import annotations

import io
import json
import tarfile
import textwrap
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from laptop_aws import images
from laptop_aws.tests.conformance.hosting import ACCOUNT, REGION, ROLE, Host, eventually, unique

TRAIN = """
import json, os, pathlib, signal, sys, time

base = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
config = {path.stem: json.loads(path.read_text()) for path in (base / "input/config").iterdir()}
hyperparameters = config["hyperparameters"]
data = base / "input/data"
checkpoints = sorted(path.name for path in (base / "checkpoints").iterdir())
seen = {
    "config": config,
    "files": sorted(path.relative_to(data).as_posix() for path in data.rglob("*") if path.is_file()),
    "contents": {path.name: path.read_text() for path in data.rglob("*") if path.is_file()},
    "checkpoints": checkpoints,
    "environment": dict(os.environ),
    "group": os.getpgid(0),
    "pid": os.getpid(),
}
print("epoch=1/2 train_loss=0.5", flush=True)
print("epoch=2/2 train_loss=0.25", flush=True)
print("evaluation accuracy=nan", flush=True)
(base / "model/bundle.json").write_text(json.dumps(seen))
(base / "model/nested").mkdir()
(base / "model/nested/version.txt").write_text(hyperparameters.get("version", "1"))
(base / "output/data/evaluation.json").write_text("{}")
(base / "checkpoints" / f"step-{len(checkpoints)}.json").write_text("{}")
host = config["resourceconfig"]["current_host"]
if len(config["resourceconfig"]["hosts"]) > 1:
    (base / "model" / f"{host}.json").write_text(json.dumps(seen))
behaviour = hyperparameters.get(f"behaviour-{host}", hyperparameters.get("behaviour", "train"))
if behaviour == "fail":
    print("something on standard output")
    print("ValueError: the loss is not finite", file=sys.stderr)
    if hyperparameters.get("failure"):
        (base / "output/failure").write_text(hyperparameters["failure"])
    sys.exit(int(hyperparameters["status"]))
if behaviour == "wait":
    def leave(*_):
        (base / "model/stopped.txt").write_text("saved on SIGTERM")
        sys.exit(143)
    signal.signal(signal.SIGTERM, leave)
if behaviour == "hang":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if behaviour in ("wait", "hang"):
    print("waiting", flush=True)
    time.sleep(600)
"""

SERVE = """
import json, os, pathlib, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

model = pathlib.Path(os.environ["SM_MODEL_DIR"])
behaviour = os.environ.get("BEHAVIOUR", "serve")
print("serving", os.getpid(), flush=True)
if behaviour == "exit":
    sys.exit("BrokenBundle: weights.safetensors has another sha256")

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def answer(self, status, content, kind="application/json"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self):
        self.answer(500 if behaviour == "unhealthy" else 200, b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = json.loads(body) if self.headers["Content-Type"] == "application/json" else {}
        if request.get("do") == "die":
            os._exit(9)
        if request.get("do") == "refuse":
            return self.answer(400, b'{"error": {"code": "InvalidInput"}}')
        if request.get("do") == "break":
            return self.answer(500, b"Traceback")
        if self.headers["Accept"] == "text/csv":
            return self.answer(200, b"a,b", "text/csv")
        version = (model / "nested/version.txt").read_text()
        names = sorted(path.name for path in model.iterdir())
        self.answer(200, json.dumps({"version": version, "pid": os.getpid(), "length": len(body), "names": names,
                                     "environment": dict(os.environ)}).encode())

    def log_message(self, *_):
        pass

server = ThreadingHTTPServer((os.environ["SERVING_HOST"], int(os.environ["SERVING_PORT"])), Handler)
server.daemon_threads = True
server.serve_forever()
"""


def build_image(host: Host) -> str:
    """The image of TRAIN and SERVE in the host's directory; its URI."""
    source = host.root / "image-source"
    source.mkdir(exist_ok=True)
    commands = {}
    for command, text in (("train", TRAIN), ("serve", SERVE)):
        (source / f"{command}.py").write_text(textwrap.dedent(text))
        commands[command] = ["{python}", f"{{image}}/{command}.py"]
    repository = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/obedient"
    environment = {"PYTHONPATH": "{image}/library"}
    return images.register(repository, source, source.glob("*.py"), commands, environment, host.root)


def bucket(host: Host) -> str:
    """A fresh bucket with a small dataset below ``datasets/v1/``."""
    name = unique("bucket")
    host.client("s3").create_bucket(Bucket=name)
    for key in ("datasets/v1/manifest.json", "datasets/v1/train/part-00000.csv", "datasets/v10/other.csv"):
        host.client("s3").put_object(Bucket=name, Key=key, Body=f"content of {key}".encode())
    return name


def channel(name: str, uri: str) -> dict[str, Any]:
    return {"ChannelName": name, "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}}


def training_request(image: str, place: str, **changes: Any) -> dict[str, Any]:
    """A CreateTrainingJob request on the bucket ``place``; ``hyperparameters`` and any member can be given."""
    hyperparameters = changes.pop("hyperparameters", {})
    return {
        "TrainingJobName": unique("job"),
        "AlgorithmSpecification": {
            "TrainingImage": image,
            "TrainingInputMode": "File",
            "MetricDefinitions": [
                {"Name": "TrainLoss", "Regex": r"train_loss=([0-9.]+)"},
                {"Name": "Accuracy", "Regex": r"accuracy=(\S+)"},
            ],
        },
        "RoleArn": ROLE,
        "InputDataConfig": [channel("dataset", f"s3://{place}/datasets/v1/")],
        "OutputDataConfig": {"S3OutputPath": f"s3://{place}/training"},
        "ResourceConfig": {"InstanceType": "ml.g4dn.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "HyperParameters": {name: str(value) for name, value in hyperparameters.items()},
    } | changes


def ended_job(host: Host, name: str, seconds: float = 120) -> dict[str, Any]:
    def probe() -> Any:
        job = host.client("sagemaker").describe_training_job(TrainingJobName=name)
        return job if job["TrainingJobStatus"] in ("Completed", "Failed", "Stopped") else None

    return dict(eventually(probe, seconds))


def trained(host: Host, image: str, place: str, **changes: Any) -> dict[str, Any]:
    """Runs a training job to its end and returns its description."""
    request = training_request(image, place, **changes)
    host.client("sagemaker").create_training_job(**request)
    return ended_job(host, request["TrainingJobName"])


def wait_for_log(host: Host, group: str, text: str) -> None:
    eventually(lambda: any(text in line for line in host.log_lines(group)))


def archive_members(host: Host, uri: str) -> dict[str, bytes]:
    """Names and contents of the files in a gzipped tar in S3."""
    place, _, key = uri.removeprefix("s3://").partition("/")
    content = host.client("s3").get_object(Bucket=place, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return {member.name: tar.extractfile(member).read() if member.isfile() else b"" for member in tar}  # type: ignore[union-attr]


def put_model(host: Host, place: str, version: str) -> str:
    """Stores a model archive and returns its URI; the endpoint's answers show its version."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        entry = tarfile.TarInfo("nested/version.txt")
        entry.size = len(version)
        tar.addfile(entry, io.BytesIO(version.encode()))
    key = f"models/{version}.tar.gz"
    host.client("s3").put_object(Bucket=place, Key=key, Body=buffer.getvalue())
    return f"s3://{place}/{key}"


def config_of(host: Host, image: str, model_uri: str, behaviour: str = "serve", **variant: Any) -> str:
    """A model and an endpoint configuration for it; the configuration's name."""
    name = unique("config")
    host.client("sagemaker").create_model(
        ModelName=name,
        ExecutionRoleArn=ROLE,
        PrimaryContainer={"Image": image, "ModelDataUrl": model_uri, "Environment": {"BEHAVIOUR": behaviour}},
    )
    host.client("sagemaker").create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[
            {
                "VariantName": "AllTraffic",
                "ModelName": name,
                "InstanceType": "ml.g4dn.xlarge",
                "InitialInstanceCount": 1,
            }
            | variant
        ],
    )
    return name


def settled(host: Host, endpoint: str, seconds: float = 120) -> dict[str, Any]:
    """The endpoint's description after any change in progress."""

    def probe() -> Any:
        found = host.client("sagemaker").describe_endpoint(EndpointName=endpoint)
        return found if found["EndpointStatus"] in ("InService", "Failed") else None

    return dict(eventually(probe, seconds))


def ask(host: Host, endpoint: str, request: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    """Invokes the endpoint with JSON and returns the JSON answer."""
    answer = host.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=endpoint, ContentType="application/json", Body=json.dumps(request or {}), **settings
    )
    return dict(json.loads(answer["Body"].read()))


def refusal(call: Any, *arguments: Any, **settings: Any) -> tuple[str, str]:
    """Calls a function that must fail; returns the code and the message of its error."""
    with pytest.raises(ClientError) as caught:
        call(*arguments, **settings)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


class EventTap:
    """All events of a source and detail type, in the order of their delivery to a queue."""

    def __init__(self, host: Host, source: str, detail_type: str) -> None:
        self._host = host
        self.url, arn = host.queue()
        rule = unique("rule")
        pattern = {"source": [source], "detail-type": [detail_type]}
        host.client("events").put_rule(Name=rule, EventPattern=json.dumps(pattern))
        host.client("events").put_targets(Rule=rule, Targets=[{"Id": "queue", "Arn": arn}])
        self.events: list[dict[str, Any]] = []

    def until(self, condition: Any, seconds: float = 60) -> list[dict[str, Any]]:
        """Reads events until ``condition(event)`` holds for one; returns all so far."""

        def probe() -> bool:
            found = (
                self._host.client("sqs").receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages", [])
            )
            for message in found:
                self._host.client("sqs").delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
                self.events.append(json.loads(message["Body"]))
            return any(condition(event) for event in self.events)

        eventually(probe, seconds)
        return self.events


def is_alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
