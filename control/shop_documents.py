"""The documents that people write: rules, event types and placements, which the stack puts in force, and the gate's
policy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from contracts import documents, event_types, placements, schemas
from contracts.event_types import EventTypes
from contracts.placements import Placements
from control.actions import Action, Call
from control.connection import Connection
from control.ledger import Ledger

IN_FORCE, REFUSED = "IN_FORCE", "REFUSED"


@dataclass(frozen=True)
class Kind:
    """One kind of document: where it is written and where its form in force is, as keys of the artifacts bucket.

    `schema` names its schema in contracts.
    """

    name: str
    called: str
    source_key: str
    in_force_key: str
    schema: str
    notice: str
    """The key of its refusals in the ledger."""

    def checked(self, content: bytes, called: str) -> dict[str, Any]:
        """Return the document. Raises Unfit naming each field that is wrong."""
        document = documents.read_object(content, called, has_schema=True)
        schemas.check(document, self.schema, called)
        if self.name == "event-types":
            EventTypes.from_document(document, called)
        if self.name == "placements":
            Placements.from_document(document, called)
        return document


RULES = Kind("rules", "business rules", "rules/rules.json", "serving/rules.json", "rules", "RULES")
POLICY = Kind("policy", "policy of the gate", "policy/gate.json", "policy/gate.json", "policy", "POLICY")
KINDS = {
    kind.name: kind
    for kind in (
        RULES,
        Kind("event-types", "event types", event_types.SOURCE_KEY, event_types.KEY, "event_types", "EVENT_TYPES"),
        Kind("placements", "placements", placements.SOURCE_KEY, placements.KEY, "placements", "PLACEMENTS"),
    )
}
"""The documents that `apply_documents` puts in force, by name. The policy is read for each verdict instead."""


def in_force(connection: Connection, kind: Kind) -> dict[str, Any] | None:
    """The document in force, or None if there is none."""
    try:
        found = connection.client("s3").get_object(
            Bucket=connection.outputs["ArtifactsBucketName"], Key=kind.in_force_key
        )
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            return None
        raise
    return documents.read_object(found["Body"].read(), kind.in_force_key)


def publish(connection: Connection, kind: Kind, document: Mapping[str, Any]) -> Action:
    """Write a checked document where the stack reads it."""
    when = "from the next verdict on" if kind is POLICY else "within a minute, after a check by the stack"
    body = json.dumps(dict(document), indent=2, ensure_ascii=False).encode() + b"\n"
    bucket = connection.outputs["ArtifactsBucketName"]
    return Action(
        f"publish {kind.name}",
        f"Publish these {kind.called}?" if kind is not POLICY else f"Publish this {kind.called}?",
        (f"It replaces the whole document and is in force {when}.",),
        (Call("s3", "put_object", {"Bucket": bucket, "Key": kind.source_key, "Body": body}),),
        facts={"key": kind.source_key, "bytes": len(body)},
    )


def outcome(connection: Connection, ledger: Ledger, kind: Kind, etag: str) -> str | None:
    """Return IN_FORCE or REFUSED for the document that was written with this ETag, None if it is not known yet."""
    if ledger.item(kind.notice, f"NOTICE#{etag}"):
        return REFUSED
    s3, bucket = connection.client("s3"), connection.outputs["ArtifactsBucketName"]
    written = s3.head_object(Bucket=bucket, Key=kind.source_key)
    if kind is POLICY:
        return IN_FORCE
    try:
        applied = s3.head_object(Bucket=bucket, Key=kind.in_force_key)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "NotFound", "404"):
            return None
        raise
    return IN_FORCE if applied["LastModified"] >= written["LastModified"] else None
