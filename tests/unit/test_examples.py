"""The example clients: short enough to be read, and what they send again is the same. The e2e test runs both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def api() -> Iterator[tuple[str, list[bytes]]]:
    """An API that hangs up on the first request and is busy at the second; its address, and the bodies that came."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            if len(bodies) > 1:
                self.send_response(503 if len(bodies) == 2 else 200)
                self.end_headers()
                self.wfile.write(json.dumps({"accepted": len(json.loads(bodies[-1])["eventList"])}).encode())

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", bodies
    server.shutdown()
    server.server_close()


def test_the_client_sends_the_same_body_again_and_the_events_of_each_person_in_batches(
    api: tuple[str, list[bytes]],
) -> None:
    address, bodies = api
    who = [{"userId": "u"}] * 30 + [{"sessionId": "s"}]
    events = [{**person, "eventType": "view", "itemId": f"p{place}"} for place, person in enumerate(who)]
    keys = {"AWS_ACCESS_KEY_ID": "1", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-east-1"}
    said = subprocess.run(
        [sys.executable, str(EXAMPLES / "send_events.py")], input="\n".join(map(json.dumps, events)), text=True,
        capture_output=True, env={**os.environ, **keys, "API_URL": address}, timeout=60,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert [json.loads(line) for line in said.stdout.splitlines()] == [
        {"status": 200, "accepted": number} for number in (25, 5, 1)
    ]
    assert bodies[0] == bodies[1] == bodies[2] and len(bodies) == 5
    sent = [json.loads(body) for body in bodies[2:]]
    assert [(one.get("userId"), one.get("sessionId")) for one in sent] == [("u", None), ("u", None), (None, "s")]
    given = [event for one in sent for event in one["eventList"]]
    assert [event["itemId"] for event in given] == [f"p{place}" for place in range(31)]
    assert len({event["eventId"] for event in given}) == 31


@pytest.mark.parametrize(("name", "comment"), [("send_events.py", "#"), ("send_events.mjs", "//")])
def test_a_client_is_about_thirty_lines(name: str, comment: str) -> None:
    text = (EXAMPLES / name).read_text()
    code = text.split('"""', 2)[2] if name.endswith("py") else text
    lines = [line.strip() for line in code.splitlines()]
    assert len([line for line in lines if line and not line.startswith((comment, '"""'))]) <= 35
