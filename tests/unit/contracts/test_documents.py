"""JSON is read strictly, and errors name the document."""

from __future__ import annotations

import pytest

from contracts import documents, schemas
from contracts.documents import Unfit


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "x.json is not JSON: Expecting property name enclosed in double quotes at line 1 column 2"),
        (b'{"a": {"b": 1, "b": 1}}', "x.json has the key 'b' twice"),
        (b'{"a": NaN}', "x.json is not JSON: NaN is not a JSON value"),
        (b'{"a": -Infinity}', "x.json is not JSON: -Infinity is not a JSON value"),
        (b"\xff", "x.json is not UTF-8: byte 0 cannot be decoded"),
        (b"\xef\xbb\xbf{}", "x.json is not JSON: Unexpected UTF-8 BOM (decode using utf-8-sig) at line 1 column 1"),
        (b"[" * 100_000, "x.json is nested too deeply"),
        (b'{"a": ' + b"1" * 5000 + b"}", "x.json is not JSON that can be read: a number has too many digits"),
        (b"[1]", "x.json must be a JSON object, not a list"),
        (b"null", "x.json must be a JSON object, not null"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refuses(content: bytes, reason: str) -> None:
    with pytest.raises(Unfit) as caught:
        documents.read_object(content, "x.json")
    assert caught.value.reasons == [reason]


@pytest.mark.parametrize("number", [b"1" + b"0" * 400, b"1e400", b"NaN", b"-Infinity"])
def test_the_field_of_a_number_that_no_double_holds_is_named_by_the_check(number: bytes) -> None:
    document = documents.read_object(b'{"floors": {"coverage": %s}}' % number, "policy/gate.json", has_schema=True)
    with pytest.raises(Unfit, match=r"^policy/gate\.json: floors\.coverage must be a number from 0 to 1, not "):
        schemas.check(document, "policy", "policy/gate.json")
