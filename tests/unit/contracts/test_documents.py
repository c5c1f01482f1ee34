"""JSON is read strictly, and errors name the document."""

from __future__ import annotations

import pytest

from contracts import documents, schemas, values
from contracts.documents import Unfit


@pytest.mark.fault("A07")
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "x.json is not JSON: Expecting property name enclosed in double quotes at line 1 column 2"),
        (b'{"a": {"b": 1, "b": 1}}', "x.json has the key 'b' twice"),
        (b'{"a": NaN}', "x.json is not JSON: NaN is not a JSON value"),
        (b'{"a": -Infinity}', "x.json is not JSON: -Infinity is not a JSON value"),
        (b"\xff", "x.json is not UTF-8: byte 0 cannot be decoded"),
        (b"\xef\xbb\xbf{}", "x.json is not JSON: it begins with a byte order mark"),
        (b"[" * 100_000, "x.json is nested too deeply"),
        (b'{"a": ' + b"1" * 5000 + b"}", "x.json: a must be a number within the range of a double, not a larger one"),
        (b'{"a": [{"b.c": 1' + b"0" * 400 + b"}]}",
         "x.json: a[0].b.c must be a number within the range of a double, not a larger one"),
        (b'{"a": {"b": -1e400}}', "x.json: a.b must be a number within the range of a double, not a larger one"),
        (b"1e400", "x.json must be a number within the range of a double, not a larger one"),
        (b'{"a": ["\\ud800"]}', "x.json: a[0] must be valid Unicode, without half of a surrogate pair"),
        (b'{"a": {"\\udfff": 1}}', "x.json: a must have keys of valid Unicode, without half of a surrogate pair"),
        (b'{"a":' * 101 + b"1" + b"}" * 101, "x.json is nested too deeply"),
        (b'{"a": ' + b"[" * 500 + b"]" * 500 + b"}", "x.json is nested too deeply"),
        (b"[1]", "x.json must be a JSON object, not a list"),
        (b"null", "x.json must be a JSON object, not null"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_refuses(content: bytes, reason: str) -> None:
    with pytest.raises(Unfit) as caught:
        documents.read_object(content, "x.json")
    assert caught.value.reasons == [reason]


@pytest.mark.parametrize("number", [b"1" + b"0" * 400, b"1e400", b"NaN", b"-Infinity"])
def test_the_field_of_a_number_that_no_double_holds_is_named_by_the_check(number: bytes) -> None:
    document = documents.read_object(b'{"floors": {"coverage": %s}}' % number, "policy/gate.json", has_schema=True)
    with pytest.raises(Unfit, match=r"^policy/gate\.json: floors\.coverage must be a number from 0 to 1, not "):
        schemas.check(document, "policy", "policy/gate.json")


@pytest.mark.parametrize("name", ["policy", "rules", "manifest", "evaluation", "bundle"])
def test_nesting_never_reaches_the_check(name: str) -> None:
    content = b'{"deny": %s}' % (b"[" * 500 + b"]" * 500)
    with pytest.raises(Unfit, match=r"^x\.json is nested too deeply$"):
        schemas.check(documents.read_object(content, "x.json", has_schema=True), name, "x.json")


def test_what_is_long_or_large_and_yet_valid_is_read() -> None:
    assert documents.read(b"[" * 100 + b"]" * 100, "x.json")
    assert documents.read(b"[%s]" % b",".join([b"[1]"] * 5000), "x.json") == [[1]] * 5000
    text = "\N{GRINNING FACE}"
    assert documents.read(f'{{"{text}": "\\ud83d\\ude00"}}', "x.json") == {text: text}
    assert documents.read(b'{"a": 1%s, "b": 1.7e308, "c": true}' % (b"0" * 308), "x.json")["a"] == 10**308


@pytest.mark.parametrize("text", ["\u0663", "1_000", " 1", "1.0", "", "+", "\u00b2", "9" * 19])
def test_an_integer_has_ascii_digits_alone(text: str) -> None:
    assert values.integer_in(text) is None
    assert values.integer_in("-12") == -12 and values.integer_in("+3") == 3
