"""How long the console takes with 10,000 runs and a catalogue of a million items, and with eight runs compared.

Runs in .envs/browser, with an embedded AWS of its own in a temporary folder, which has the tables and buckets that the
console reads and none of the application: `.envs/browser/bin/python -m benchmarks.console_scale`. On a busy machine the
processor time tells more than the wall time.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import statistics
import subprocess
import tarfile
import tempfile
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from boto3.dynamodb.types import TypeSerializer
from playwright.sync_api import Page, sync_playwright

from benchmarks.console import READY_SECONDS, processor_seconds, seconds_until_drawn
from control.connection import Connection
from tests.browser import chromium
from tests.browser.conftest import free_port
from tests.browser.console_process import PROJECT_ROOT, ConsoleProcess

STACK = "scale"
SETTLED = """() => !document.querySelector('main .q-spinner')
  && !document.body.innerText.includes('Reading from AWS…')"""
COMPARED = 8
REPEATS = 3
EPOCHS = 15
CHOSEN = 10
"""Items that each person has chosen."""
WORDS = (
    "heat",
    "night",
    "garden",
    "winter",
    "river",
    "copper",
    "lamp",
    "chair",
    "bicycle",
    "orange",
    "velvet",
    "story",
)
FINISHED = ("DEPLOYED", "REJECTED", "FAILED", "UNCHANGED")
TABLE = {
    "BillingMode": "PAY_PER_REQUEST",
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
}
MACHINE = {"Type": "AWS::StepFunctions::StateMachine"}
DEFINITION = json.dumps({"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}})
MACHINES = ("Preparation", "Retraining", "Rollback", "Batch")


def _strings(*names: str) -> list[dict[str, str]]:
    return [{"AttributeName": name, "AttributeType": "S"} for name in names]


def _index(name: str, *keys: str) -> dict[str, Any]:
    schema = [{"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=True)]
    return {"IndexName": name, "KeySchema": schema, "Projection": {"ProjectionType": "ALL"}}


def template() -> str:
    """The resources that the console reads, by the names of the application's template."""
    resources: dict[str, Any] = {
        "RunsTable": {
            "Type": "AWS::DynamoDB::Table",
            "Properties": {
                **TABLE,
                "AttributeDefinitions": _strings("pk", "sk", "kind", "updatedAt"),
                "GlobalSecondaryIndexes": [_index("byKind", "kind", "updatedAt")],
            },
        },
        "EventsTable": {
            "Type": "AWS::DynamoDB::Table",
            "Properties": {
                **TABLE,
                "AttributeDefinitions": [*_strings("pk", "sk"), {"AttributeName": "at", "AttributeType": "N"}],
                "LocalSecondaryIndexes": [_index("byTime", "pk", "at")],
            },
        },
        "DataBucket": {"Type": "AWS::S3::Bucket"},
        "ArtifactsBucket": {"Type": "AWS::S3::Bucket"},
        "DeadLetterQueue": {"Type": "AWS::SQS::Queue"},
        **{
            f"{name}StateMachine": {
                **MACHINE,
                "Properties": {
                    "StateMachineName": f"{STACK}-{name.lower()}",
                    "DefinitionString": DEFINITION,
                    "RoleArn": "arn:aws:iam::000000000000:role/none",
                },
            }
            for name in MACHINES
        },
    }
    outputs = {
        "RunsTableName": {"Ref": "RunsTable"},
        "DataBucketName": {"Ref": "DataBucket"},
        "ArtifactsBucketName": {"Ref": "ArtifactsBucket"},
        "DeadLetterQueueUrl": {"Ref": "DeadLetterQueue"},
        "ApiId": "none",
        "EndpointName": f"{STACK}-recommender",
        **{f"{name}StateMachineArn": {"Ref": f"{name}StateMachine"} for name in MACHINES},
    }
    return json.dumps({"Resources": resources, "Outputs": {name: {"Value": value} for name, value in outputs.items()}})


@contextmanager
def embedded_aws(folder: Path) -> Iterator[str]:
    """The address of an embedded AWS that lasts as long as the block."""
    port = free_port()
    given = {"LAPTOP_AWS_DIR": str(folder), "LAPTOP_AWS_PORT": str(port), "PATH": "/usr/bin:/bin"}
    command = [str(PROJECT_ROOT / ".venv" / "bin" / "python"), "-m", "laptop_aws"]
    with subprocess.Popen(command, cwd=PROJECT_ROOT, env=given, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()  # it is ready
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def records(runs: int, archive: str) -> Iterator[dict[str, Any]]:
    """The ledger of a shop that has trained every hour; every fourth model was deployed."""
    now = datetime.now(UTC)
    serving: list[dict[str, Any]] = []
    for number in range(runs):
        at = now - timedelta(hours=runs - number)
        run, ended = run_id(number), (at + timedelta(minutes=9)).isoformat()
        status = FINISHED[number % len(FINISHED)]
        reasons = [] if status == "DEPLOYED" else [f"hit rate at 10 is 0.{number % 90 + 10}, below the floor of 0.55"]
        key = {"pk": f"RUN#{run}", "runId": run, "updatedAt": ended}
        version = run.rpartition("-r")[0]
        moments = {"startedAt": at.isoformat(), "endedAt": ended, "datasetVersion": version}
        yield {**key, "sk": "STATE", "kind": "RUN", "status": status, "reasons": reasons, **moments}
        verdict = {"DEPLOYED": "ACCEPTED", "FAILED": "REJECTED"}.get(status, status)
        yield {**key, "sk": "DECISION#gate", "kind": "DECISION", "verdict": verdict, "reasons": reasons}
        if status == "DEPLOYED":
            one = {"runId": run, "since": ended, "why": "better in both figures", "modelDataUrl": archive}
            serving.append({**one, "datasetVersion": version, "replaced": serving[-1]["runId"] if serving else None})
            yield {"pk": "SERVING", "sk": f"SINCE#{ended}", **serving[-1]}
    yield {"pk": "SERVING", "sk": "CURRENT", **serving[-1], "previous": serving[-2]}


def run_id(number: int) -> str:
    return f"v20200101t000000z-{number:08x}-r1"


def write(connection: Connection, items: Iterator[dict[str, Any]]) -> None:
    """Write items into the ledger."""
    table, serializer, client = connection.outputs["RunsTableName"], TypeSerializer(), connection.client("dynamodb")
    batch: list[dict[str, Any]] = []

    def flush() -> None:
        client.batch_write_item(RequestItems={table: batch})
        batch.clear()

    for item in items:
        batch.append({"PutRequest": {"Item": {name: serializer.serialize(value) for name, value in item.items()}}})
        if len(batch) == 25:
            flush()
    if batch:
        flush()


def tensors(**columns: tuple[str, array[Any]]) -> bytes:
    """A safetensors file."""
    header, data = {}, bytearray()
    for name, (kind, values) in columns.items():
        content = values.tobytes()
        header[name] = {"dtype": kind, "shape": [len(values)], "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + bytes(data)


def archive(items: int, people: int) -> bytes:
    """A model's archive with titles, in the layout that the console reads, without weights."""
    chance = random.Random(1)
    offsets, fields = array("q", [0]), bytearray()
    for number in range(items):
        title = " ".join(chance.choices(WORDS, k=3)).title()
        fields += json.dumps({"title": f"{title} {number}", "category": WORDS[number % len(WORDS)]}).encode()
        offsets.append(len(fields))
    seen = array("i", (chance.randrange(items) for _ in range(people * CHOSEN)))
    members = {
        "item_ids.json": json.dumps([f"i{number}" for number in range(items)]).encode(),
        "user_ids.json": json.dumps([f"u{number}" for number in range(people)]).encode(),
        "item_fields.safetensors": tensors(offsets=("I64", offsets), data=("U8", array("B", fields))),
        "popularity.safetensors": tensors(interactions=("I64", array("q", (items - one for one in range(items))))),
        "seen.safetensors": tensors(
            indptr=("I64", array("q", range(0, people * CHOSEN + 1, CHOSEN))), indices=("I32", seen)
        ),
    }
    described = json.dumps({"members": {name: {} for name in members}}).encode()
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz", compresslevel=1) as tar:
        for name, content in {"bundle.json": described, **members}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return target.getvalue()


def seed(connection: Connection, runs: int, items: int, people: int) -> None:
    """Make the stack, its ledger, its model, and what the compared runs have left in S3 and in the logs."""
    connection.client("cloudformation").create_stack(StackName=STACK, TemplateBody=template())
    connection.client("cloudformation").get_waiter("stack_create_complete").wait(StackName=STACK)
    s3, bucket = connection.client("s3"), connection.outputs["ArtifactsBucketName"]
    s3.put_object(Bucket=bucket, Key="models/model.tar.gz", Body=archive(items, people))
    write(connection, records(runs, f"s3://{bucket}/models/model.tar.gz"))
    logs, group = connection.client("logs"), "/aws/sagemaker/TrainingJobs"
    logs.create_log_group(logGroupName=group)
    for run in compared(runs):
        version = run.rpartition("-r")[0]
        report = {"candidate": {"full": {"ndcg": 0.08}}}
        s3.put_object(Bucket=bucket, Key=f"evaluations/{run}/metrics.json", Body=json.dumps(report))
        counts = {"counts": {"users": people, "items": items, "interactions": people * CHOSEN}}
        key = f"datasets/{version}/manifest.json"
        s3.put_object(Bucket=connection.outputs["DataBucketName"], Key=key, Body=json.dumps(counts))
        stream = f"{STACK}-{run}/algo-1"
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
        lines = [
            {
                "timestamp": int(time.time() * 1000),
                "message": f"epoch={epoch}/{EPOCHS} train_loss={1 / epoch:.4f} samples_per_second=10 seconds=1.00",
            }
            for epoch in range(1, EPOCHS + 1)
        ]
        logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=lines)


def compared(runs: int) -> list[str]:
    return [run_id(number) for number in range(runs - COMPARED, runs)]


def pages(runs: int) -> dict[str, str]:
    """Addresses of the measured pages, by their names."""
    chosen = "&".join(f"{name}={run}" for name, run in zip("abcdefgh", compared(runs), strict=True))
    return {
        "Now": "/",
        "Runs": "/runs",
        "Runs, those that failed": "/runs?status=FAILED",
        "a run": f"/runs/{run_id(runs - 1)}",
        "Gate": f"/gate?run={run_id(runs - 1)}",
        "History": "/history",
        f"Compare, {COMPARED} runs": f"/compare?{chosen}",
        "Explore": "/explore",
        "Explore, a search of titles": "/explore?q=velvet+lamp",
        "Explore, a search of a rare title": "/explore?q=999",
        "Explore, a person": "/explore?user=u4242",
        "Rules": "/rules",
    }


def drawn(page: Page, address: str) -> tuple[float, float]:
    """Seconds from the request until the first words are drawn, and until nothing is being read any more."""
    started = time.perf_counter()
    first = seconds_until_drawn(page, address)
    page.wait_for_function(SETTLED)
    return first, time.perf_counter() - started


def seconds_until_seen(connection: Connection, page: Page, address: str, number: int) -> float:
    """From the record of a new run until an open page shows it."""
    page.goto(address)
    page.wait_for_timeout(3000)
    run, now = f"v20990101t000000z-{number:08x}-r1", datetime.now(UTC).isoformat()
    started = time.perf_counter()
    new = {"pk": f"RUN#{run}", "sk": "STATE", "kind": "RUN", "status": "RUNNING", "startedAt": now, "updatedAt": now}
    write(connection, iter([new]))
    page.get_by_text(run).first.wait_for()
    return time.perf_counter() - started


def main() -> None:
    """Measure and print tables in Markdown."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.console_scale", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--people", type=int, default=100_000)
    given = parser.parse_args()
    executable = chromium.find()
    with tempfile.TemporaryDirectory() as folder, embedded_aws(Path(folder)) as endpoint:
        connection = Connection(STACK, endpoint_url=endpoint)
        seed(connection, given.runs, given.items, given.people)
        with (
            ConsoleProcess("--endpoint-url", endpoint, "--stack", STACK) as console,
            sync_playwright() as playwright,
        ):
            measure(given, connection, console, playwright.chromium.launch(executable_path=executable).new_page())


def measure(given: argparse.Namespace, connection: Connection, console: ConsoleProcess, page: Page) -> None:
    page.set_default_timeout(300_000)
    time.sleep(READY_SECONDS)
    print(f"{given.runs:,} runs, {given.items:,} items, {given.people:,} people\n")
    print(f"first page, nothing in the browser's cache: {seconds_until_drawn(page, console.link):.2f} s")
    _, first = drawn(page, f"{console.address}/explore?q=heat")
    print(f"first search, which reads the model's archive: {first:.2f} s\n")
    print("| page | first words, median s | all drawn, median s | slowest, s | processor time of the console, s |")
    print("|---|---|---|---|---|")
    for name, path in pages(given.runs).items():
        before = processor_seconds(console.process.pid)
        times = [drawn(page, f"{console.address}{path}") for _ in range(REPEATS)]
        used = (processor_seconds(console.process.pid) - before) / REPEATS
        words, whole = zip(*times, strict=True)
        middle = statistics.median(words), statistics.median(whole)
        print(f"| {name} | {middle[0]:.2f} | {middle[1]:.2f} | {max(whole):.2f} | {used:.2f} |", flush=True)
    for name, path in (("Now", "/"), ("Runs", "/runs")):
        seen = [
            seconds_until_seen(connection, page, f"{console.address}{path}", len(path) * 100 + number)
            for number in range(REPEATS)
        ]
        middle_seen = statistics.median(seen)
        print(f"\nan open page {name} shows a new run after {middle_seen:.2f} s (median), {max(seen):.2f} s (most)")
    kilobytes = next(
        line
        for line in Path(f"/proc/{console.process.pid}/status").read_text().splitlines()
        if line.startswith("VmRSS")
    )
    print(f"\nmemory of the console: {int(kilobytes.split()[1]) >> 10} MiB")


if __name__ == "__main__":
    main()
