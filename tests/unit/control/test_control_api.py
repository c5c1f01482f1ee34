"""Calls of the HTTP API are signed as AWS expects them, and refusals are told in words."""

import json
import shlex
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from control import api
from control.connection import NotReady, in_words

HOSTILE = "<script>alert('x')</script> & \"$(id)\" ünï"


class Shop(BaseHTTPRequestHandler):
    """Answers as `answer` says, and keeps what was asked."""

    asked: ClassVar[list[dict[str, Any]]] = []
    answer: ClassVar[tuple[int, bytes]] = (200, b'{"itemList": []}')

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        Shop.asked.append({"path": self.path, "headers": dict(self.headers), "body": body, "method": self.command})
        self.send_response(Shop.answer[0])
        self.send_header("Content-Length", str(len(Shop.answer[1])))
        self.end_headers()
        self.wfile.write(Shop.answer[1])

    do_POST = do_GET

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    Shop.asked.clear()
    Shop.answer = (200, b'{"itemList": []}')
    server = HTTPServer(("127.0.0.1", 0), Shop)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_call_carries_the_session_s_signature_for_its_region(url: str) -> None:
    request = api.Request(url, "GET", "/recommendations", {"userId": HOSTILE, "category": ["Drama", "A & B"]})
    answer = api.send(request, Credentials("AKID", "secret", "token"), "eu-west-3", is_loopback=True)
    assert (answer.status, answer.body, answer.is_good) == (200, {"itemList": []}, True)
    headers = Shop.asked[0]["headers"]
    assert Shop.asked[0]["path"].endswith("&category=Drama&category=A%20%26%20B")
    assert "/eu-west-3/execute-api/aws4_request" in headers["Authorization"]
    assert headers["X-Amz-Security-Token"] == "token"
    again = AWSRequest("GET", url + Shop.asked[0]["path"], headers={})
    again.context["timestamp"] = headers["X-Amz-Date"]
    again.headers["X-Amz-Date"], again.headers["X-Amz-Security-Token"] = headers["X-Amz-Date"], "token"
    signer = SigV4Auth(Credentials("AKID", "secret", "token"), "execute-api", "eu-west-3")
    expected = signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again)
    assert headers["Authorization"].endswith(f"Signature={expected}")


def test_a_body_is_sent_as_json(url: str) -> None:
    api.send(api.Request(url, "POST", "/events", body={"sessionId": HOSTILE}), Credentials("a", "b"), "us-east-1", True)
    assert json.loads(Shop.asked[0]["body"]) == {"sessionId": HOSTILE}
    assert Shop.asked[0]["headers"]["Content-Type"] == "application/json"


def test_an_answer_that_is_no_json_keeps_its_text(url: str) -> None:
    Shop.answer = (502, b"<html>bad gateway</html>")
    answer = api.send(api.Request(url, "GET", "/health"), Credentials("a", "b"), "us-east-1", True)
    assert (answer.status, answer.body, answer.text) == (502, None, "<html>bad gateway</html>")


def test_an_api_that_is_down_is_told_in_words() -> None:
    with pytest.raises(api.Unanswered, match=r"the HTTP API at http://127\.0\.0\.1:9 did not answer") as caught:
        api.send(api.Request("http://127.0.0.1:9", "GET", "/health"), Credentials("a", "b"), "us-east-1", True)
    assert in_words(caught.value) == str(caught.value)
    assert isinstance(caught.value, NotReady)


def test_the_line_for_a_shell_quotes_what_is_hostile_and_has_no_credentials() -> None:
    request = api.Request("https://x.example", "POST", "/events", {"a": "$(id)"}, {"itemId": "'; rm -rf / #`id`"})
    words = shlex.split(request.curl("eu-west-3"))
    assert words[words.index("--aws-sigv4") + 1] == "aws:amz:eu-west-3:execute-api"
    assert words[words.index("--user") + 1] == "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY"
    assert json.loads(words[words.index("--data-raw") + 1]) == {"itemId": "'; rm -rf / #`id`"}
    assert words[-1] == "https://x.example/events?a=%24%28id%29"


def test_a_path_takes_ids_quoted_and_refuses_those_that_would_leave_it() -> None:
    template = "/items/{itemId}/related"
    assert api.path_of(template, {"itemId": "<b>{x} 1"}) == "/items/%3Cb%3E%7Bx%7D%201/related"
    for value in ("a/b", "..", "a?b", "a%2f", "a#b"):
        with pytest.raises(ValueError, match="use the route with itemId in the query"):
            api.path_of(template, {"itemId": value})
    with pytest.raises(ValueError, match="give it a value"):
        api.path_of(template, {})


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (404, {"message": "Not Found"}, "The API answered 404: Not Found. There is no such route"),
        (429, {"message": "Too Many Requests"}, "Wait a second, then try again"),
        (403, {"message": "Forbidden"}, "execute-api:Invoke"),
        (500, None, "The API answered 500. The fault is on the side of the stack"),
        (503, {"error": {"message": "nothing was deployed"}}, "503: nothing was deployed. Nothing can answer now"),
        (400, {"error": {"message": HOSTILE}}, HOSTILE),
        (200, None, "not the JSON object"),
    ],
)
def test_a_refusal_says_what_to_do(status: int, body: Any, words: str) -> None:
    assert words in api.refusal_with_advice(api.Answer(status, body))
