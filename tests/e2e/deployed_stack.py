"""The application on the embedded AWS, as its users see it: commands, buckets, ledger, HTTP API."""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from boto3.dynamodb.conditions import Key
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.httpsession import URLLib3Session

from tests import releases
from tests.copied_version import publish_copy
from tests.permissions.replay import Account

PROJECT_ROOT = Path(__file__).resolve().parents[2]
REGION = "us-east-1"
LONGEST_RUN_SECONDS = 900
VERSION_IN_KEY = re.compile(r"datasets/(v\d{8}t\d{6}z-[0-9a-f]{8})/manifest\.json$")


@dataclass(frozen=True)
class Answer:
    """An answer of the HTTP API."""

    status: int
    body: Any


class DeployedStack:
    """The application as its users see it: buckets to drop into, a ledger to read, an HTTP API to call.

    Commands are of the stack that `up` deploys; another stack of the same embedded AWS is known by its name.
    """

    def __init__(self, state: Path, port: int, name: str = "ncf-local") -> None:
        self.state, self.port, self.name = state, port, name
        self.others: list[Account] = []
        """The accounts' roles of other stacks that were deployed beside this one, for the replay of its calls."""
        self.endpoint_url = f"http://127.0.0.1:{port}"
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self.environment |= {"NCF_LOCAL_DIR": str(state), "NCF_LOCAL_PORT": str(port), "NO_COLOR": "1"}
        self.calls_file = state.with_name(f"{state.name}-calls.jsonl")
        self.environment["LAPTOP_AWS_CALLS_FILE"] = str(self.calls_file)
        self._outputs: dict[str, str] = {}

    def command(self, *arguments: str, timeout: float = 1200) -> subprocess.CompletedProcess[str]:
        """Run `python -m local …` to its end."""
        return subprocess.run(
            [sys.executable, "-m", "local", *arguments],
            cwd=PROJECT_ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.endpoint_url,
            region_name=REGION,
            aws_access_key_id="000000000000",
            aws_secret_access_key="local",
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 2}),
        )

    @property
    def outputs(self) -> dict[str, str]:
        if not self._outputs:
            stack = self.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"][0]
            self._outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        return self._outputs

    @property
    def ledger(self) -> Any:
        resource = boto3.resource(
            "dynamodb",
            endpoint_url=self.endpoint_url,
            region_name=REGION,
            aws_access_key_id="000000000000",
            aws_secret_access_key="local",
        )
        return resource.Table(self.outputs["RunsTableName"])

    def item(self, pk: str, sk: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ledger.get_item(Key={"pk": pk, "sk": sk}, ConsistentRead=True).get("Item", {})
        return found

    def serving(self) -> dict[str, Any]:
        return self.item("SERVING", "CURRENT")

    def run(self, version: str) -> dict[str, Any]:
        return self.item(f"RUN#{version}-r1", "STATE")

    def decision(self, version: str, stage: str) -> dict[str, Any]:
        return self.item(f"RUN#{version}-r1", f"DECISION#{stage}")

    def configured(self, function: str, **variables: str) -> AbstractContextManager[None]:
        """`ncf-<function>` with some environment variables changed inside the block."""
        return releases.configured(self.client, f"ncf-{function}", **variables)

    def executions(self, machine: str) -> list[dict[str, Any]]:
        arn = self.outputs[f"{machine}StateMachineArn"]
        found: list[dict[str, Any]] = self.client("stepfunctions").list_executions(
            stateMachineArn=arn, maxResults=1000
        )["executions"]
        return found

    def dataset_versions(self) -> set[str]:
        keys = self.client("s3").list_objects_v2(Bucket=self.outputs["DataBucketName"], Prefix="datasets/")
        found = (VERSION_IN_KEY.search(entry["Key"]) for entry in keys.get("Contents", []))
        return {match.group(1) for match in found if match}

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """The ledger's records of a kind."""
        found: list[dict[str, Any]] = self.ledger.query(
            IndexName="byKind", KeyConditionExpression=Key("kind").eq(kind)
        )["Items"]
        return found

    def tokens(self) -> list[dict[str, Any]]:
        """The open tokens: jobs for which a task still waits."""
        return self.of_kind("TOKEN")

    def drop(self, name: str, files: dict[str, bytes]) -> None:
        """Upload a drop to the data bucket, and close it."""
        s3, bucket = self.client("s3"), self.outputs["DataBucketName"]
        for file_name, content in files.items():
            s3.put_object(Bucket=bucket, Key=f"raw/{name}/{file_name}", Body=content)
        s3.put_object(Bucket=bucket, Key=f"raw/{name}/_SUCCESS", Body=b"")

    def prepared_from(self, name: str, files: dict[str, bytes]) -> str:
        """Drop data and wait for the run that it starts to end; returns the dataset version."""
        before = self.dataset_versions()
        self.drop(name, files)
        new = eventually(lambda: self.dataset_versions() - before, f"a dataset version from raw/{name}/")
        assert len(new) == 1, f"one drop made {len(new)} dataset versions: {new}"
        return str(new.pop())

    def copy_version(self, source: str, target: str, spoil: str | None = None, without: int | None = None) -> None:
        """Publish a copy of a version under another name, manifest last; change one byte of the first file below
        `spoil`; leave out the interaction number `without` of train, so that the model becomes another one.
        """
        rewritten: dict[str, bytes] = {}
        unspoiled = {spoil} - {None}

        def changed(key: str, content: bytes) -> bytes:
            table = key.split("/")[2]
            if without is not None and table == "manifest.json":
                content = _described(json.loads(content), rewritten)
            elif without is not None and table in ("train", "popularity"):
                # The interaction that is left out of train says which count of popularity is one less.
                content = rewritten.setdefault(key.partition(f"{source}/")[2], _shorter(content, without, rewritten))
            if table in unspoiled:
                unspoiled.remove(table)
                return flipped(content)
            return content

        publish_copy(self.client("s3"), self.outputs["DataBucketName"], source, target, changed)

    def copies(self, source: str, number: int) -> list[str]:
        """Publish `number` copies of a version, one second apart in their names, each without another interaction; wait
        until each has a run. Returns their versions.
        """
        newest = max([*self.dataset_versions(), f"v{datetime.now(UTC):%Y%m%dt%H%M%Sz}-00000000"])
        newest = newest if newest < "v2090" else f"v{datetime.now(UTC):%Y%m%dt%H%M%Sz}-00000000"
        moment = datetime.strptime(newest[1:17], "%Y%m%dt%H%M%Sz")
        versions = [f"v{moment + timedelta(seconds=step):%Y%m%dt%H%M%Sz}-0000000c" for step in range(1, number + 1)]
        for version in versions:
            self.copy_version(source, version, without=50 * len(self.dataset_versions()))
            eventually(partial(self.run, version), f"the run of {version}")
        return versions

    def allow_any_loss(self) -> None:
        """Put a policy into force by which a model that is not better passes too."""
        gains = {"fullNdcg": -1, "fullHitRate": -1}
        policy = {"better": {"minimumGain": -1}, "baselineGains": {"popularity": gains, "others": gains}}
        body = json.dumps({**policy, "sliceGains": gains})
        self.client("s3").put_object(Bucket=self.outputs["ArtifactsBucketName"], Key="policy/gate.json", Body=body)

    def ended(self, version: str) -> dict[str, Any]:
        """Wait until the run of this version ends; returns its ledger record."""

        def over() -> dict[str, Any] | None:
            record = self.run(version)
            return record if record.get("status") not in (None, "RUNNING", "PARKED") else None

        found: dict[str, Any] = eventually(
            over, lambda: f"the end of run {version}-r1; the ledger has {self.run(version)}"
        )
        return found

    def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """A signed request to the HTTP API, as a client on AWS would send it."""
        url = f"{self.endpoint_url}/_aws/execute-api/{self.outputs['ApiId']}/$default{path}"
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        given = headers or ({"Content-Type": "application/json"} if data is not None else {})
        request = AWSRequest(method, url, data=data, headers=given)
        SigV4Auth(Credentials("000000000000", "local"), "execute-api", REGION).add_auth(request)
        response = URLLib3Session(timeout=30).send(request.prepare())
        return Answer(response.status_code, json.loads(response.content or b"null"))


def flipped(content: bytes) -> bytes:
    """Return `content` with its middle byte inverted; of that again, `content`."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


def _shorter(content: bytes, without: int, changed: dict[str, bytes]) -> bytes:
    """Return a Parquet file of train without the interaction `without`, or of popularity with one less of its item."""
    table = pq.read_table(io.BytesIO(content))
    if "interactions" in table.column_names:
        item = int(changed["item"])
        counts = [
            count - (one == item)
            for one, count in zip(table["item_index"].to_pylist(), table["interactions"].to_pylist(), strict=True)
        ]
        table = table.set_column(table.column_names.index("interactions"), "interactions", pa.array(counts, pa.int64()))
    else:
        changed["item"] = str(table["item_index"][without].as_py()).encode()
        table = pa.concat_tables([table.slice(0, without), table.slice(without + 1)])
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def _described(manifest: dict[str, Any], changed: dict[str, bytes]) -> bytes:
    """Return a manifest whose files and counts are those of the changed files: train has one interaction less."""
    for file in manifest["files"]:
        if content := changed.get(file["path"]):
            file |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            file["rows"] -= file["path"].startswith("train/")
    for name in ("read", "interactions", "train"):
        manifest["counts"][name] -= 1
    return json.dumps(manifest).encode()


def eventually(condition: Callable[[], Any], what: str | Callable[[], str]) -> Any:
    """The first true value of `condition`. Fails with `what`, or what it returns then, after as long as a run may take
    on a busy machine.
    """
    deadline = time.monotonic() + LONGEST_RUN_SECONDS
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.3)
    pytest.fail(f"not seen within {LONGEST_RUN_SECONDS} s: {what if isinstance(what, str) else what()}")
