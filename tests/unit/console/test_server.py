"""The port of a console, and the end of one that `demo` has started."""

import socket
import threading
import time

import pytest

from console import server
from control.connection import Connection


def test_where_the_usual_port_is_taken_another_is_used_and_a_wanted_one_is_insisted_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        monkeypatch.setattr(server, "USUAL_PORT", taken)
        assert server.free_port(None) not in (0, taken)
        with pytest.raises(server.PortTaken, match=f"Port {taken}"):
            server.free_port(taken)
    assert server.free_port(None) == taken


def test_it_ends_when_the_embedded_aws_has_been_gone_for_long_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr("nicegui.app.shutdown", ended.set)
    monkeypatch.setattr(server, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(server, "WAITS_SECONDS", 0.4)
    aws = socket.create_server(("127.0.0.1", 0), backlog=1000)
    connection = Connection("shop", endpoint_url=f"http://127.0.0.1:{aws.getsockname()[1]}")
    threading.Thread(target=server._end_with_aws, args=(connection,), daemon=True).start()
    assert not ended.wait(1.0), "it answers"
    aws.close()
    gone = time.monotonic()
    assert ended.wait(30)
    assert time.monotonic() - gone > 0.3, "it may be starting anew"
