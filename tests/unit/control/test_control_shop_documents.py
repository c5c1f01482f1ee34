"""Documents that people write: their check, the call that publishes them, and what became of them."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from contracts.documents import Unfit
from control import shop_documents
from control.connection import Connection
from control.ledger import Ledger
from control.shop_documents import IN_FORCE, KINDS, POLICY, REFUSED, RULES, Kind

FIRST, SECOND = (datetime(2026, 11, 29, 10, minute, tzinfo=UTC) for minute in (0, 1))


class Bucket:
    """The artifacts bucket: objects by key, as content and time."""

    def __init__(self, **objects: tuple[bytes, datetime]) -> None:
        self.objects = {key.replace("__", "/").replace("_json", ".json"): value for key, value in objects.items()}
        self.outputs = {"ArtifactsBucketName": "artifacts"}

    def client(self, service: str) -> Any:
        assert service == "s3"
        return self

    def _found(self, key: str, operation: str, code: str) -> tuple[bytes, datetime]:
        if key not in self.objects:
            raise ClientError({"Error": {"Code": code}}, operation)
        return self.objects[key]

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        return {"Body": io.BytesIO(self._found(Key, "GetObject", "NoSuchKey")[0])}

    def head_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        return {"LastModified": self._found(Key, "HeadObject", "404")[1]}


class Notices:
    """A ledger with one notice of a refusal."""

    def item(self, pk: str, sk: str) -> dict[str, Any]:
        return {"pk": pk} if (pk, sk) == ("RULES", "NOTICE#bad") else {}


def connection(bucket: Bucket) -> Connection:
    return cast(Connection, bucket)


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        (RULES, {"schemaVersion": "1.0", "deny": ["42"]}),
        (KINDS["event-types"], {"schemaVersion": "1.0", "types": {"view": {}}}),
        (KINDS["placements"], {"schemaVersion": "1.0", "placements": {"home": {"numResults": 20}}}),
        (POLICY, {"better": {"confidence": 0.9}}),
    ],
    ids=lambda value: value.name if isinstance(value, Kind) else "",
)
def test_a_good_document_is_returned_as_it_is(kind: Kind, document: dict[str, Any]) -> None:
    assert kind.checked(json.dumps(document).encode(), "a.json") == document


@pytest.mark.parametrize(
    ("kind", "content", "words"),
    [
        (RULES, b'{"schemaVersion": "1.0", "dney": ["42"]}', "dney"),
        (RULES, b"{", "a.json is not JSON"),
        (KINDS["placements"], b'{"schemaVersion": "1.0", "placements": {"home": {"numResults": 2000}}}', "numResults"),
        (KINDS["event-types"], b'{"schemaVersion": "1.0", "types": {"view": {"outcome": "love"}}}', "outcome"),
        (POLICY, b'{"floors": {"coverage": 1.5}}', "floors.coverage must be a number from 0 to 1, not 1.5"),
    ],
)
def test_a_wrong_document_names_what_is_wrong(kind: Kind, content: bytes, words: str) -> None:
    with pytest.raises(Unfit, match=words):
        kind.checked(content, "a.json")


def test_publishing_writes_the_whole_document_where_the_stack_reads_it() -> None:
    action = shop_documents.publish(connection(Bucket()), RULES, {"schemaVersion": "1.0", "deny": ["é"]})
    (call,) = action.calls
    assert (str(call), call.parameters["Bucket"], call.parameters["Key"]) == (
        "s3 put-object",
        "artifacts",
        "rules/rules.json",
    )
    assert json.loads(call.parameters["Body"]) == {"schemaVersion": "1.0", "deny": ["é"]}
    assert action.name == "publish rules"


def test_what_is_in_force_is_read_or_there_is_none() -> None:
    there = connection(Bucket(serving__rules_json=(b'{"deny": ["42"]}', FIRST)))
    assert shop_documents.in_force(there, RULES) == {"deny": ["42"]}
    assert shop_documents.in_force(there, POLICY) is None


def test_a_document_is_in_force_when_the_stack_has_copied_it_after_it_was_written() -> None:
    ledger = cast(Ledger, Notices())

    def outcome(bucket: Bucket, etag: str = "good") -> str | None:
        return shop_documents.outcome(connection(bucket), ledger, RULES, etag)

    written = {"rules__rules_json": (b"{}", SECOND)}
    assert outcome(Bucket(**written)) is None
    assert outcome(Bucket(**written, serving__rules_json=(b"{}", FIRST))) is None
    assert outcome(Bucket(**written, serving__rules_json=(b"{}", SECOND))) == IN_FORCE
    assert outcome(Bucket(**written), "bad") == REFUSED
