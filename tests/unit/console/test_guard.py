"""Only the browser that has the link reaches the console."""

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from console.guard import Guard


def client(host: str = "127.0.0.1:8090") -> TestClient:
    application = Starlette(routes=[Route("/", lambda request: PlainTextResponse("in"))])
    return TestClient(Guard(application, "secret", 8090), base_url=f"http://{host}", follow_redirects=False)


def test_the_link_lets_in_and_takes_the_token_out_of_the_address() -> None:
    visitor = client()
    first = visitor.get("/?token=secret")
    assert (first.status_code, first.headers["location"]) == (303, "/")
    assert visitor.get("/").text == "in"


@pytest.mark.parametrize("address", ["/", "/?token=wrong", "/?token="])
def test_without_the_token_nothing_is_shown(address: str) -> None:
    answer = client().get(address)
    assert answer.status_code == 403
    assert "link" in answer.text


def test_another_site_and_another_host_name_are_refused() -> None:
    visitor = client()
    visitor.get("/?token=secret")
    assert visitor.get("/", headers={"origin": "https://evil.example"}).status_code == 403
    assert visitor.get("/", headers={"host": "evil.example:8090"}).status_code == 403


def test_the_link_to_a_page_keeps_what_is_chosen_there_and_leads_to_this_site_only() -> None:
    assert client().get("/gate?run=a+b&token=secret").headers["location"] == "/gate?run=a+b"
    assert client().get("http://127.0.0.1:8090//evil.example/?token=secret").headers["location"] == "/evil.example/"
