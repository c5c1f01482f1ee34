"""Buffers of Firehose: records wait on disk until they are written to S3 as one object.

A batch is a file: a line of JSON that says where its object goes, then each record after its length. A record is in the
file before its put is answered, so ``kill -9`` loses none. The object's key is in the file too: a batch whose host
ended between the object and the file's deletion is written again under the same key.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import logging
import struct
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from laptop_aws import calls, registry

logger = logging.getLogger("emulator")

MEGABYTE = 1 << 20
RETRY_SECONDS = 2.0
_LENGTH = struct.Struct(">I")


@dataclass(frozen=True)
class Target:
    """Where and when the records of a stream are written: ``key`` is the object's whole key, ``seconds`` after the
    first record or at ``size`` bytes, whichever is first."""

    account: str
    region: str
    stream: str
    bucket: str
    key: str
    is_gzip: bool
    seconds: float
    size: int
    role: str = ""


class Batch:
    """A file of records that become one object."""

    def __init__(self, path: Path, target: Target, began: float, size: int = 0) -> None:
        self.path, self.target, self.began, self.size = path, target, began, size
        self.is_sealed = False
        self.retry_at = 0.0

    @property
    def due(self) -> float:
        """When the object is to be written, in epoch seconds."""
        waited = 0.0 if self.is_sealed or self.size >= self.target.size else self.target.seconds
        return max(self.began + waited, self.retry_at)

    def add(self, records: Iterable[bytes]) -> None:
        """Append the records, all or none. Raises OSError."""
        content = b"".join(_LENGTH.pack(len(record)) + record for record in records)
        with self.path.open("ab") as file:
            start = file.tell()
            try:
                file.write(content)
                file.flush()
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(start)
                raise
        self.size += len(content)

    def content(self) -> bytes:
        """The records one after the other, as Firehose writes them. A record that was cut off, and so was never
        acknowledged, is left out.
        """
        return b"".join(_records(self.path.read_bytes()))


def _records(stored: bytes) -> Iterator[bytes]:
    place = stored.index(b"\n") + 1
    while place + _LENGTH.size <= len(stored):
        (length,) = _LENGTH.unpack_from(stored, place)
        place += _LENGTH.size
        if place + length > len(stored):
            return
        yield stored[place : place + length]
        place += length


class Buffers:
    """The batches of all streams, below ``folder``, and the thread that writes their objects."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[tuple[str, str, str], Batch] = {}
        self._waiting: list[Batch] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def recover(self) -> None:
        """Take over the batches that an earlier host left: each is written when it is due."""
        with self._changed:
            for path in sorted(self._folder.glob("*.batch")):
                line = path.read_bytes().partition(b"\n")
                if not line[1]:
                    path.unlink()  # cut off before the first record
                    continue
                header = json.loads(line[0])
                self._waiting.append(Batch(path, Target(**header["target"]), header["began"]))
            if self._waiting:
                self._wake()

    def put(self, target: Target, records: Sequence[bytes]) -> None:
        """Keep the records on disk. Raises OSError if they cannot be kept."""
        name = (target.account, target.region, target.stream)
        with self._changed:
            batch = self._open.get(name)
            if batch is None or batch.is_sealed:
                batch = self._begin(target)
                self._open[name] = batch
                self._waiting.append(batch)
            batch.add(records)
            self._wake()

    def seal(self, account: str, region: str, stream: str) -> None:
        """Write what waits of a stream now."""
        with self._changed:
            batch = self._open.pop((account, region, stream), None)
            if batch is not None:
                batch.is_sealed = True
                self._wake()

    def clear(self) -> None:
        """Delete all that waits."""
        with self._changed:
            for batch in self._waiting:
                batch.path.unlink(missing_ok=True)
            self._waiting.clear()
            self._open.clear()

    def _begin(self, target: Target) -> Batch:
        self._folder.mkdir(parents=True, exist_ok=True)
        began = time.time()
        path = self._folder / f"{int(began * 1000):013d}-{uuid.uuid4().hex}.batch"
        path.write_bytes(json.dumps({"began": began, "target": asdict(target)}).encode() + b"\n")
        return Batch(path, target, began)

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="firehose", daemon=True)
            self._thread.start()
        self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                first = min(self._waiting, key=lambda batch: batch.due, default=None)
                wait = None if first is None else first.due - time.time()
                if first is None or (wait is not None and wait > 0):
                    self._changed.wait(wait)
                    continue
                first.is_sealed = True
            try:
                self._deliver(first)
            except Exception:
                logger.exception("Firehose %s: %s is not written; trying again", first.target.stream, first.target.key)
                first.retry_at = time.time() + RETRY_SECONDS

    def _deliver(self, batch: Batch) -> None:
        target = batch.target
        content = batch.content()
        if content:
            body = gzip.compress(content, mtime=0) if target.is_gzip else content
            status = write_object(target, body)
            if status == 404:
                logger.error(
                    "Firehose %s: bucket %s does not exist, the records are lost", target.stream, target.bucket
                )
            elif status >= 300:
                logger.warning("Firehose %s: S3 answered %d; trying again", target.stream, status)
                batch.retry_at = time.time() + RETRY_SECONDS
                return
        with self._changed:
            if batch in self._waiting:
                self._waiting.remove(batch)
        batch.path.unlink(missing_ok=True)
        registry.mark_changed()


def write_object(target: Target, body: bytes) -> int:
    """Write the object as a request to S3 does, with its events; return S3's status."""
    from ministack.core.responses import request_scope
    from ministack.services import s3

    headers = {
        "content-type": "application/octet-stream",
        "content-length": str(len(body)),
        "host": "s3.localhost",
    }

    async def put() -> int:
        status, _, _ = await s3.handle_request(
            "PUT", f"/{target.bucket}/{target.key}", headers, body, {}, internal=True
        )
        return int(status)

    calls.record("s3", "PutObject", {"Bucket": target.bucket, "Key": target.key}, principal=target.role)
    with request_scope(target.account, target.region):
        return asyncio.run(put())
