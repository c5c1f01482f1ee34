"""The HTTP API accepts and refuses requests."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import urlencode

import pytest

from recommend.person import Person
from recommend.request import RankingRequest, RecommendationsRequest, RelatedRequest
from recommend.routes import route
from shared.refusal import InvalidRequest

JSON = {"content-type": "application/json"}

NOBODY = "userId and sessionId are missing; one of them says who asks"


def recommendations(query: Any = None, **event: Any) -> Any:
    return RecommendationsRequest.from_event(
        {"pathParameters": {"userId": "42"}, "queryStringParameters": query, **event}
    )


def related(query: Any = None, **event: Any) -> Any:
    return RelatedRequest.from_event({"pathParameters": {"itemId": "7"}, "queryStringParameters": query, **event})


def ranking(body: Any, **event: Any) -> Any:
    return RankingRequest.from_event({"headers": JSON, "body": body, **event})


def refusal(parse: Any, *arguments: Any, **keywords: Any) -> Any:
    with pytest.raises(InvalidRequest) as caught:
        parse(*arguments, **keywords)
    return caught.value.status, caught.value.field, caught.value.message


def test_recommendations_have_defaults() -> None:
    assert recommendations() == RecommendationsRequest(Person("42"), 10, "any")


def test_recommendations_take_the_query() -> None:
    request = recommendations({"numResults": "100", "excludeSeen": "false"})
    assert request.to_invocation("42") == {"userId": "42", "numResults": 100, "excludeSeen": False}


def test_a_query_parameter_of_somebody_else_is_left_alone() -> None:
    assert recommendations({"utm_source": "mail"}) == RecommendationsRequest(Person("42"), 10, "any")


@pytest.mark.parametrize(
    "value",
    ["0", "-1", "101", "1.5", "x", "", " 1", "+1", "true", "null", "1e2", "1000000000", "9" * 20, "1,2", "٣", "NaN"],
)
def test_refuses_a_number_of_results(value: Any) -> None:
    shown = {"٣": "\\u0663"}.get(value, value)
    assert refusal(recommendations, {"numResults": value}) == (
        400,
        "numResults",
        f"numResults must be an integer from 1 to 100, not {shown}",
    )


def test_takes_categories_with_commas_between() -> None:
    assert recommendations({"categories": "Drama, War ,Drama"}).categories == ("Drama", "War")
    assert related({"categories": "ü"}) == RelatedRequest("7", 10, ("ü",))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "categories must be names separated by commas, not "),
        ("a,,b", "categories must be names separated by commas, not a,,b"),
        ("a, ", "categories must be names separated by commas, not a, "),
        (",".join(["a"] * 101), "categories must hold at most 100 names, not 101"),
    ],
)
def test_refuses_categories(value: Any, message: str) -> None:
    for parse in (recommendations, related):
        assert refusal(parse, {"categories": value}) == (400, "categories", message)


ANY_ID = [
    "a/b",
    "a,b",
    "a b",
    "a+b",
    "50%",
    "a?b",
    "a#b",
    "a&b=c",
    "..",
    ".",
    "a%2Fb",
    "\N{PARTY POPPER}",
    "日本",
    "x" * 256,
]


@pytest.mark.parametrize("text", ANY_ID)
def test_takes_any_id_and_any_category_in_the_query(text: str) -> None:
    def event(path: str, **query: str) -> Any:
        raw = urlencode([*query.items(), ("category", text), ("category", "Drama"), ("categories", "War,Drama")])
        return {"routeKey": f"GET {path}", "rawPath": path, "rawQueryString": raw, "requestContext": {}}

    asked = event("/recommendations", userId=text, numResults="3")
    assert route(asked) == "recommendations"
    assert RecommendationsRequest.from_event(asked) == RecommendationsRequest(
        Person(text), 3, "any", (text, "Drama", "War")
    )
    asked = event("/related", itemId=text)
    assert route(asked) == "related"
    assert RelatedRequest.from_event(asked) == RelatedRequest(text, 10, (text, "Drama", "War"))


@pytest.mark.parametrize("path", ["/recommendations", "/dev/recommendations"])
def test_the_query_form_has_a_route_of_its_own(path: str) -> None:
    stage = "dev" if path.startswith("/dev") else "$default"
    event = {
        "rawPath": path,
        "rawQueryString": "userId=7",
        "requestContext": {"http": {"method": "GET"}, "stage": stage},
    }
    assert route(event) == "recommendations"
    assert RecommendationsRequest.from_event(event).person == Person("7")


@pytest.mark.parametrize(
    ("query", "refused"),
    [
        ("", ("userId", NOBODY)),
        ("userId=", ("userId", "userId must have 1 to 256 characters, not 0")),
        ("userId=a&userId=b", ("userId", "userId is given twice")),
        ("userId=%FF", (None, "the query is not UTF-8")),
        ("userId=a&numResults=1&numResults=2", ("numResults", "numResults must be an integer from 1 to 100, not 1,2")),
        ("userId=a&category=", ("category", "category must be a name, not empty")),
        (
            "userId=a&" + "&".join(f"category={n}" for n in range(101)),
            ("categories", "categories must hold at most 100 names, not 101"),
        ),
    ],
)
def test_refuses_a_query(query: str, refused: Any) -> None:
    event = {"routeKey": "GET /recommendations", "rawPath": "/recommendations", "rawQueryString": query}
    assert refusal(RecommendationsRequest.from_event, event) == (400, *refused)


@pytest.mark.parametrize(
    ("item", "message"),
    [("", "itemId must have 1 to 256 characters, not 0"), ("i" * 257, "itemId must have 1 to 256 characters, not 257")],
)
def test_refuses_an_item(item: Any, message: str) -> None:
    assert refusal(related, None, pathParameters={"itemId": item}) == (400, "itemId", message)


def test_finds_the_item_in_the_path_where_the_parameters_are_missing() -> None:
    event = {"rawPath": "/items/a%2Fb/related", "requestContext": {"http": {"method": "GET"}, "stage": "$default"}}
    assert route(event) == "related"
    assert RelatedRequest.from_event(event).item_id == "a/b"


@pytest.mark.parametrize(
    ("value", "sent"), [("none", False), ("bought", "bought"), ("any", True), ("true", True), ("false", False)]
)
def test_takes_what_to_leave_out_and_asks_by_the_names_that_older_servers_know(value: str, sent: Any) -> None:
    assert recommendations({"excludeSeen": value}).to_invocation("42")["excludeSeen"] == sent


@pytest.mark.parametrize("value", ["", "1", "True", "yes", "true,true", "Bought", "any,none", "seen"])
def test_refuses_exclude_seen(value: Any) -> None:
    message = f"excludeSeen must be none, bought, any, true or false, not {value}"
    assert refusal(recommendations, {"excludeSeen": value}) == (400, "excludeSeen", message)


def test_the_path_parameter_is_not_decoded_again() -> None:
    assert recommendations(pathParameters={"userId": "a%20b/ü"}).person == Person("a%20b/ü")


@pytest.mark.parametrize(
    ("path", "stage", "user_id"),
    [
        ("/users/42/recommendations", "$default", "42"),
        ("/dev/users/42/recommendations", "dev", "42"),
        ("/users/a%2Fb%20%C3%BC/recommendations", "$default", "a/b ü"),
    ],
)
@pytest.mark.parametrize("parameters", [None, {}])
def test_finds_the_user_in_the_path_where_the_parameters_are_missing(
    path: Any, stage: Any, user_id: str, parameters: Any
) -> None:
    event = {"rawPath": path, "requestContext": {"stage": stage}, "pathParameters": parameters}
    assert RecommendationsRequest.from_event(event).person == Person(user_id)


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({}, NOBODY),
        ({"pathParameters": None, "rawPath": None, "requestContext": None}, NOBODY),
        ({"pathParameters": {"userId": None}}, "userId must be a string, not null"),
        ({"pathParameters": {"userId": ""}}, "userId must have 1 to 256 characters, not 0"),
        ({"pathParameters": {"userId": "u" * 257}}, "userId must have 1 to 256 characters, not 257"),
    ],
)
def test_refuses_a_path_without_a_user(event: Any, message: str) -> None:
    assert refusal(RecommendationsRequest.from_event, event) == (400, "userId", message)


def test_a_ranking_counts_duplicates_once() -> None:
    request = ranking('{"userId": "42", "inputList": ["2", "1", "2"]}')
    assert request == RankingRequest("42", ("2", "1"))
    assert request.to_invocation() == {"userId": "42", "candidates": ["2", "1"], "excludeSeen": False}


def test_a_body_in_base64_is_decoded() -> None:
    body = base64.b64encode('{"userId": "ü", "inputList": ["1"]}'.encode()).decode()
    assert ranking(body, isBase64Encoded=True) == RankingRequest("ü", ("1",))


@pytest.mark.parametrize("body", ["not base64!", "abc", "ÿÿÿÿ"])
def test_refuses_a_body_that_is_not_the_base64_it_claims_to_be(body: Any) -> None:
    assert refusal(ranking, body, isBase64Encoded=True) == (
        400,
        None,
        "the body is marked as base64 but cannot be decoded",
    )


@pytest.mark.parametrize(
    "headers", [{"Content-Type": "application/json"}, {"content-type": "APPLICATION/JSON; charset=utf-8"}]
)
def test_takes_json_however_it_is_spelled(headers: Any) -> None:
    assert ranking('{"userId": "42", "inputList": ["1"]}', headers=headers).user_id == "42"


@pytest.mark.parametrize("headers", [None, {}, {"content-type": "text/plain"}, {"content-type": ""}, {"accept": "*/*"}])
def test_refuses_other_content_types(headers: Any) -> None:
    status, field, message = refusal(ranking, '{"userId": "42", "inputList": ["1"]}', headers=headers)
    assert (status, field) == (415, None)
    assert message.startswith("the content type must be application/json; it is ")


@pytest.mark.parametrize(
    ("document", "field", "message"),
    [
        ({"inputList": ["1"]}, "userId", "userId is missing"),
        ({"userId": 42, "inputList": ["1"]}, "userId", "userId must be a string, not a number"),
        ({"userId": True, "inputList": ["1"]}, "userId", "userId must be a string, not a boolean"),
        ({"userId": "", "inputList": ["1"]}, "userId", "userId must have 1 to 256 characters, not 0"),
        ({"userId": "\udc00", "inputList": ["1"]}, "userId", "userId is not valid Unicode"),
        ({"userId": "42"}, "inputList", "inputList is missing"),
        ({"userId": "42", "inputList": None}, "inputList", "inputList must be a list of item ids, not null"),
        ({"userId": "42", "inputList": {"1": 1}}, "inputList", "inputList must be a list of item ids, not an object"),
        ({"userId": "42", "inputList": []}, "inputList", "inputList must hold 1 to 1000 item ids, not 0"),
        ({"userId": "42", "inputList": ["1"] * 1001}, "inputList", "inputList must hold 1 to 1000 item ids, not 1001"),
        ({"userId": "42", "inputList": ["1", 2]}, "inputList", "inputList[1] must be a string, not a number"),
        ({"userId": "42", "inputList": ["\ud800"]}, "inputList", "inputList[0] is not valid Unicode"),
        (
            {"userId": "42", "inputList": ["1"], "numResults": 3},
            "numResults",
            '"numResults" is not a field; the fields are userId, inputList, fields',
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_refuses_a_field(document: Any, field: str, message: str) -> None:
    assert refusal(ranking, json.dumps(document)) == (400, field, message)


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        (None, None, "the body is empty; a JSON object is expected"),
        ("", None, "the body is empty; a JSON object is expected"),
        ("null", None, "the body must be a JSON object, not null"),
        ("[]", None, "the body must be a JSON object, not a list"),
        ("{", None, "the body is not JSON: Expecting property name enclosed in double quotes at line 1 column 2"),
        ('{"userId": NaN}', "userId", "userId must be a string, not a number"),
        ('{"userId": 1%s}' % ("0" * 400), "userId", "userId must be a string, not a number"),
        ('{"userId": "1", "inputList": [%s]}' % ("9" * 5000), "inputList",
         "inputList[0] must be a string, not a number"),
        ('{"userId": "1", "userId": "2"}', "userId", '"userId" is given twice'),
        ("[" * 100_000, None, "the body is nested too deeply"),
        ('{"userId": %s}' % ("[" * 101 + "]" * 101), None, "the body is nested too deeply"),
        ("1" * 5000, None, "the body must be a JSON object, not a number"),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_refuses_a_body(body: Any, field: str, message: str) -> None:
    assert refusal(ranking, body) == (400, field, message)


def test_refuses_a_byte_order_mark() -> None:
    status, field, message = refusal(ranking, '\ufeff{"userId": "42", "inputList": ["1"]}')
    assert (status, field) == (400, None) and message.startswith("the body is not JSON: ")


def test_refuses_bytes_that_are_not_utf_8() -> None:
    body = base64.b64encode(b'{"userId": "\xff"}').decode()
    message = "the body is not UTF-8: byte 12 cannot be decoded"
    assert refusal(ranking, body, isBase64Encoded=True) == (400, None, message)


@pytest.mark.parametrize("encoded", [False, True])
def test_refuses_a_body_of_more_than_a_mebibyte(encoded: Any) -> None:
    def wire(text: Any) -> Any:
        return base64.b64encode(text.encode()).decode() if encoded else text

    body = '{"userId": "42", "inputList": ["1"]}'
    assert ranking(wire(body.ljust(1 << 20)), isBase64Encoded=encoded).user_id == "42"
    message = "the body is larger than 1048576 bytes"
    assert refusal(ranking, wire(body.ljust((1 << 20) + 1)), isBase64Encoded=encoded) == (413, None, message)
    assert refusal(ranking, wire(body.ljust(6 << 20)), isBase64Encoded=encoded) == (413, None, message)


def test_the_size_of_a_body_is_counted_in_bytes() -> None:
    assert refusal(ranking, '{"userId": "' + "ü" * (1 << 19) + '"}')[0] == 413


def http(method: Any, path: Any, stage: Any = "$default") -> Any:
    return {"routeKey": "$default", "rawPath": path, "requestContext": {"http": {"method": method}, "stage": stage}}


@pytest.mark.parametrize(
    ("event", "name"),
    [
        ({"routeKey": "GET /users/{userId}/recommendations"}, "recommendations"),
        ({"routeKey": "POST /rankings"}, "rankings"),
        ({"routeKey": "GET /health"}, "health"),
        (http("GET", "/users/42/recommendations"), "recommendations"),
        (http("GET", "/dev/users/42/recommendations", "dev"), "recommendations"),
        (http("POST", "/rankings"), "rankings"),
        (http("GET", "/health"), "health"),
    ],
)
def test_finds_the_route(event: Any, name: str) -> None:
    assert route(event) == name


@pytest.mark.parametrize(
    ("event", "status", "code"),
    [
        ({}, 404, "NotFound"),
        ({"routeKey": None, "requestContext": None, "rawPath": None}, 404, "NotFound"),
        (http("GET", "/users/42"), 404, "NotFound"),
        (http("GET", "/"), 404, "NotFound"),
        (http("POST", "/users/42/recommendations"), 405, "MethodNotAllowed"),
        (http("GET", "/rankings"), 405, "MethodNotAllowed"),
    ],
)
def test_refuses_other_routes(event: Any, status: int, code: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        route(event)
    assert (caught.value.status, caught.value.code) == (status, code)
