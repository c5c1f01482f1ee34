"""The HTTP face of the server, through Starlette's test client."""

from __future__ import annotations

import logging
import threading
import time

import pytest
from starlette.testclient import TestClient

from invocation import Invocation
from ncf import bundle as bundles
from scorer import Scorer
from server import application

RUN = "v20261123t151300z-1a2b3c4d-r1"
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def client(bundle_directory):
    bundle = bundles.load(bundle_directory)
    return TestClient(application(Scorer(bundle).answer, bundle.run_id))


def test_ping_is_200_and_names_the_model(client):
    response = client.get("/ping")
    assert (response.status_code, response.json()) == (200, {"status": "healthy", "modelVersion": RUN})


def test_answers_an_invocation(client, bundle_directory):
    response = client.post("/invocations", json={"userId": "user-0", "numResults": 3, "excludeSeen": True})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    recorded = bundles.load(bundle_directory).golden[0]["response"]
    body = response.json()
    assert [item["itemId"] for item in body.pop("itemList")] == [item["itemId"] for item in recorded["itemList"][:3]]
    assert body == {"userId": "user-0", "source": "personalized", "modelVersion": RUN, "unknownItems": 0}


def test_gives_fewer_items_than_asked_for_when_there_are_fewer(client):
    assert len(client.post("/invocations", json={"userId": "nobody", "numResults": 100}).json()["itemList"]) == 40


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_takes_json_however_it_is_spelled(client, content_type):
    response = client.post("/invocations", content=b'{"userId": "1"}', headers={"content-type": content_type})
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("headers", "shown"),
    [
        ({}, "missing"),
        ({"content-type": "text/csv"}, "'text/csv'"),
        ({"content-type": "application/json5"}, "'application/json5'"),
    ],
)
def test_refuses_other_content_types(client, headers, shown):
    response = client.post("/invocations", content=b'{"userId": "1"}', headers=headers)
    message = f"the content type must be application/json; it is {shown}"
    assert response.status_code == 415
    assert response.json() == {"error": {"code": "InvalidInput", "field": None, "message": message}}


def test_names_the_field_that_is_wrong(client):
    response = client.post("/invocations", json={"userId": "1", "numResults": -1})
    message = "numResults must be an integer from 1 to 100, not -1"
    assert response.status_code == 400
    assert response.json() == {"error": {"code": "InvalidInput", "field": "numResults", "message": message}}


@pytest.mark.parametrize("chunked", [False, True])
def test_refuses_a_body_of_more_than_a_mebibyte(client, chunked):
    body = b'{"userId": "1"}'.ljust((1 << 20) + 1)
    content = iter([body[:700_000], body[700_000:]]) if chunked else body
    response = client.post("/invocations", content=content, headers=JSON)
    message = "the body is larger than 1048576 bytes"
    assert response.status_code == 413
    assert response.json() == {"error": {"code": "InvalidInput", "field": None, "message": message}}
    assert client.post("/invocations", content=body[:-1], headers=JSON).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/", 404), ("GET", "/invocations", 405), ("POST", "/ping", 405)]
)
def test_refuses_other_paths_and_methods(client, method, path, status):
    response = client.request(method, path)
    assert response.status_code == status
    assert response.json()["error"]["message"].endswith("; there are GET /ping and POST /invocations")


def test_a_fault_is_a_500_that_tells_nothing_and_a_log_line_without_the_user(caplog):
    def answer(invocation: Invocation) -> dict:
        raise KeyError(invocation.user_id)

    client = TestClient(application(answer, RUN))
    with caplog.at_level(logging.ERROR):
        response = client.post("/invocations", json={"userId": "jane@example.org"})
    message = "the server failed to answer; its log says where"
    assert response.status_code == 500
    assert response.json() == {"error": {"code": "InternalError", "field": None, "message": message}}
    (record,) = [record for record in caplog.records if record.name == "serving"]
    assert record.fields["error"] == "KeyError" and "test_server.py" in record.fields["frames"][-1]
    assert "jane" not in caplog.text + str(record.fields)


def test_ping_answers_while_a_ranking_is_computed():
    release, computing = threading.Event(), threading.Event()

    def answer(invocation: Invocation) -> dict:
        computing.set()
        assert release.wait(20)
        return {"done": True}

    with TestClient(application(answer, RUN)) as client:
        responses = []
        request = threading.Thread(target=lambda: responses.append(client.post("/invocations", json={"userId": "1"})))
        request.start()
        assert computing.wait(20)
        started = time.monotonic()
        assert client.get("/ping").status_code == 200
        assert not responses and time.monotonic() - started < 15
        release.set()
        request.join(20)
    assert responses[0].json() == {"done": True}
