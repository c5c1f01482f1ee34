"""Live events: each is in the next answer, counted for the model that earned it, and in the next training; and of a
person who is erased no byte is kept.

The tests of this module tell one story in order. The stack is one of its own, so that nothing else decides what is
trained and served.
"""

from __future__ import annotations

import gzip
import io
import json
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pyarrow
import pyarrow.csv
import pyarrow.parquet
import pytest

from tests.e2e.conftest import deployed
from tests.e2e.deployed_stack import PROJECT_ROOT, REGION, DeployedStack, eventually
from tests.e2e.drops import shop_files
from tests.infrastructure import node as node_packages

pytestmark = pytest.mark.timeout(1800)

PERSON = "forget-me-7421"
EXAMPLES = PROJECT_ROOT / "examples"


def pieces(key: str, content: bytes) -> list[bytes]:
    """The bytes of an object, and of what is packed in it."""
    if key.endswith(".parquet"):
        return [content, str(pyarrow.parquet.read_table(io.BytesIO(content)).to_pydict()).encode()]
    if key.endswith(".tar.gz"):
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            files = [archive.extractfile(member) for member in archive.getmembers()]
            return [content, *(file.read() for file in files if file)]
    return [content, gzip.decompress(content)] if key.endswith(".gz") else [content]


def kept_with_the_id(stack: DeployedStack) -> list[str]:
    """The objects in all their versions, the items of the tables and the log files that have the id."""
    s3, found = stack.client("s3"), []
    for bucket in (stack.outputs["DataBucketName"], stack.outputs["ArtifactsBucketName"]):
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            for version in page.get("Versions", []):
                key = version["Key"]
                answer = s3.get_object(Bucket=bucket, Key=key, VersionId=version["VersionId"])
                if any(PERSON.encode() in piece for piece in pieces(key, answer["Body"].read())):
                    found.append(key)
    resource = stack.client("cloudformation").describe_stack_resource
    events = resource(StackName="ncf-local", LogicalResourceId="EventsTable")["StackResourceDetail"]
    for table in (stack.ledger.name, events["PhysicalResourceId"]):
        items = stack.client("dynamodb").scan(TableName=table)["Items"]
        found += [f"{table}: {item['pk']}" for item in items if PERSON in str(item)]
    logs = [path for path in (stack.state / "logs").rglob("*") if path.is_file()]
    return found + [path.name for path in logs if PERSON.encode() in path.read_bytes()]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[DeployedStack]:
    with deployed(tmp_path_factory.mktemp("live"), request) as stack:
        yield stack


@pytest.fixture(scope="module")
def first(stack: DeployedStack, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The dataset version of a drop in Parquet, PERSON among its people, whose model serves."""
    stack.allow_any_loss()
    files = shop_files(tmp_path_factory.mktemp("shop"), weeks=11)
    shop = pyarrow.csv.read_csv(io.BytesIO(files.pop("interactions.csv"))).select(["user_id", "item_id", "timestamp"])
    theirs = shop.take(list(range(0, shop.num_rows, shop.num_rows // 10)))
    theirs = theirs.set_column(0, "user_id", pyarrow.array([PERSON] * theirs.num_rows))
    ids = shop.set_column(0, "user_id", shop["user_id"].cast(pyarrow.string()))
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.concat_tables([ids, theirs]), buffer)
    version = stack.prepared_from("with-them", files | {"interactions.parquet": buffer.getvalue()})
    assert stack.ended(version)["status"] == "DEPLOYED"
    return version


def listed(stack: DeployedStack, **query: Any) -> Any:
    answer = stack.call("GET", f"/recommendations?{urlencode(query)}")
    assert answer.status == 200, answer
    return answer.body


def items_of(body: Any) -> list[str]:
    return [entry["itemId"] for entry in body["itemList"]]


def send(stack: DeployedStack, who: dict[str, str], *events: dict[str, Any]) -> None:
    given = [{"sentAt": time.time(), **event} for event in events]
    answer = stack.call("POST", "/events", {**who, "eventList": given})
    assert answer.status == 200, answer
    assert not answer.body["refused"], answer.body


def invoked(stack: DeployedStack, function: str) -> Any:
    answer = stack.client("lambda").invoke(FunctionName=f"ncf-{function}", Payload=b"{}")
    body = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, body
    return body


def announced(stack: DeployedStack, event_id: str) -> str:
    """The dataset version of the live events up to the one with `event_id`, once its run has ended."""
    s3, bucket = stack.client("s3"), stack.outputs["DataBucketName"]

    def is_delivered() -> bool:
        found = s3.list_objects_v2(Bucket=bucket, Prefix="raw/live-").get("Contents", [])
        files = [entry["Key"] for entry in found if entry["Key"].endswith(".gz")]
        return any(event_id.encode() in gzip.decompress(content(s3, bucket, key)) for key in files)

    eventually(is_delivered, f"a file with {event_id}")
    before = stack.dataset_versions()
    assert invoked(stack, "close-events")["outcome"] == "ANNOUNCED"
    new = eventually(lambda: stack.dataset_versions() - before, "a dataset version with live events")
    version = str(new.pop())
    run = stack.ended(version)
    assert run["status"] == "DEPLOYED", run
    return version


def content(s3: Any, bucket: str, key: str) -> bytes:
    return bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())


def settled(stack: DeployedStack, clicked: set[str], who: dict[str, str]) -> Any:
    """The first list without the clicked items. On a quiet machine it is the first one that is asked for."""
    found = eventually(
        lambda: (body := listed(stack, **who)) and not clicked & set(items_of(body)) and body,
        "a list that knows the clicks",
    )
    return found


def test_the_next_answer_knows_what_a_customer_clicked(stack: DeployedStack, first: str) -> None:
    before = listed(stack, userId=PERSON)
    clicked = items_of(before)[:3]
    send(stack, {"userId": PERSON, "sessionId": "s1"}, *({"eventType": "view", "itemId": item} for item in clicked))
    after = settled(stack, set(clicked), {"userId": PERSON})
    assert after["source"] == "personalized"
    scores = [{entry["itemId"]: entry["score"] for entry in body["itemList"]} for body in (before, after)]
    both = set(scores[0]) & set(scores[1])
    assert [scores[0][item] for item in both] != [scores[1][item] for item in both], "the clicks weigh in the scores"


def test_a_visitor_whom_no_model_has_met_gets_a_list_of_their_own(stack: DeployedStack, first: str) -> None:
    visitor = {"sessionId": "visitor-1"}
    before = listed(stack, **visitor)
    assert before["source"] == "popular"
    clicked = items_of(before)[:2]
    send(stack, visitor, *({"eventType": "view", "itemId": item} for item in clicked))
    after = settled(stack, set(clicked), visitor)
    assert after["source"] == "session"
    given = {"history": [{"itemId": item, "ageSeconds": 1} for item in clicked]}
    stateless = stack.call("POST", "/recommendations", given)
    assert items_of(stateless.body) == items_of(after)


def test_what_was_chosen_is_counted_for_the_model_that_showed_it(stack: DeployedStack, first: str) -> None:
    shown = listed(stack, userId=PERSON)
    answer = {"recommendationId": shown["recommendationId"]}
    item = items_of(shown)[0]
    for _ in range(2):
        send(
            stack,
            {"userId": PERSON},
            {"eventId": "i1", "eventType": "impression", "itemId": item, **answer},
            {"eventId": "c1", "eventType": "click", "itemId": item, **answer},
            {"eventId": "p1", "eventType": "purchase", "itemId": item, "eventValue": 12.5, **answer},
        )
    invoked(stack, "count-outcomes")
    status = stack.command("status")
    assert f"{first}-r1: shown 1, chosen 1 (100.00%), bought 1, value 12.50" in status.stdout, status.stdout


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_the_example_clients_send_events(stack: DeployedStack, first: str, language: str, tmp_path: Path) -> None:
    if language == "python":
        command = [sys.executable, str(EXAMPLES / "send_events.py")]
    else:
        node, home = node_packages.installed(EXAMPLES, PROJECT_ROOT / ".envs" / "examples")
        command = [*node, str(shutil.copy(EXAMPLES / "send_events.mjs", home))]
    clicked = ["p0003", "p0004", "p0005"]
    who = {"sessionId": f"{language}-visitor"}
    lines = [json.dumps({**who, "eventType": "view", "itemId": item, "sentAt": time.time()}) for item in clicked]
    lines.append(json.dumps({**who, "eventType": "view", "itemId": "p0006"}))
    given = {
        **stack.environment,
        "API_URL": f"{stack.endpoint_url}/_aws/execute-api/{stack.outputs['ApiId']}/$default",
        "AWS_ACCESS_KEY_ID": "000000000000",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
    }
    said = subprocess.run(command, input="\n".join(lines), env=given, capture_output=True, text=True, timeout=60)
    assert said.returncode == 0, said.stderr
    answer = json.loads(said.stdout)
    assert (answer["status"], len(answer["accepted"])) == (200, 3)
    assert [(one["index"], one["field"]) for one in answer["refused"]] == [(3, "sentAt")]
    assert settled(stack, set(clicked), who)["source"] == "session"


def test_the_next_training_learns_from_the_events(stack: DeployedStack, first: str) -> None:
    send(stack, {"sessionId": "visitor-1"}, {"eventId": "last-of-day-1", "eventType": "view", "itemId": "p0001"})
    version = announced(stack, "last-of-day-1")
    s3, bucket = stack.client("s3"), stack.outputs["DataBucketName"]
    keys = s3.list_objects_v2(Bucket=bucket, Prefix=f"datasets/{version}/users/")["Contents"]
    users = [str(pyarrow.parquet.read_table(io.BytesIO(content(s3, bucket, one["Key"]))).to_pydict()) for one in keys]
    assert any("session:visitor-1" in text for text in users)
    assert stack.serving()["datasetVersion"] == version


def test_the_delivered_events_make_a_list_of_what_is_popular_now(stack: DeployedStack, first: str) -> None:
    eventually(lambda: invoked(stack, "publish-popular")["outcome"] == "PUBLISHED", "a list of what is popular now")


def test_no_byte_that_is_kept_has_the_id_of_a_person_who_is_erased(stack: DeployedStack, first: str) -> None:
    assert len(kept_with_the_id(stack)) >= 3
    forgotten = stack.command("forget", PERSON, "--reason", "asked for it")
    assert forgotten.returncode == 0, forgotten.stdout
    send(stack, {"userId": "guest-1"}, {"eventId": "last-of-day-2", "eventType": "view", "itemId": "p0002"})
    announced(stack, "last-of-day-2")

    erased = stack.command("erase")
    # The session s1, which was the person's, is forgotten too.
    assert "nothing is kept of 2 people and sessions; the ledger has the receipt" in erased.stdout, erased.stdout
    assert kept_with_the_id(stack) == []
