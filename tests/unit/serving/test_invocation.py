"""What the server refuses, and in which words."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invocation import InvalidInvocation, Invocation


def refusal(body):
    with pytest.raises(InvalidInvocation) as caught:
        Invocation.from_body(body if isinstance(body, bytes) else json.dumps(body).encode())
    return caught.value.status, caught.value.field, caught.value.message


def test_fills_in_the_defaults_of_a_full_catalogue_request():
    assert Invocation.from_body(b'{"userId": "42"}') == Invocation("42", 10, True, None)


def test_fills_in_the_defaults_of_a_candidate_request():
    body = b'{"userId": "42", "candidates": ["2", "1", "2"]}'
    assert Invocation.from_body(body) == Invocation("42", None, False, ("2", "1"))


def test_takes_every_field():
    body = '{"userId": "ü", "candidates": ["2"], "numResults": 100, "excludeSeen": true}'.encode()
    assert Invocation.from_body(body) == Invocation("ü", 100, True, ("2",))


@pytest.mark.parametrize(
    ("literal", "shown"),
    [("0", "0"), ("-1", "-1"), ('"x"', '"x"'), ('"10"', '"10"'), ("1.5", "1.5"), ("10.0", "10.0"), ("true", "true"),
     ("1000000000", "1000000000"), ("101", "101"), ("null", "null"), ("1e400", "Infinity"), ("[1]", "a list"),
     ("{}", "an object")],
)  # fmt: skip
def test_refuses_a_number_of_results(literal, shown):
    assert refusal(f'{{"userId": "42", "numResults": {literal}}}'.encode()) == (
        400,
        "numResults",
        f"numResults must be an integer from 1 to 100, not {shown}",
    )


@pytest.mark.parametrize(
    ("document", "field", "message"),
    [
        ({"numResults": 1}, "userId", "userId is missing"),
        ({"userId": ""}, "userId", "userId must have 1 to 256 characters, not 0"),
        ({"userId": "u" * 257}, "userId", "userId must have 1 to 256 characters, not 257"),
        ({"userId": 42}, "userId", "userId must be a string, not a number"),
        ({"userId": None}, "userId", "userId must be a string, not null"),
        ({"userId": "\ud800"}, "userId", "userId is not valid Unicode"),
        ({"userId": "42", "excludeSeen": "true"}, "excludeSeen", 'excludeSeen must be true or false, not "true"'),
        ({"userId": "42", "excludeSeen": 1}, "excludeSeen", "excludeSeen must be true or false, not 1"),
        ({"userId": "42", "excludeSeen": None}, "excludeSeen", "excludeSeen must be true or false, not null"),
        ({"userId": "42", "candidates": []}, "candidates", "candidates must hold 1 to 1000 item ids, not 0"),
        ({"userId": "4", "candidates": [""] * 1001}, "candidates", "candidates must hold 1 to 1000 item ids, not 1001"),
        ({"userId": "42", "candidates": None}, "candidates", "candidates must be a list of item ids, not null"),
        ({"userId": "42", "candidates": "1"}, "candidates", "candidates must be a list of item ids, not a string"),
        ({"userId": "42", "candidates": ["1", 2]}, "candidates", "candidates[1] must be a string, not a number"),
        ({"userId": "42", "candidates": [["1"]]}, "candidates", "candidates[0] must be a string, not a list"),
        ({"userId": "42", "candidates": ["\udfff"]}, "candidates", "candidates[0] is not valid Unicode"),
        (
            {"userId": "42", "numresults": 3},
            "numresults",
            '"numresults" is not a field; the fields are userId, numResults, excludeSeen, candidates',
        ),
    ],
)  # fmt: skip
def test_refuses_a_field(document, field, message):
    assert refusal(document) == (400, field, message)


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        (b"", None, "the body is empty; a JSON object is expected"),
        (b" \n", None, "the body is empty; a JSON object is expected"),
        (b"null", None, "the body must be a JSON object, not null"),
        (b'[{"userId": "42"}]', None, "the body must be a JSON object, not a list"),
        (b'"42"', None, "the body must be a JSON object, not a string"),
        (b"true", None, "the body must be a JSON object, not a boolean"),
        (b"1" * 5000, None, "the body is not JSON that can be read: a number has too many digits"),
        (b'{"userId": "42"', None, "the body is not JSON: Expecting ',' delimiter at line 1 column 16"),
        (b'{"userId": "42"} {}', None, "the body is not JSON: Extra data at line 1 column 18"),
        (b'{"userId": "42", "numResults": NaN}', None, "the body is not JSON: NaN is not a JSON value"),
        (b'{"userId": "\xff"}', None, "the body is not UTF-8: byte 12 cannot be decoded"),
        (b'{"userId": "1", "userId": "2"}', "userId", '"userId" is given twice'),
        (b"[" * 100_000, None, "the body is nested too deeply"),
        (b'{"a":' * 100_000, None, "the body is nested too deeply"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_refuses_a_body(body, field, message):
    assert refusal(body) == (400, field, message)


def test_refuses_a_byte_order_mark():
    status, field, message = refusal(b'\xef\xbb\xbf{"userId": "42"}')
    assert (status, field) == (400, None) and message.startswith("the body is not JSON: ")


def test_refuses_a_body_of_more_than_a_mebibyte():
    body = b'{"userId": "42"}'
    assert Invocation.from_body(body.ljust(1 << 20)).user_id == "42"
    assert refusal(body.ljust((1 << 20) + 1)) == (413, None, "the body is larger than 1048576 bytes")


@given(
    st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters()),
            lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["userId", "numResults", "x"]), inner),
            max_leaves=8,
        ).map(lambda value: json.dumps(value).encode()),
        st.fixed_dictionaries({"userId": st.text(st.characters())}).map(lambda value: json.dumps(value).encode()),
    )
)
def test_any_body_is_an_invocation_or_a_refusal_that_can_be_sent(body):
    try:
        invocation = Invocation.from_body(body)
    except InvalidInvocation as refused:
        json.dumps([refused.field, refused.message], ensure_ascii=False).encode("utf-8")
    else:
        assert 1 <= len(invocation.user_id) <= 256
        invocation.user_id.encode("utf-8")
