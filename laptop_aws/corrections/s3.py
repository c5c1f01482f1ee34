"""S3: writes are durable before they are acknowledged, and EventBridge's events have AWS's fields."""

from __future__ import annotations

import contextlib
import contextvars
import json
import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ministack.services import s3

from laptop_aws.correction import corrects

logger = logging.getLogger("emulator")

_version_id: contextvars.ContextVar[str | None] = contextvars.ContextVar("_version_id", default=None)


@corrects(
    "ministack.services.s3:_fire_s3_event",
    source="2ab38cfade76",
    aws="an event of a versioned bucket names the version",
    ministack="leaves it out of what EventBridge gets",
    test="test_an_object_created_event_has_the_shape_of_aws",
)
def fire_event_with_version(stock: Any, *arguments: Any, **named: Any) -> None:
    _version_id.set(named.get("version_id"))
    try:
        stock(*arguments, **named)
    finally:
        _version_id.set(None)


@corrects(
    "ministack.services.eventbridge:_dispatch_event",
    source="d1bfe064f602",
    aws="the object in an event of a versioned bucket has its version-id, and the detail has no event-version",
    ministack="the reverse",
    test="test_an_object_created_event_has_the_shape_of_aws",
)
def dispatch_event(stock: Any, event: dict[str, Any], view: Any = None) -> None:
    if event.get("Source") == "aws.s3" and view is None:
        detail = json.loads(event["Detail"])
        detail.pop("event-version", None)
        if _version_id.get():
            detail["object"]["version-id"] = _version_id.get()
        event = {**event, "Detail": json.dumps(detail)}
    stock(event, view)


# ---- what is acknowledged is kept ----


class _Write:
    """A request that changes S3: its first disk error, and its events, which wait until the write is durable."""

    def __init__(self) -> None:
        self.failure: OSError | None = None
        self.events: list[Callable[[], None]] = []


_write: contextvars.ContextVar[_Write | None] = contextvars.ContextVar("_write", default=None)


_kept = partial(
    corrects,
    aws="a write that is answered 200 is durable",
    ministack="answers 200 and logs a warning when the disk is full; the object is gone after a restart",
    test="test_an_object_that_cannot_be_kept_is_refused_and_the_earlier_one_stays",
)


@_kept("ministack.services.s3:handle_request", source="0856144f19e7")
async def handle_request(
    stock: Any, method: str, path: str, headers: dict[str, str], *arguments: Any, **named: Any
) -> Any:
    """Answers 503 if the write fails; the object is then unchanged, and no event is sent."""
    if method in ("GET", "HEAD"):
        return await stock(method, path, headers, *arguments, **named)
    write = _Write()
    restore = _remember(*s3._parse_bucket_key(path, headers))
    reset = _write.set(write)
    try:
        response = await stock(method, path, headers, *arguments, **named)
    finally:
        _write.reset(reset)
    if write.failure is None:
        for send in write.events:
            send()
        return response
    restore()
    reason = write.failure.strerror or str(write.failure)
    logger.error("S3 %s %s refused: %s", method, path, reason)
    message = f"The request was not carried out because it cannot be saved: {reason}. Free some space, then try again."
    return s3._error("ServiceUnavailable", message, 503)


def _remember(bucket_name: str, key: str) -> Callable[[], None]:
    """A function that restores the current object and its versions."""
    bucket = s3._buckets.get(bucket_name)
    if bucket is None or not key:
        return lambda: None
    current, versions = bucket["objects"].get(key), s3._object_versions.get((bucket_name, key))
    entries = None if versions is None else [dict(entry) for entry in versions]

    def restore() -> None:
        for table, name, value in (
            (bucket["objects"], key, current),
            (s3._object_versions, (bucket_name, key), entries),
        ):
            if value is None:
                table.pop(name, None)
            else:
                table[name] = value

    return restore


@_kept("ministack.services.s3:_atomic_write", source="24958052a85f")
def atomic_write(stock: Any, path: str, data: Any, **named: Any) -> None:
    try:
        stock(path, data, **named)
    except OSError as error:
        _note(error)
        raise


def _note(error: OSError) -> None:
    write = _write.get()
    if write is not None and write.failure is None:
        write.failure = error


@_kept("ministack.services.s3:_persist_object", source="cb32b6ae8706")
def persist_object(stock: Any, bucket: str, key: str, record: Any) -> None:
    """Writes the new body and metadata to temporary files, then replaces both, so that they always match."""
    path = s3._object_disk_path(bucket, key)
    if path is None or not isinstance(record, dict):
        stock(bucket, key, record)
        return
    metadata = {**s3._object_meta_from_record(record), **s3._key_history_meta(bucket, key), "key": key}
    contents = {f"{path}.meta.json": json.dumps(metadata).encode()}
    if record.get("body") is not None:
        contents[path] = record["body"]
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _replace_all(contents)
        base = os.path.join(s3.DATA_DIR, s3.get_account_id(), bucket)  # noqa: PTH118
        s3._remove_key_files(s3._other_key_disk_path(base, key, path))
    except OSError as error:
        _note(error)
        logger.warning("S3 object %s/%s is not on disk: %s", bucket, key, error)
        return
    record["body"] = None


def _replace_all(contents: dict[str, bytes]) -> None:
    written: list[str] = []
    try:
        for path, content in contents.items():
            written.append(path)
            Path(f"{path}.tmp").write_bytes(content)
        for path in written:
            Path(f"{path}.tmp").replace(path)
    except OSError:
        for path in written:
            with contextlib.suppress(OSError):
                Path(f"{path}.tmp").unlink()
        raise


@_kept("ministack.services.s3:_fire_s3_event_async", source="d42619f0eb86")
def fire_event_once_kept(stock: Any, *arguments: Any, **named: Any) -> None:
    write = _write.get()
    if write is None:
        stock(*arguments, **named)
    else:
        context = contextvars.copy_context()
        write.events.append(lambda: context.run(stock, *arguments, **named))
