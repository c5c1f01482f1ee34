"""The command `serve` as a process: its answers, its refusals to start, and its shutdown."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from ncf import bundle as bundles
from ncf.bundle import encode_json
from ncf.bundle.format import MANIFEST, MEMBERS, digest, measure
from serving import serve
from serving.invocation import from_document

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]


def command(directory: Any, **environment: Any) -> Any:
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH") if name in os.environ}
    return subprocess.Popen(
        [sys.executable, "-m", "serving.serve"],
        cwd=ROOT,
        env={
            **inherited,
            "SM_MODEL_DIR": str(directory),
            "SERVING_HOST": "127.0.0.1",
            "SERVING_PORT": "0",
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def serving(directory: Any, **environment: Any) -> Iterator[Any]:
    """The process and its first line, which has the port. The process is killed at the end if it still runs."""
    process = command(directory, **environment)
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield process, json.loads(line)
    finally:
        process.kill()
        process.communicate()


def refused(directory: Any, **environment: Any) -> Any:
    """The exit status and the only line of a process that must not start."""
    process = command(directory, **environment)
    output, errors = process.communicate(timeout=60)
    assert errors == ""
    (line,) = output.splitlines()
    return process.returncode, json.loads(line)


def reseal(directory: Any, **changes: Any) -> None:
    """Rewrites bundle.json so that it describes the members as they are now."""
    manifest = json.loads((directory / bundles.MANIFEST).read_text()) | changes
    manifest["members"] = {name: measure(directory / name) for name in manifest["members"]}
    manifest["digest"] = digest(manifest)
    (directory / bundles.MANIFEST).write_bytes(encode_json(manifest))


def test_serves_until_sigterm_and_finishes_requests_in_flight(bundle_directory: Any) -> None:
    with serving(bundle_directory) as (process, line):
        assert (line["message"], line["users"], line["items"]) == ("serving", 7, 40)
        connection = http.client.HTTPConnection("127.0.0.1", line["port"], timeout=60)
        connection.request("GET", "/ping")
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())["modelVersion"]) == (200, line["modelVersion"])

        recorded = bundles.load(bundle_directory).golden[0]
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/invocations", json.dumps(recorded["request"]), headers)
        answer = json.loads(connection.getresponse().read())
        assert [item["itemId"] for item in answer["itemList"]] == [
            item["itemId"] for item in recorded["response"]["itemList"]
        ]

        # SIGTERM after half of a request: this request is still answered, and new connections are refused.
        body = json.dumps({"userId": "jane@example.org"}).encode()
        late = socket.create_connection(("127.0.0.1", line["port"]), timeout=60)
        late.sendall(
            b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body[:5])
        )
        connection.request("GET", "/ping")  # its answer shows that the server has read the half request
        connection.getresponse().read()
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", line["port"]), timeout=5)
        late.sendall(body[5:])
        assert late.recv(4096).startswith(b"HTTP/1.1 200 OK")
        late.close()

        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0
        metrics, stopped = [json.loads(text) for text in output.splitlines()]
        assert (metrics["Requests"], metrics["service"]) == (2, "recommender")
        assert stopped["message"] == "stopped"
        assert errors == ""


def test_a_body_of_many_mebibytes_is_answered_with_413_and_the_connection_stays_open(bundle_directory: Any) -> None:
    with serving(bundle_directory) as (_, line):
        connection = http.client.HTTPConnection("127.0.0.1", line["port"], timeout=60)
        for _ in range(2):
            connection.request("POST", "/invocations", b" " * (12 << 20), {"Content-Type": "application/json"})
            response = connection.getresponse()
            assert (response.status, json.loads(response.read())["error"]["code"]) == (413, "InvalidInput")


@pytest.mark.parametrize("member", [*MEMBERS, MANIFEST])
def test_refuses_a_bundle_with_a_changed_byte(copy: Any, member: Any) -> None:
    path = copy / member
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(serve.CannotServe, match=f"the model in {copy} is broken: {member}: "):
        serve.load(copy)


def test_exits_with_one_line_that_names_the_broken_member(copy: Any) -> None:
    path = copy / bundles.WEIGHTS
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    status, line = refused(copy)
    assert (status, line["level"]) == (1, "ERROR")
    assert line["message"].startswith(f"the model in {copy} is broken: weights.safetensors: has sha256 ")


def test_refuses_a_model_that_answers_a_golden_request_differently(copy: Any) -> None:
    golden = json.loads((copy / bundles.GOLDEN).read_text())
    best = golden[1]["response"]["itemList"][0]
    given, wanted = best["score"], best["score"] - 0.01
    best["score"] = wanted
    (copy / bundles.GOLDEN).write_bytes(encode_json(golden))
    reseal(copy)
    with pytest.raises(serve.CannotServe) as caught:
        serve.load(copy)
    assert str(caught.value) == (
        f"the model in {copy} does not answer as recorded in golden.json: "
        f"golden request 1: the score at rank 1 is {given:.6f}, not {wanted:.6f} within 0.0001"
    )


def test_refuses_another_bundle_than_the_judged_one(bundle_directory: Path) -> None:
    bundle = bundles.load(bundle_directory)
    for same in (bundle.digest, ""):
        serve.require_digest(bundle, same)
    with pytest.raises(serve.CannotServe) as caught:
        serve.require_digest(bundle, "0" * 64)
    assert str(caught.value).startswith(
        f"the bundle of run {bundle.run_id} has the digest {bundle.digest}, not {'0' * 64}, which was judged: "
    )


def test_refuses_an_invalid_golden_request(copy: Any) -> None:
    golden = json.loads((copy / bundles.GOLDEN).read_text())
    golden[0]["request"]["numResults"] = 0
    (copy / bundles.GOLDEN).write_bytes(encode_json(golden))
    reseal(copy)
    with pytest.raises(serve.CannotServe, match="golden request 0: no answer: InvalidInvocation"):
        serve.load(copy)


@pytest.mark.parametrize("cheaper", ["cpu", "cpu:0"])
def test_selects_the_device_with_less_time_per_ranking(
    bundle_directory: Any, cheaper: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Both names mean the CPU; the clock makes one of them slower."""
    devices, costs, now = ("cpu", "cpu:0"), [], 0.0
    for device in devices:
        costs += [0.0, 1.0 if device == cheaper else 2.0] * 5  # begin and end of five rounds

    def clock() -> Any:
        nonlocal now
        now += costs.pop(0)
        return now

    with caplog.at_level("INFO", "serving"):
        bundle, scorer = serve.quicker(bundle_directory, devices, clock)
    assert not costs
    record: Any
    (record,) = caplog.records
    assert record.fields == {"chosen": cheaper, "milliseconds": dict.fromkeys(devices, 62.5) | {cheaper: 31.25}}
    assert scorer.answer(from_document({"userId": "user-1", "numResults": 3}))["itemList"]
    assert bundle.run_id


def test_a_bundle_for_another_device_is_checked_on_that_device(bundle_directory: Any, device: Any) -> None:
    bundle, scorer = serve.quicker(bundle_directory, (device,))
    assert (bundle.model.device.type, scorer.path["scores"]) == (device, "plain")


def test_the_time_of_long_rankings_is_divided_by_the_number_of_threads(
    bundle_directory: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serve, "duration", lambda scorer, bundle: 1.0)
    monkeypatch.setattr(serve, "WORKERS", 4)
    costs, now = [0.0, 3.2] * 5, 0.0

    def clock() -> Any:
        nonlocal now
        now += costs.pop(0)
        return now

    with caplog.at_level("INFO", "serving"):
        serve.quicker(bundle_directory, ("cpu",), clock)
    record: Any = caplog.records[0]
    assert record.fields["milliseconds"] == {"cpu": 25.0}


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_refuses_a_device_that_the_machine_does_not_have(bundle_directory: Any) -> None:
    status, line = refused(bundle_directory, SERVING_DEVICE="cuda")
    assert (status, line["message"]) == (1, "SERVING_DEVICE is cuda, and this machine has no CUDA device")


def test_the_garbage_collector_does_not_scan_loaded_objects(bundle_directory: Any) -> None:
    program = (
        "import gc, sys, uvloop\n"
        "from serving import serve\n"
        "uvloop.run = lambda until: (until.close(), print('frozen', gc.get_freeze_count()))\n"
        "sys.exit(serve.main())"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=os.environ
        | {
            "SM_MODEL_DIR": str(bundle_directory),
            "SERVING_HOST": "127.0.0.1",
            "SERVING_PORT": "0",
        },
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    (count,) = [int(line.split()[1]) for line in run.stdout.splitlines() if line.startswith("frozen")]
    assert count > 100_000  # torch alone has more


def test_refuses_an_unknown_device(tmp_path: Path) -> None:
    status, line = refused(tmp_path, SERVING_DEVICE="gpu")
    assert (status, line["message"]) == (1, "SERVING_DEVICE must be auto, cpu or cuda, not 'gpu'")


def test_refuses_to_start_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(serve.CannotServe, match=r"the model in .* is broken: bundle.json: there is no directory"):
        serve.load(tmp_path / "none")


def test_refuses_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(serve.CannotServe) as caught:
            serve.listen("127.0.0.1", port)
    assert str(caught.value) == f"cannot listen on 127.0.0.1 port {port}: Address already in use"


def test_refuses_an_unknown_host() -> None:
    with pytest.raises(serve.CannotServe, match=r"cannot listen on no.such.host.invalid port 0: "):
        serve.listen("no.such.host.invalid", 0)


@pytest.mark.parametrize("port", ["x", "-1", "65536", "80.5", "٣", "1" * 5000])
def test_refuses_an_invalid_port(port: Any) -> None:
    message = f"SERVING_PORT must be an integer from 0 to 65535, not {port!r}"
    with pytest.raises(serve.CannotServe, match=message):
        serve.Settings.from_environment({"SERVING_PORT": port})


@pytest.mark.parametrize("queue", ["x", "0", "100001", "1.5", "٣", "1" * 5000])
def test_refuses_an_invalid_queue(queue: Any) -> None:
    with pytest.raises(serve.CannotServe, match=f"SERVING_QUEUE must be an integer from 1 to 100000, not {queue!r}"):
        serve.Settings.from_environment({"SERVING_QUEUE": queue})


def test_the_environment_has_the_defaults_of_a_sagemaker_container() -> None:
    assert serve.Settings.from_environment({}) == serve.Settings(Path("/opt/ml/model"), "0.0.0.0", 8080)
