"""Who gets in: the browser with the link, on this machine, from the console's own pages. Nobody else."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.console_process import PROJECT_ROOT, TOKEN, ConsoleProcess, environment
from tests.browser.visitor import Visitor

SOCKET = "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
UPGRADE = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.fixture
def program(alone: ConsoleProcess) -> Iterator[httpx.Client]:
    """A program on this machine that has got hold of the cookie."""
    cookies = {f"console-token-{alone.port}": TOKEN}
    with httpx.Client(base_url=alone.address, cookies=cookies, trust_env=False) as client:
        yield client


def test_the_link_opens_the_page_and_leaves_no_token_in_the_address(page: Page, alone: ConsoleProcess) -> None:
    page.goto(f"{alone.address}/gate?run=r1&token={TOKEN}")
    assert page.url == f"{alone.address}/gate?run=r1"
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["expires"]) == (True, "Strict", -1)
    assert TOKEN not in page.content()


def test_without_the_link_the_page_says_where_to_find_it(page: Page, alone: ConsoleProcess) -> None:
    answer = page.goto(alone.address)
    assert answer is not None and answer.status == 403
    expect(page.get_by_text("Open the console by the link that it printed")).to_be_visible()


@pytest.mark.parametrize("path", ["/", "/runs", "/_nicegui/x", "/openapi.json", SOCKET])
def test_nothing_is_served_without_the_token(alone: ConsoleProcess, path: str) -> None:
    headers = UPGRADE if path == SOCKET else {}
    assert httpx.get(f"{alone.address}{path}", headers=headers, trust_env=False).status_code == 403


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:1", "null"])
def test_requests_and_websockets_of_another_site_are_refused_even_with_the_cookie(
    program: httpx.Client, origin: str
) -> None:
    assert program.post("/", headers={"origin": origin}).status_code == 403
    assert program.get(SOCKET, headers={**UPGRADE, "origin": origin}).status_code == 403


def test_the_websocket_of_the_consoles_own_pages_opens(program: httpx.Client, alone: ConsoleProcess) -> None:
    with program.stream("GET", SOCKET, headers={**UPGRADE, "origin": alone.address}) as answer:
        assert answer.status_code == 101


def test_another_host_name_is_refused(program: httpx.Client) -> None:
    assert program.get("/", headers={"host": "evil.example"}).status_code == 403
    assert program.get(SOCKET, headers={**UPGRADE, "host": "evil.example"}).status_code == 403


def test_no_other_page_may_frame_the_console(page: Page, alone: ConsoleProcess, tmp_path: Path) -> None:
    """Another program's page on this machine is of the same site, so that the browser sends the cookie along."""
    (tmp_path / "index.html").write_text(f"<iframe src='{alone.address}/' title='framed'></iframe>", "utf-8")
    page.goto(alone.link)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        page.wait_for_timeout(2000)  # the time in which a page is drawn
        assert page.frame_locator("iframe").get_by_role("navigation").count() == 0
        server.shutdown()


def test_two_tabs_of_one_person_do_not_disturb_each_other(browser: Browser, alone: ConsoleProcess) -> None:
    context = browser.new_context()
    first, second = Visitor(context.new_page(), alone), Visitor(context.new_page(), alone)
    first.open("/runs")
    second.open("/gate")
    assert first.page.title().startswith("Runs") and second.page.title().startswith("Gate")
    context.close()


def test_ctrl_c_ends_it_with_status_0_and_no_trace() -> None:
    console = ConsoleProcess("--endpoint-url", "http://127.0.0.1:9")
    assert console.stop() == 0
    assert "Traceback" not in "".join(console.output)


def test_a_second_console_of_a_stack_prints_the_link_of_the_first(alone: ConsoleProcess) -> None:
    command = [sys.executable, "-m", "console", *alone.arguments]
    ended = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert ended.stdout.splitlines()[0] == f"console: {alone.link}"
    assert ended.returncode == 0


def test_who_wants_to_change_something_gets_a_console_of_their_own(alone: ConsoleProcess) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "console", *alone.arguments, "--write"],
        cwd=PROJECT_ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as another:
        assert another.stdout is not None
        link = another.stdout.readline().removeprefix("console: ").strip()
        try:
            assert urlsplit(link).port != alone.port
            assert httpx.get(link, trust_env=False).status_code == 303
        finally:
            another.terminate()
        assert another.wait(15) == 0, "SIGTERM ends it as Ctrl-C does"


def test_a_port_that_is_taken_is_told_in_a_sentence(alone: ConsoleProcess) -> None:
    command = [sys.executable, "-m", "console", "--port", str(alone.port)]
    ended = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 2
    assert ended.stderr == (
        f"Port {alone.port} on 127.0.0.1 is in use by another program: choose another one with --port, "
        "or --port 0 for any free one.\n"
    )
