"""The S3 event that announces a dataset version. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from contracts.names import MANIFEST_KEY
from contracts.values import shown
from shared.errors import InvalidInput


@dataclass(frozen=True)
class Announcement:
    """The location of a written manifest, and the dataset version in its key."""

    bucket: str
    key: str
    version: str


def from_event(event: Any, data_bucket: str) -> Announcement:
    """Read an EventBridge "Object Created" event. Raises InvalidInput for any other source, bucket or key."""
    if not isinstance(event, dict) or not isinstance(event.get("detail"), dict):
        raise InvalidInput("the event must be an EventBridge event with an object in detail")
    if event.get("source") != "aws.s3" or event.get("detail-type") != "Object Created":
        raise InvalidInput(
            "the event must be aws.s3 'Object Created', "
            f"not {shown(event.get('source'))} {shown(event.get('detail-type'))}"
        )
    bucket = _part(event["detail"], "bucket", "name")
    key = _part(event["detail"], "object", "key")
    if bucket != data_bucket:
        raise InvalidInput(f"detail.bucket.name must be {data_bucket}, not {shown(bucket)}")
    match = MANIFEST_KEY.fullmatch(key)
    if match is None:
        raise InvalidInput(f"detail.object.key must be datasets/<version>/manifest.json, not {shown(key)}")
    return Announcement(bucket, key, match.group(1))


def _part(detail: dict[str, Any], name: str, field: str) -> str:
    part = detail.get(name)
    value = part.get(field) if isinstance(part, dict) else None
    if not isinstance(value, str):
        raise InvalidInput(f"detail.{name}.{field} must be a string, not {shown(value)}")
    return value
