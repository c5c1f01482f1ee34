"""Firehose: records wait on disk, and many of them become one object in S3."""

from __future__ import annotations

import base64
import binascii
import time
import uuid
from functools import partial
from typing import Any

from ministack.core.responses import error_response_json, get_account_id, get_region, json_response
from ministack.services import firehose

from laptop_aws import registry
from laptop_aws.correction import corrects
from laptop_aws.firehose_buffers import MEGABYTE, Buffers, Target

RECORD_BYTES = 1000 << 10
BATCH_BYTES = 4 * MEGABYTE

Stream = dict[str, Any]
_buffers: Buffers | None = None

_buffered = partial(
    corrects,
    aws="records wait for the size or the interval of BufferingHints, and become one object, compressed, whose prefix "
    "has the time of the oldest; what is acknowledged is not lost",
    ministack="writes an object for each record, not compressed, and keeps all records in its state",
    test="test_records_that_wait_become_one_compressed_object",
)


def buffers() -> Buffers:
    """The buffers of this host."""
    global _buffers
    if _buffers is None:
        _buffers = Buffers(registry.config().root / "firehose")
    return _buffers


def register() -> None:
    """Lets the host write what waited when it ended."""
    registry.on_ready(lambda: buffers().recover())


@_buffered("ministack.services.firehose:_HANDLERS[PutRecord]", source="6a7ed0471aef")
def put_record(stock: Any, data: dict[str, Any]) -> Any:
    stream = firehose._streams.get(data.get("DeliveryStreamName", ""))
    if stream is None or not _is_plain(stream):
        return stock(data)
    answer = _put(stream, [data.get("Record", {})])
    return answer if isinstance(answer, tuple) else json_response({**answer[0], "Encrypted": _is_encrypted(stream)})


@_buffered("ministack.services.firehose:_HANDLERS[PutRecordBatch]", source="5e868d2aec51")
def put_record_batch(stock: Any, data: dict[str, Any]) -> Any:
    stream = firehose._streams.get(data.get("DeliveryStreamName", ""))
    records = data.get("Records", [])
    if stream is None or not _is_plain(stream) or not 0 < len(records) <= 500:
        return stock(data)
    answer = _put(stream, records)
    if isinstance(answer, tuple):
        return answer
    return json_response({"FailedPutCount": 0, "Encrypted": _is_encrypted(stream), "RequestResponses": answer})


@corrects(
    "ministack.services.firehose:_resolve_dest_type_and_config",
    source="5626034defbc",
    aws="BufferingHints of a template are numbers",
    ministack="keeps the text of a parameter",
    test="test_a_stream_of_a_template_has_what_it_says",
)
def destination(stock: Any, data: dict[str, Any]) -> tuple[Any, Any]:
    kind, config = stock(data)
    if config and "BufferingHints" in config:
        hints = {name: int(value) for name, value in config["BufferingHints"].items()}
        config = {**config, "BufferingHints": hints}
    return kind, config


@_buffered("ministack.services.firehose:_HANDLERS[DeleteDeliveryStream]", source="ee690834a6f5")
def delete_stream(stock: Any, data: dict[str, Any]) -> Any:
    """Write the records that wait before the stream goes."""
    buffers().seal(get_account_id(), get_region(), data.get("DeliveryStreamName", ""))
    return stock(data)


@_buffered("ministack.services.firehose:_delete_delivery_stream", source="ee690834a6f5")
def delete_stream_of_a_stack(stock: Any, data: dict[str, Any]) -> Any:
    """CloudFormation calls the function itself."""
    return delete_stream(stock, data)


@_buffered("ministack.services.firehose:reset", source="e24aef1441d2")
def reset(stock: Any) -> None:
    buffers().clear()
    stock()


def _is_plain(stream: Stream) -> bool:
    """True if the records go to S3 as they are."""
    parts = ("ProcessingConfiguration", "DynamicPartitioningConfiguration", "DataFormatConversionConfiguration")
    return stream["status"] == "ACTIVE" and all(
        one["type"] in ("ExtendedS3", "S3")
        and not any((one["config"].get(part) or {}).get("Enabled", part in one["config"]) for part in parts)
        for one in stream["destinations"]
    )


def _is_encrypted(stream: Stream) -> bool:
    return (stream.get("encryption") or {}).get("Status") == "ENABLED"


def _put(stream: Stream, given: list[dict[str, Any]]) -> Any:
    """The entries of the answer, one for each record, or an error's response."""
    try:
        records = [base64.b64decode(one.get("Data", ""), validate=True) for one in given]
    except (binascii.Error, TypeError, ValueError):
        return firehose._invalid("Data must be base64.")
    if any(len(record) > RECORD_BYTES for record in records):
        return firehose._invalid("Record size exceeds 1,000 KiB limit.")
    if sum(map(len, records)) > BATCH_BYTES:
        return firehose._invalid("Records size exceeds 4 MB limit")
    try:
        for one in stream["destinations"]:
            buffers().put(_target(stream, one["config"]), records)
    except OSError as error:
        return error_response_json("ServiceUnavailableException", f"the records cannot be kept: {error.strerror}", 503)
    return [{"RecordId": firehose._record_id()} for _ in records]


def _target(stream: Stream, config: dict[str, Any]) -> Target:
    now = firehose._arrival_time(config)
    hints = config.get("BufferingHints") or {}
    is_gzip = config.get("CompressionFormat") == "GZIP"
    extension = config.get("FileExtension") or (".gz" if is_gzip else "")
    stamp = time.strftime("%Y-%m-%d-%H-%M-%S", now)
    name = f"{stream['name']}-{stream.get('version', 1)}-{stamp}-{uuid.uuid4()}{extension}"
    return Target(
        account=get_account_id(),
        region=get_region(),
        stream=stream["name"],
        bucket=firehose._s3_bucket_from_arn(config["BucketARN"]),
        key=firehose._evaluate_prefix(config.get("Prefix", ""), now) + name,
        is_gzip=is_gzip,
        seconds=float(hints.get("IntervalInSeconds", 300)),
        size=int(hints.get("SizeInMBs", 5)) * MEGABYTE,
        role=config.get("RoleARN", ""),
    )
