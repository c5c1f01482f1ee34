"""Lists are asked for, compared and explained; recent events are a model's history."""

import io
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from contracts.event_types import DEFAULT
from contracts.lists import part_of
from control import lists, people
from control.lists import Entry, NoList, Options, Person
from control.people import Event

SCRIPT = "<script>alert(1)</script>"


class Stack:
    """A connection to a stack whose objects are in memory."""

    outputs = {"ArtifactsBucketName": "artifacts", "EndpointName": "ncf-recommender"}  # noqa: RUF012
    stack = "shop"

    def __init__(self, objects: dict[str, Any] | None = None, answer: Any = None) -> None:
        self.objects, self.answer = objects or {}, answer
        self.requests: list[dict[str, Any]] = []

    def client(self, service: str) -> Any:
        return self

    def api_url(self) -> str:
        return "https://api.example"

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        if Key not in self.objects:
            raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        content = json.dumps(self.objects[Key]).encode()
        return {"Body": io.BytesIO(content), "ContentLength": len(content)}

    def invoke_endpoint(self, **request: Any) -> dict[str, Any]:
        self.requests.append(request)
        if isinstance(self.answer, ClientError):
            raise self.answer
        return {"Body": io.BytesIO(json.dumps(self.answer).encode())}


def stack(objects: dict[str, Any] | None = None, answer: Any = None) -> Any:
    return Stack(objects, answer)


def entries(*ids: str) -> list[Entry]:
    return [Entry(item_id, 1.0) for item_id in ids]


def test_two_lists_are_told_apart_by_signs_and_words() -> None:
    places, gone = lists.compare(entries("a", "b", "c", "d"), entries("a", "c", "b", "e"))
    assert [(place.entry.item_id, place.sign) for place in places] == [("a", "="), ("c", "↑1"), ("b", "↓1"), ("e", "+")]
    assert [entry.item_id for entry in gone] == ["d"]
    assert places[1].words == "1 higher than in the first list"
    assert lists.summary(places, gone) == "1 in the same place (=), 2 moved (↑↓), 1 new (+), 1 gone (−)."
    assert lists.summary(*lists.compare(entries("a"), entries("a"))) == "Both lists are the same."


def test_what_the_shop_leaves_out_is_explained_by_the_documents_in_force() -> None:
    rules = {"deny": ["a"], "categoryCaps": {"Drama": 2}}
    assert lists.why_absent("a", "", rules, ["a"]) == "denied by the rules"
    assert lists.why_absent("b", "", rules, ["b"]) == "withdrawn from the catalogue"
    assert lists.why_absent("c", "Crime|Drama", rules, []) == "the category Drama has at most 2 places"
    assert lists.why_absent("d", "Crime", {}, []) == ""


def test_a_visitor_is_asked_for_by_path_where_the_id_allows_it() -> None:
    assert lists.request_for(stack(), Person(session_id="v 1"), Options()).url.startswith(
        "https://api.example/sessions/v%201/recommendations?numResults=10"
    )
    url = lists.request_for(stack(), Person(session_id="a/b"), Options(categories=("A,B",))).url
    assert "/recommendations?sessionId=a%2Fb&" in url and "category=A%2CB" in url and "placement" not in url


def test_a_model_is_asked_as_the_shop_asks_it_with_or_without_rules() -> None:
    rules = {"schemaVersion": "1.0", "deny": ["x"], "boosts": {}}
    own = [{"itemId": "4", "ageSeconds": 2.0, "isBought": False}]
    with_rules = lists.invocation(Person("42"), Options(), own, rules)
    assert (with_rules["deny"], with_rules["history"], with_rules["excludeSeen"]) == (["x"], own, True)
    assert "boosts" not in with_rules and "schemaVersion" not in with_rules
    assert "deny" not in lists.invocation(Person("42"), Options(with_rules=False), own, rules)
    assert lists.invocation(Person(session_id="v"), Options(), [], {})["userId"] == "session:v"


def test_the_challenger_is_asked_by_its_variant() -> None:
    shop = stack(answer={"itemList": [{"itemId": SCRIPT, "score": 1}, "?"], "modelVersion": "r2", "source": "popular"})
    found = lists.from_model(shop, lists.OTHER, Person("42"), Options(), [], {})
    assert shop.requests[0]["TargetVariant"] == "Other"
    assert ([entry.item_id for entry in found.entries], found.version) == ([SCRIPT], "r2")


def test_a_model_that_is_absent_is_told_in_words_and_other_errors_are_raised() -> None:
    absent = ClientError({"Error": {"Code": "ValidationError", "Message": "Variant Other not found"}}, "InvokeEndpoint")
    with pytest.raises(NoList, match="The model Other does not answer: Variant Other not found"):
        lists.from_model(stack(answer=absent), lists.OTHER, Person("42"), Options(), [], {})
    denied = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "InvokeEndpoint")
    with pytest.raises(ClientError):
        lists.from_model(stack(answer=denied), lists.MODEL, Person("42"), Options(), [], {})


def test_a_stored_list_is_read_from_its_part() -> None:
    part = f"batch/j/lists/{part_of('42', 8):04d}.json.out"
    shop = stack(
        {
            "runs/r1/batch.json": {"prefix": "batch/j/lists/", "shards": 8, "writtenAt": "today"},
            part: {"users": {"42": [["7", 0.9], ["8", 0.5]]}, "itemFields": {"7": '{"title":"Heat"}', "8": "{"}},
        }
    )
    found = lists.from_batch(shop, "r1", Person("42"), Options(number=1))
    assert [(entry.item_id, entry.score, dict(entry.fields)) for entry in found.entries] == [
        ("7", 0.9, {"title": "Heat"})
    ]
    for person, run_id, words in (
        (Person(session_id="v"), "r1", "users alone"),
        (Person("42"), "r2", "Run r2 has no stored lists"),
    ):
        with pytest.raises(NoList, match=words):
            lists.from_batch(shop, run_id, person, Options())
    with pytest.raises(NoList, match="are the most here"):
        lists.document(shop, part, most=10)


def test_a_list_is_a_table_with_a_column_for_each_head() -> None:
    (row,) = lists.as_rows([Entry("1", 0.5, {"title": "Heat", "category": None}, ("7", "8"))])
    assert list(row) == list(lists.HEADS)
    assert list(row.values()) == [1, "Heat", "1", "", 0.5, "7 8"]


def test_what_is_known_of_an_item_fills_what_the_list_does_not_tell() -> None:
    (found,) = lists.with_fields([Entry("1", 1.0, {"title": "Heat", "category": None})], {"1": {"category": "Crime"}})
    assert dict(found.fields) == {"title": "Heat", "category": "Crime"}


def test_events_are_the_history_of_a_model_the_oldest_first_and_no_impressions() -> None:
    events = [Event(90.0, "b", "purchase"), Event(80.0, "a", "view"), Event(70.0, "c", "impression")]
    assert people.history_of(events, DEFAULT, 100.0) == [
        {"itemId": "a", "ageSeconds": 20.0, "isBought": False},
        {"itemId": "b", "ageSeconds": 10.0, "isBought": True},
    ]
    assert people.click_kind(DEFAULT) == "click"


def test_a_click_names_the_list_that_it_follows_from() -> None:
    request = people.click(stack(), Person(session_id="v"), SCRIPT, "view", "rid")
    (event,) = request.body["eventList"]
    assert (request.path, request.body["sessionId"]) == ("/events", "v")
    assert (event["itemId"], event["eventType"], event["recommendationId"]) == (SCRIPT, "view", "rid")
    assert "userId" not in request.body


def test_an_item_of_the_table_that_is_no_event_is_left_out() -> None:
    assert Event.from_item({"sk": {"S": "user"}, "user": {"S": "42"}, "at": {"N": "1"}}) is None
    good = {"at": {"N": "2500"}, "item": {"S": "i"}, "type": {"S": "view"}}
    assert Event.from_item(good) == Event(2.5, "i", "view")
