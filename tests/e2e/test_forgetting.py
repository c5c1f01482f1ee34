"""A person who was in a drop in Parquet is forgotten and erased: no byte that is kept has the id.

The stack is one of its own, so that nothing but the appends of this file decides what is trained and served.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow
import pyarrow.csv
import pyarrow.parquet
import pytest

from tests.e2e.conftest import deployed
from tests.e2e.deployed_stack import DeployedStack
from tests.e2e.drops import shop_files

pytestmark = pytest.mark.timeout(900)

PERSON = "forget-me-7421"
APPEND = json.dumps({"schemaVersion": "1.0", "kind": "append"}).encode()


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
    """The objects in all their versions, the items of the ledger and the log files that have the id."""
    s3, found = stack.client("s3"), []
    for bucket in (stack.outputs["DataBucketName"], stack.outputs["ArtifactsBucketName"]):
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            for version in page.get("Versions", []):
                key = version["Key"]
                answer = s3.get_object(Bucket=bucket, Key=key, VersionId=version["VersionId"])
                if any(PERSON.encode() in piece for piece in pieces(key, answer["Body"].read())):
                    found.append(key)
    found += [str(item["pk"]) for item in stack.ledger.scan()["Items"] if PERSON in str(item)]
    logs = [path for path in (stack.state / "logs").rglob("*") if path.is_file()]
    return found + [path.name for path in logs if PERSON.encode() in path.read_bytes()]


@pytest.fixture
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeployedStack]:
    with deployed(tmp_path_factory.mktemp("forgetting")) as stack:
        yield stack


def test_no_byte_that_is_kept_has_the_id_of_a_person_who_is_erased(stack: DeployedStack, tmp_path: Path) -> None:
    stack.allow_any_loss()
    files = shop_files(tmp_path, weeks=11)
    shop = pyarrow.csv.read_csv(io.BytesIO(files.pop("interactions.csv")))
    shop = shop.select(["user_id", "item_id", "timestamp"])
    theirs = shop.take(list(range(0, shop.num_rows, shop.num_rows // 10)))
    theirs = theirs.set_column(0, "user_id", pyarrow.array([PERSON] * theirs.num_rows))
    ids = shop.set_column(0, "user_id", shop["user_id"].cast(pyarrow.string()))
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.concat_tables([ids, theirs]), buffer)
    stack.ended(stack.prepared_from("with-them", files | {"interactions.parquet": buffer.getvalue()}))
    assert len(kept_with_the_id(stack)) >= 2

    forgotten = stack.command("forget", PERSON, "--reason", "asked for it")
    assert forgotten.returncode == 0, forgotten.stdout
    day = io.BytesIO()
    pyarrow.csv.write_csv(shop.slice(shop.num_rows - 2), day)
    without = stack.prepared_from("a-day-later", {"day.csv": day.getvalue(), "_drop.json": APPEND})
    run = stack.ended(without)
    assert run["status"] in ("DEPLOYED", "UNCHANGED"), run

    erased = stack.command("erase")
    assert "nothing is kept of 1 people; the ledger has the receipt" in erased.stdout, erased.stdout
    assert kept_with_the_id(stack) == []
