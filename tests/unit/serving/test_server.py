"""The service: answers, refusals, batches, the queue, the log and the metrics."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ncf import bundle as bundles
from serving.invocation import Invocation, Shard
from serving.metrics import Metrics
from serving.scorer import Scorer
from tests.unit.serving.running import (
    JSON,
    RUN,
    Held,
    all_of,
    answers_of,
    done,
    eventually,
    invocation,
    posting,
    running,
    serving,
    statuses,
)


@pytest.fixture(scope="module")
def client(bundle_directory: Any) -> Iterator[Any]:
    with serving(Scorer(bundles.load(bundle_directory)).answers) as client:
        yield client


def test_ping_is_200_and_names_the_model(client: Any) -> None:
    response = client.get("/ping")
    assert (response.status_code, response.json()) == (200, {"status": "healthy", "modelVersion": RUN})


def test_answers_an_invocation(client: Any, bundle_directory: Any) -> None:
    response = client.post("/invocations", json={"userId": "user-0", "numResults": 3, "excludeSeen": True})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-amzn-sagemaker-custom-attributes"] == "device=cpu"
    recorded = bundles.load(bundle_directory).golden[0]["response"]
    body = response.json()
    assert [item["itemId"] for item in body.pop("itemList")] == [item["itemId"] for item in recorded["itemList"][:3]]
    assert body == {"userId": "user-0", "source": "personalized", "modelVersion": RUN, "unknownItems": 0}


def test_gives_fewer_items_than_requested_if_there_are_fewer(client: Any) -> None:
    assert len(client.post("/invocations", json={"userId": "nobody", "numResults": 100}).json()["itemList"]) == 40


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_accepts_every_spelling_of_the_json_content_type(client: Any, content_type: Any) -> None:
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
def test_refuses_other_content_types(client: Any, headers: Any, shown: Any) -> None:
    response = client.post("/invocations", content=b'{"userId": "1"}', headers=headers)
    message = f"the content type must be application/json; it is {shown}"
    assert response.status_code == 415
    assert response.json() == {"error": {"code": "InvalidInput", "field": None, "message": message}}


def test_names_the_field_that_is_wrong(client: Any) -> None:
    response = client.post("/invocations", json={"userId": "1", "numResults": -1})
    message = "numResults must be an integer from 1 to 100, not -1"
    assert response.status_code == 400
    assert response.json() == {"error": {"code": "InvalidInput", "field": "numResults", "message": message}}


@pytest.mark.parametrize("chunked", [False, True])
def test_refuses_a_body_of_more_than_a_mebibyte(client: Any, chunked: Any) -> None:
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
def test_refuses_other_paths_and_methods(client: Any, method: Any, path: Any, status: int) -> None:
    response = client.request(method, path)
    assert response.status_code == status
    assert response.json()["error"]["message"].endswith("; there are GET /ping and POST /invocations")


def test_a_fault_is_a_500_without_details_and_a_log_line_without_the_user(caplog: pytest.LogCaptureFixture) -> None:
    def answers(requests: list[Invocation]) -> list[dict[str, Any]]:
        raise KeyError(requests[0].user_id)

    with caplog.at_level(logging.ERROR), serving(answers) as client:
        response = client.post("/invocations", json={"userId": "jane@example.org"})
    message = "the server failed to answer; its log says where"
    assert response.status_code == 500
    assert response.json() == {"error": {"code": "InternalError", "field": None, "message": message}}
    record: Any
    (record,) = [record for record in caplog.records if record.name == "serving"]
    assert record.fields["error"] == "KeyError" and "test_server.py" in record.fields["frames"][-1]
    assert "jane" not in caplog.text + str(record.fields)


def test_ping_answers_while_a_ranking_is_computed() -> None:
    release, computing = threading.Event(), threading.Event()

    def answers(requests: list[Invocation]) -> list[dict[str, Any]]:
        computing.set()
        assert release.wait(20)
        return [{"done": True}]

    with serving(answers) as client:
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


def test_waiting_requests_are_computed_together_and_each_gets_its_own_answer() -> None:
    held, metrics = Held(), Metrics("shop", RUN)
    with serving(held, metrics=metrics) as client:
        first = posting(client, {"userId": "0"})
        assert held.begun.wait(20)
        others = [posting(client, {"userId": str(user)}) for user in range(1, 5)]
        eventually(lambda: len(client.service._rankings._waiting) == 4)
        held.release.set()
        for thread, _ in (first, *others):
            thread.join(20)
    assert held.sizes == [1, 4]
    assert [responses[0].json()["user"] for _, responses in (first, *others)] == list("01234")


def test_short_rankings_that_arrive_in_one_turn_are_computed_together_in_the_loop() -> None:
    sizes, threads = [], set()

    def answers(requests: Any) -> Any:
        sizes.append(len(requests))
        threads.add(threading.current_thread())
        return [{"user": request.user_id} for request in requests]

    with running(answers, seconds=0.0025) as server:  # four fit in a turn
        wires = [server.wire() for _ in range(6)]
        for wire in wires:
            wire.sendall(invocation()[:-1])
        eventually(lambda: server.service._in_flight == 6)
        hold, held = threading.Event(), threading.Event()

        def occupy() -> None:
            held.set()
            hold.wait(20)

        server.loop.call_soon_threadsafe(occupy)
        assert held.wait(20)
        for wire in wires:
            wire.sendall(b"}")
        hold.set()
        bodies = [answers_of(wire, 1) for wire in wires]
        loop = server.thread
    assert sizes == [4, 2]
    assert threads == {loop}
    assert bodies == [[{"user": "1"}]] * 6


def test_a_failed_request_does_not_affect_the_others_in_its_batch() -> None:
    held = Held()

    def answers(requests: Any) -> Any:
        held(requests)
        return [KeyError("x") if request.user_id == "2" else {} for request in requests]

    metrics = Metrics("shop", RUN)
    with serving(answers, metrics=metrics) as client:
        threads = [posting(client, {"userId": "0"})]
        assert held.begun.wait(20)
        threads += [posting(client, {"userId": user}) for user in "123"]
        eventually(lambda: len(client.service._rankings._waiting) == 3)
        held.release.set()
        for thread, _ in threads:
            thread.join(20)
    assert held.sizes == [1, 3]
    assert [responses[0].status_code for _, responses in threads] == [200, 200, 500, 200]


def test_a_request_beyond_the_queue_is_refused_at_once_and_may_be_sent_again() -> None:
    held, metrics = Held(), Metrics("shop", RUN)
    with serving(held, queue=2, metrics=metrics) as client:
        threads = [posting(client, {"userId": user}) for user in "01"]
        eventually(lambda: metrics._deepest == 2)
        refused = client.post("/invocations", content=b"{", headers=JSON)  # its body is not read
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        message = "2 requests are under way; try again in a second"
        assert refused.json() == {"error": {"code": "Overloaded", "field": None, "message": message}}
        assert client.get("/ping").status_code == 200
        held.release.set()
        for thread, _ in threads:
            thread.join(20)
        assert client.post("/invocations", json={"userId": "3"}).status_code == 200


def test_a_ranking_does_not_wait_for_a_shard() -> None:
    release = threading.Event()

    def answers(requests: Any) -> Any:
        if isinstance(requests[0], Shard):
            assert release.wait(20)
        return [{"done": type(request).__name__} for request in requests]

    with serving(answers) as client:
        thread, responses = posting(client, {"shard": 0, "shards": 1})
        assert client.post("/invocations", json={"userId": "1"}).json() == {"done": "Invocation"}
        assert not responses
        release.set()
        thread.join(20)
    assert responses[0].json() == {"done": "Shard"}


def test_a_body_that_does_not_arrive_frees_its_place_and_the_connection_is_closed() -> None:
    message = "the body did not arrive within 0.05 seconds"
    with running(done, queue=1, body_seconds=0.05) as server:
        for _ in range(2):  # the queue has one place: if the first kept it, the second would be refused
            wire = server.wire()
            wire.sendall(invocation()[:-3])
            received = all_of(wire)
            assert statuses(received) == [408]
            assert json.loads(received.partition(b"\r\n\r\n")[2])["error"]["message"] == message


def test_writes_metrics_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = Metrics("shop", RUN, clock=lambda: 1_800_000_000.5)
    with serving(done, metrics=metrics) as client:
        client.get("/ping")
        for document in ({"userId": "1"}, {"userId": "2"}, {"userId": ""}):
            client.post("/invocations", json=document)
    (line,) = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert (line["service"], line["modelVersion"], line["_aws"]["Timestamp"]) == ("shop", RUN, 1_800_000_000_500)
    counted = {name: line[name] for name in ("Requests", "Refused", "Overloaded", "Failed", "BatchSize", "QueueDepth")}
    assert list(counted.values()) == [3, 1, 0, 0, 1.0, 1]
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Dimensions"] == [["service"]]
    assert all(isinstance(line[metric["Name"]], int | float) for metric in directive["Metrics"])
    assert metrics.line() is None


def test_percentiles_are_exact_to_five_percent() -> None:
    metrics = Metrics("shop", RUN)
    for milliseconds in range(1, 1001):
        metrics.answered(200, milliseconds / 1000)
    line = json.loads(metrics.line() or "")
    assert 500 <= line["LatencyP50"] <= 500 * 1.05
    assert 990 <= line["LatencyP99"] <= 990 * 1.05
