"""Records of Firehose are written once, whatever ends the host between two steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from laptop_aws import firehose_buffers
from laptop_aws.firehose_buffers import Buffers, Target
from laptop_aws.tests.conformance.hosting import eventually

TARGET = Target("0", "us-east-1", "events", "data", "raw/live/1.jsonl", is_gzip=False, seconds=0.2, size=1000)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bytes]]:
    """The objects as they are written: key and content."""
    found: list[tuple[str, bytes]] = []

    def write(target: Target, body: bytes) -> int:
        found.append((target.key, body))
        return 200

    monkeypatch.setattr(firehose_buffers, "write_object", write)
    return found


def test_a_host_that_ended_before_it_forgot_a_batch_writes_the_same_object_again(
    written: list[tuple[str, bytes]], tmp_path: Path
) -> None:
    first = Buffers(tmp_path)
    first.put(TARGET, [b"a\n", b"b\n"])
    (path,) = tmp_path.iterdir()
    stored = path.read_bytes()
    eventually(lambda: written and not path.exists())
    path.write_bytes(stored)  # as if the host had ended before the file was deleted
    Buffers(tmp_path).recover()
    eventually(lambda: len(written) == 2 and not path.exists())
    assert set(written) == {(TARGET.key, b"a\nb\n")}


def test_a_record_that_was_cut_off_is_left_out(written: list[tuple[str, bytes]], tmp_path: Path) -> None:
    buffers = Buffers(tmp_path)
    buffers.put(Target(**{**TARGET.__dict__, "seconds": 900}), [b"a\n", b"b\n"])
    (path,) = tmp_path.iterdir()
    stored = path.read_bytes()
    (tmp_path / "empty.batch").write_bytes(b'{"began"')
    for cut in (1, 2, 3):  # in the record, and before its length
        path.write_bytes(stored.replace(b'"seconds": 900', b'"seconds": 0.0')[:-cut])
        Buffers(tmp_path).recover()
        eventually(lambda: not list(tmp_path.iterdir()))
        assert written.pop() == (TARGET.key, b"a\n")


def test_a_write_that_s3_refuses_is_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answers = [503, 200]
    monkeypatch.setattr(firehose_buffers, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(firehose_buffers, "write_object", lambda target, body: answers.pop(0))
    Buffers(tmp_path).put(TARGET, [b"a\n"])
    eventually(lambda: not answers and not list(tmp_path.iterdir()))


def test_a_record_that_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    buffers = Buffers(tmp_path / "file")
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError):
        buffers.put(TARGET, [b"a\n"])
