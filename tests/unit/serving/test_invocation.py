"""Parsing of invocations: the valid requests, and the error messages for invalid ones."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serving import invocation as module
from serving.invocation import Filters, InvalidInvocation, Invocation, Related, Shard, from_body


def refusal(body: Any) -> Any:
    with pytest.raises(InvalidInvocation) as caught:
        from_body(body if isinstance(body, bytes) else json.dumps(body).encode())
    return caught.value.status, caught.value.field, caught.value.message


def test_fills_in_the_defaults_of_a_full_catalogue_request() -> None:
    assert from_body(b'{"userId": "42"}') == Invocation("42", 10, True, None)


def test_fills_in_the_defaults_of_a_candidate_request() -> None:
    body = b'{"userId": "42", "candidates": ["2", "1", "2"]}'
    assert from_body(body) == Invocation("42", None, False, ("2", "1", "2"))


def test_accepts_every_field() -> None:
    body = '{"userId": "ü", "candidates": ["2"], "numResults": 100, "excludeSeen": true}'.encode()
    assert from_body(body) == Invocation("ü", 100, True, ("2",))


def test_accepts_filters() -> None:
    body = {"userId": "1", "deny": ["a", "b", "a"], "categories": ["x"], "boosts": {"c": 2}, "categoryCaps": {"x": 0}}
    filters = Filters(("a", "b"), ("x",), {"c": 2.0}, {"x": 0})
    assert from_body(json.dumps(body).encode()) == Invocation("1", 10, True, None, filters)
    body = {"itemId": "1", "deny": ["a"]}
    assert from_body(json.dumps(body).encode()) == Related("1", 10, Filters(("a",)))


def test_accepts_a_shard() -> None:
    assert from_body(b'{"shard": 2, "shards": 3, "numResults": 50}') == Shard(2, 3, 50)
    assert from_body(b'{"shard": 0, "shards": 1}') == Shard(0, 1, 10)


@pytest.mark.parametrize(
    ("literal", "shown"),
    [("0", "0"), ("-1", "-1"), ('"x"', '"x"'), ('"10"', '"10"'), ("1.5", "1.5"), ("10.0", "10.0"), ("true", "true"),
     ("1000000000", "1000000000"), ("101", "101"), ("null", "null"), ("1e400", "Infinity"), ("[1]", "a list"),
     ("{}", "an object")],
)  # fmt: skip
def test_refuses_an_invalid_number_of_results(literal: Any, shown: Any) -> None:
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
    ],
)  # fmt: skip
def test_refuses_an_invalid_field(document: Any, field: str, message: str) -> None:
    assert refusal(document) == (400, field, message)


_USER_FIELDS = (
    "the fields are userId, numResults, excludeSeen, candidates, history, "
    "deny, categories, boosts, categoryCaps, fields"
)
_ITEM_FIELDS = "the fields are itemId, numResults, deny, categories, boosts, categoryCaps, fields"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"userId": "42", "numresults": 3}, f'"numresults" is not a field; {_USER_FIELDS}'),
        ({"userId": "4", "itemId": "5"}, f'"userId" is not a field; {_ITEM_FIELDS}'),
        ({"userId": "4", "shard": 0}, '"userId" is not a field; the fields are shard, shards, numResults'),
        ({"itemId": ""}, "itemId must have 1 to 256 characters, not 0"),
        ({"itemId": 7}, "itemId must be a string, not a number"),
        ({"shard": 0}, "shards is missing"),
        ({"shards": 3}, "shard is missing"),
        ({"shards": 0, "shard": 0}, "shards must be an integer from 1 to 100000, not 0"),
        ({"shards": 3, "shard": 3}, "shard must be an integer from 0 to 2, not 3"),
        ({"userId": "4", "deny": "x"}, "deny must be a list of item ids, not a string"),
        ({"userId": "4", "deny": ["x"] * 1001}, "deny must hold at most 1000 item ids, not 1001"),
        ({"userId": "4", "deny": ["x", 1]}, "deny[1] must be a string, not a number"),
        ({"userId": "4", "deny": None}, "deny must be a list of item ids, not null"),
        ({"userId": "4", "categories": ["a"] * 101}, "categories must hold at most 100 categories, not 101"),
        ({"userId": "4", "categories": ["\ud800"]}, "categories[0] is not valid Unicode"),
        ({"userId": "4", "boosts": []}, "boosts must be an object, not a list"),
        ({"userId": "4", "boosts": {"a": 0}}, 'boosts["a"] must be a number above 0 and at most 100, not 0'),
        ({"userId": "4", "boosts": {"a": 101}}, 'boosts["a"] must be a number above 0 and at most 100, not 101'),
        ({"userId": "4", "boosts": {"a": True}}, 'boosts["a"] must be a number above 0 and at most 100, not true'),
        (
            {"userId": "4", "boosts": dict.fromkeys(map(str, range(1001)))},
            "boosts must hold at most 1000 entries, not 1001",
        ),
        ({"userId": "4", "categoryCaps": {"a": -1}}, 'categoryCaps["a"] must be an integer from 0 to 100, not -1'),
        ({"userId": "4", "categoryCaps": {"a": 1.5}}, 'categoryCaps["a"] must be an integer from 0 to 100, not 1.5'),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_names_the_invalid_field(document: Any, message: str) -> None:
    field = re.match(r'"?(\w+)', message)
    assert field is not None
    assert refusal(document) == (400, field[1], message)


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        (b"", None, "the body is empty; a JSON object is expected"),
        (b" \n", None, "the body is empty; a JSON object is expected"),
        (b"null", None, "the body must be a JSON object, not null"),
        (b'[{"userId": "42"}]', None, "the body must be a JSON object, not a list"),
        (b'"42"', None, "the body must be a JSON object, not a string"),
        (b"true", None, "the body must be a JSON object, not a boolean"),
        (b"1" * 5000, None, "the body must be a JSON object, not a number"),
        (b'{"userId": "42"', None, "the body is not JSON: Expecting ',' delimiter at line 1 column 16"),
        (b'{"userId": "42"} {}', None, "the body is not JSON: Extra data at line 1 column 18"),
        (
            b'{"userId": "42", "numResults": NaN}',
            "numResults",
            "numResults must be an integer from 1 to 100, not NaN",
        ),
        (b'{"userId": "\xff"}', None, "the body is not UTF-8: byte 12 cannot be decoded"),
        (b'{"userId": "1", "userId": "2"}', "userId", '"userId" is given twice'),
        (b"[" * 100_000, None, "the body is nested too deeply"),
        (b'{"a":' * 100_000, None, "the body is nested too deeply"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_refuses_an_invalid_body(body: Any, field: str, message: str) -> None:
    assert refusal(body) == (400, field, message)


def test_refuses_a_byte_order_mark() -> None:
    status, field, message = refusal(b'\xef\xbb\xbf{"userId": "42"}')
    assert (status, field) == (400, None) and message.startswith("the body is not JSON: ")


def test_refuses_a_body_of_more_than_a_mebibyte() -> None:
    body = b'{"userId": "42"}'
    longest = from_body(body.ljust(1 << 20))
    assert isinstance(longest, Invocation) and longest.user_id == "42"
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
def test_any_body_is_a_valid_invocation_or_gets_a_message_that_can_be_sent(body: Any) -> None:
    try:
        invocation = from_body(body)
    except InvalidInvocation as refused:
        json.dumps([refused.field, refused.message], ensure_ascii=False).encode("utf-8")
    else:
        assert isinstance(invocation, Invocation) and 1 <= len(invocation.user_id) <= 256
        invocation.user_id.encode("utf-8")


VALUES = st.recursive(
    st.sampled_from(
        ["1", "10", "1.0", "-0", "1e2", "true", "null", "NaN", "123456789012345678901234", "9" * 5000, '"u"', '"u:1"',
         '"ü"', '"\\u0075"', '"\\ud83d\\ude00"', '"\\ud800"', '"a\tb"', '""', "[]", "{}", '{"a": 1}']
    ),
    lambda inner: st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]"),
    max_leaves=4,
)  # fmt: skip
NAMES = st.sampled_from(
    ['"userId"', '"numResults"', '"candidates"', '"boosts"', '"x"', '"user\\u0049d"', '"a:b"', '""']
)
BODIES = st.builds(
    lambda pairs, before, after: before + "{" + ", ".join(f"{name}: {value}" for name, value in pairs) + "}" + after,
    st.lists(st.tuples(NAMES, VALUES), max_size=4),
    st.sampled_from(["", " ", "\ufeff", "\x0b"]),
    st.sampled_from(["", "\n", ",", "{}"]),
)


def outcome(body: Any) -> Any:
    try:
        return from_body(body)
    except InvalidInvocation as refused:
        return refused.status, refused.field, refused.message


@settings(max_examples=500)
@example('{"userId": "u", "numResults": 123456789012345678901234}', None)
@example('{"userId": "u", "numResults": 3, "numResults": 4}', None)
@example('{"userId": "u", "user\\u0049d": "v"}', None)
@example('{"userId": "u", "boosts": {"a": 1, "a": 2}}', None)
@given(BODIES, st.none() | st.tuples(st.integers(0, 60), st.binary(min_size=1, max_size=1)))
@pytest.mark.slow
def test_the_fast_parser_is_used_only_if_the_strict_one_gives_the_same(text: Any, slip: Any) -> None:
    body = text.encode()
    if slip:
        body = body[: slip[0]] + slip[1] + body[slip[0] + 1 :]
    quick = outcome(body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_parse", module._parse_strictly)
        assert quick == outcome(body)
