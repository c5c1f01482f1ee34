"""With a token a caller may ask only for themself, on every route that names a user or a session."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from contracts import recent_events
from recommend.openapi import document
from shared.caller import Caller
from tests.unit.functions.cloud import NOW
from tests.unit.functions.eventing import events, one, post, request
from tests.unit.functions.recommending import app, aws, call, clock, cold_start

__all__ = ["app", "aws", "clock", "cold_start", "events"]  # fixtures

FUNCTIONS = Path(__file__).resolve().parents[3] / "functions"
OWN, OTHER, SESSION = "42", "43", "s1"
NAMES = ("userId", "sessionId")
# A valid body, without who asks, of each route that has one.
BODIES: dict[str, dict[str, Any]] = {
    "/recommendations": {"history": []},
    "/rankings": {"inputList": ["7"]},
    "/events": {"eventList": [{"eventId": "e1", "eventType": "view", "itemId": "7", "sentAt": NOW - 60}]},
}


class Case:
    """One place of one route that names a user or a session."""

    def __init__(self, route: str, name: str, place: str, function: str) -> None:
        self.route, self.name, self.place, self.function = route, name, place, function

    def event(self, value: str, claims: dict[str, Any] | None, **more: str) -> dict[str, Any]:
        """The event of API Gateway in which `value` is named there; without claims it was signed by IAM."""
        path = self.route.partition(" ")[2]
        given = {self.name: value, **more}
        authorizer: dict[str, Any] = {"iam": {"accountId": "1"}} if claims is None else {"jwt": {"claims": claims}}
        event: dict[str, Any] = {"version": "2.0", "routeKey": self.route, "rawPath": path}
        event["requestContext"] = {"http": {"method": self.route.partition(" ")[0]}, "authorizer": authorizer}
        if self.place == "body":
            body = json.dumps(BODIES[path] | given)
            return event | {"headers": {"content-type": "application/json"}, "body": body}
        in_path = {self.name: value} if self.place == "path" else {}
        return event | {
            "pathParameters": in_path,
            "queryStringParameters": {name: text for name, text in given.items() if name not in in_path},
        }


def routes() -> dict[str, str]:
    """Each route of the API, and the function that answers it."""
    found: dict[str, str] = {}
    for path in FUNCTIONS.glob("*/function.yaml"):
        text = path.read_text("utf-8").partition("\nRoutes:\n")[2]
        found |= dict.fromkeys((yaml.safe_load(text) or {}).values(), path.parent.name)
    return found


def cases() -> list[Case]:
    schemas, found = document()["components"]["schemas"], []
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            route = f"{method.upper()} {path}"
            places = [(one["name"], one["in"]) for one in operation.get("parameters", [])]
            if body := operation.get("requestBody"):
                name = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
                places += [(field, "body") for field in schemas[name]["properties"]]
            found += [Case(route, name, place, routes()[route]) for name, place in places if name in NAMES]
    return found


def of(function: str, name: str) -> pytest.MarkDecorator:
    chosen = [
        case for case in cases()
        if (case.function, case.name) == (function, name) and (name == "userId" or "{userId}" not in case.route)
    ]  # fmt: skip
    assert chosen
    return pytest.mark.parametrize("case", chosen, ids=[f"{case.route} {case.place}" for case in chosen])


@pytest.fixture
def guarded(app: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The function recommend of a stack whose tokens name users by `sub`."""
    monkeypatch.setattr(app, "SETTINGS", dataclasses.replace(app.SETTINGS, jwt_user_claim="sub"))
    return app


@pytest.fixture
def storing(load: Callable[..., ModuleType], events: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The function events of such a stack; `OTHER` has logged in to `SESSION`."""
    function = load("events", JWT_USER_CLAIM="sub")
    monkeypatch.setattr(function.time, "time", lambda: NOW)
    assert post(function, request(one(), user=OTHER, session=SESSION))[0] == 200
    return function


def test_every_route_is_in_the_document_and_answered_by_a_function_of_these_tests() -> None:
    described = {f"{method.upper()} {path}" for path, methods in document()["paths"].items() for method in methods}
    assert described == set(routes())
    assert {case.function for case in cases()} == {"recommend", "events"}


def refuses(answer: Callable[[Any], Any], case: Case) -> None:
    """Another user is refused to a caller with a token, and to one whose token says nothing."""
    for claims, words in (
        ({"sub": OWN}, "the user asked for is not the token's (claim sub)"),
        ({"sub": ""}, "the token has no claim sub"),
        ({"client_id": OTHER}, "the token has no claim sub"),
    ):
        status, body = answer(case.event(OTHER if case.name == "userId" else SESSION, claims))
        assert (status, body["error"]["code"], body["error"]["field"]) == (403, "Forbidden", "userId")
        assert words in body["error"]["message"]


def allows(answer: Callable[[Any], Any], case: Case) -> None:
    """Callers with a token ask for themselves, and services for anyone."""
    theirs = OTHER if case.name == "userId" else SESSION
    for event in (
        case.event(OWN, {"sub": OWN}),
        case.event(theirs, {"sub": OTHER}),
        case.event(theirs, None),
        case.event("new", None) if case.name == "userId" else case.event("of-nobody", {"sub": OWN}),
    ):
        assert answer(event)[0] == 200, event


def logged_in(aws: Any) -> None:
    link = {"pk": f"S#{SESSION}", "sk": recent_events.USER, "user": OTHER}
    texts = {name: {"S": text} for name, text in link.items()}
    aws.events[recent_events.of_session(SESSION)] = [
        texts | {"at": {"N": str(recent_events.LINKED_AT)}, "since": {"N": "0"}}
    ]


@of("recommend", "userId")
def test_a_list_for_another_user_is_refused(guarded: Any, case: Case) -> None:
    refuses(lambda event: call(guarded, event), case)
    allows(lambda event: call(guarded, event), case)


@of("recommend", "sessionId")
def test_a_list_for_a_session_of_another_user_is_refused(guarded: Any, aws: Any, case: Case) -> None:
    logged_in(aws)
    refuses(lambda event: call(guarded, event), case)
    allows(lambda event: call(guarded, event), case)


@of("events", "userId")
def test_events_of_another_user_are_refused(storing: ModuleType, case: Case) -> None:
    refuses(lambda event: post(storing, event), case)
    allows(lambda event: post(storing, event), case)


@of("events", "sessionId")
def test_events_of_a_session_of_another_user_are_refused(storing: ModuleType, case: Case) -> None:
    refuses(lambda event: post(storing, event), case)
    allows(lambda event: post(storing, event), case)


@of("recommend", "userId")
def test_without_a_claim_any_token_may_ask_for_anyone(app: Any, case: Case) -> None:
    assert call(app, case.event(OTHER, {"sub": OWN}))[0] == 200


def test_a_token_that_names_nobody_may_ask_for_nobody(guarded: Any) -> None:
    event = Case("POST /recommendations", "userId", "body", "recommend").event(OTHER, {"client_id": "shop"})
    event["body"] = json.dumps(BODIES["/recommendations"])
    assert call(guarded, event)[0] == 200


@pytest.mark.parametrize("own", [42, ["42"], None])
def test_a_claim_that_is_no_text_is_no_user(own: Any) -> None:
    caller = Caller.from_event({"requestContext": {"authorizer": {"jwt": {"claims": {"sub": own}}}}}, "sub")
    with pytest.raises(Exception, match="the token has no claim sub"):
        caller.may_ask_for("42")
