"""A temporarily full disk: changes are refused while they cannot be saved, and saving continues when there is space."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from laptop_aws.shortage import DRILL_HEADER, DRILL_PATH
from laptop_aws.tests.conformance.hosting import Host, eventually

MakeHost = Callable[..., Host]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit or tmpfs")


class Shortage:
    """A host whose disk can be filled and freed."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def begin(self) -> None:
        raise NotImplementedError

    def end(self) -> None:
        raise NotImplementedError


class NoFileMayGrow(Shortage):
    """Every write to a file of the running host fails (RLIMIT_FSIZE 0, set from outside); needs no privilege."""

    def _limit(self, size: int) -> None:
        assert self.host.process is not None
        resource.prlimit(self.host.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def begin(self) -> None:
        self._limit(0)

    def end(self) -> None:
        self._limit(resource.RLIM_INFINITY)


class FullTmpfs(Shortage):
    """The folder of the host lies on a file system of 8 MiB, filled to the last byte by another file."""

    def begin(self) -> None:
        with (self.host.root / "another.file").open("wb") as file:
            try:
                while True:
                    file.write(b"\0" * 65536)
                    file.flush()
            except OSError:
                pass

    def end(self) -> None:
        (self.host.root / "another.file").unlink()


@pytest.fixture(params=["no file may grow", "full tmpfs"])
def shortage(request: pytest.FixtureRequest, another_host: MakeHost, tmp_path: Path) -> Iterator[Shortage]:
    if request.param == "no file may grow":
        yield NoFileMayGrow(another_host().start())
        return
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("a tmpfs cannot be mounted without privileges; the other case covers the behaviour")
    host = another_host(folder / "state")
    try:
        yield FullTmpfs(host.start())
    finally:
        if host.process is not None and host.process.poll() is None:
            host.stop(signal.SIGKILL)
        subprocess.run(["umount", "--lazy", folder], check=True)


def put_item(host: Host, number: int) -> bool:
    """True if the host acknowledged the item."""
    try:
        host.client("dynamodb").put_item(TableName="items", Item={"pk": {"N": str(number)}})
    except ClientError as error:
        assert error.response["Error"]["Code"] == "ServiceUnavailable"
        assert "Free some space" in error.response["Error"]["Message"]
        return False
    return True


def items(host: Host) -> set[int]:
    found = host.client("dynamodb").scan(TableName="items", ConsistentRead=True)["Items"]
    return {int(item["pk"]["N"]) for item in found}


def is_saved(host: Host, number: int) -> bool:
    return json.dumps({"N": str(number)}) in (host.root / "state" / "dynamodb.json").read_text()


@pytest.fixture
def filled(shortage: Shortage) -> Shortage:
    """A host with a table, a bucket and an object, all saved; its disk is full."""
    host = shortage.host
    host.client("dynamodb").create_table(
        TableName="items",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "N"}],
        BillingMode="PAY_PER_REQUEST",
    )
    host.client("s3").create_bucket(Bucket="objects")
    host.client("s3").put_object(Bucket="objects", Key="old", Body=b"old", Metadata={"is": "old"})
    assert put_item(host, 1)
    eventually(lambda: (host.root / "state" / "dynamodb.json").exists() and is_saved(host, 1))
    eventually(lambda: (host.root / "state" / "s3.json").exists())
    shortage.begin()
    return shortage


def refused(host: Host, **request: Any) -> bool:
    with pytest.raises(ClientError) as caught:
        host.client("s3").put_object(Bucket="objects", **request)
    error = caught.value.response
    assert (error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Code"]) == (503, "ServiceUnavailable")
    assert "Free some space" in error["Error"]["Message"]
    return True


def objects(host: Host) -> dict[str, tuple[bytes, dict[str, str]]]:
    s3 = host.client("s3")
    found = {}
    for entry in s3.list_objects_v2(Bucket="objects").get("Contents", []):
        answer = s3.get_object(Bucket="objects", Key=entry["Key"])
        found[entry["Key"]] = (answer["Body"].read(), answer["Metadata"])
    return found


def test_an_object_that_cannot_be_kept_is_refused_and_the_earlier_one_stays(
    filled: Shortage, another_host: MakeHost
) -> None:
    host = filled.host
    assert refused(host, Key="new", Body=b"new")
    assert refused(host, Key="old", Body=b"new", Metadata={"is": "new"})
    expected = {"old": (b"old", {"is": "old"})}
    assert objects(host) == expected
    host.stop(signal.SIGKILL)
    if isinstance(filled, FullTmpfs):
        filled.end()
    again = another_host(host.root).start()
    assert objects(again) == expected
    again.stop()


def test_everything_acknowledged_is_saved_once_there_is_room_again(filled: Shortage, another_host: MakeHost) -> None:
    host = filled.host
    number, acknowledged = 2, {1}
    while put_item(host, number):  # until the shortage is noticed
        acknowledged.add(number)
        number += 1
        assert number < 10_000
    assert items(host) == acknowledged  # reading goes on
    filled.end()
    eventually(lambda: put_item(host, number))
    host.client("s3").put_object(Bucket="objects", Key="new", Body=b"new")
    eventually(lambda: is_saved(host, number))
    host.stop(signal.SIGKILL)
    again = another_host(host.root).start()
    assert items(again) == acknowledged | {number}
    assert objects(again)["new"] == (b"new", {})
    again.stop()


def test_space_can_be_freed_by_deleting_objects(filled: Shortage) -> None:
    host = filled.host
    assert refused(host, Key="new", Body=b"new")
    host.client("s3").delete_object(Bucket="objects", Key="old")
    assert objects(host) == {}


def test_a_host_that_ends_during_the_shortage_says_what_is_lost(another_host: MakeHost) -> None:
    host = another_host().start()
    shortage = NoFileMayGrow(host)
    shortage.begin()
    host.client("sqs").create_queue(QueueName="unsaved")
    assert host.process is not None and host.process.stdout is not None
    os.kill(host.process.pid, signal.SIGTERM)
    said = host.process.stdout.read().decode()
    assert host.process.wait(20) == 1
    assert "state is not saved" in said and "File too large" in said


def test_a_folder_that_is_full_from_the_start_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "laptop_aws"],
        env={**os.environ, "LAPTOP_AWS_DIR": str(tmp_path / "full")},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path / 'full'} cannot be written (File too large). Free 1 MiB")


def test_during_a_drill_changes_are_refused_and_reading_goes_on(another_host: MakeHost) -> None:
    host = another_host().start()
    host.client("s3").create_bucket(Bucket="objects")
    asked = urllib.request.Request(f"{host.endpoint}{DRILL_PATH}", headers={DRILL_HEADER: "2"}, method="POST")
    with urllib.request.urlopen(asked) as answer:
        assert answer.status == 200
    assert refused(host, Key="new", Body=b"new")
    assert objects(host) == {}
    eventually(lambda: not _is_refused(host))
    assert objects(host) == {"new": (b"new", {})}
    host.stop()


def _is_refused(host: Host) -> bool:
    try:
        host.client("s3").put_object(Bucket="objects", Key="new", Body=b"new")
    except ClientError:
        return True
    return False
