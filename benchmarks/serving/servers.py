"""Starts each server as a separate process, and reads its processor time and memory."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import environment

PROJECT_ROOT = Path(__file__).resolve().parents[2]
PEERS = PROJECT_ROOT / "benchmarks" / "serving" / "peers"
START_SECONDS = 120
"""Maximum time for the start of a server."""
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Server:
    """A running server on the loopback interface."""

    name: str
    port: int
    pid: int
    path: str = "/invocations"
    ping: str = "/ping"

    def cpu_seconds(self) -> float:
        """Return the user and system time of the process and all its descendants."""
        children: dict[int, list[int]] = {}
        spent: dict[int, float] = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            pid = int(folder.name)
            children.setdefault(int(fields[1]), []).append(pid)
            spent[pid] = (int(fields[11]) + int(fields[12])) / _TICK
        pending, total = [self.pid], 0.0
        while pending:
            pid = pending.pop()
            total += spent.get(pid, 0.0)
            pending += children.get(pid, [])
        return total

    def memory(self) -> tuple[int, int]:
        """Return the current and the peak memory of the process itself, in bytes."""
        lines = (Path("/proc") / str(self.pid) / "status").read_text().splitlines()
        sizes = dict(line.split(":", 1) for line in lines)
        now, most = (int(sizes[name].removesuffix("kB")) * 1024 for name in ("VmRSS", "VmHWM"))
        return now, most


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


@contextmanager
def _running(
    name: str, command: list[str | Path], port: int, folder: Path, more: dict[str, str], **at: str
) -> Iterator[Server]:
    """Run the command until it answers `ping` with 200, and yield it. Raises RuntimeError, with its last output, if it
    does not answer in time.
    """
    variables = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"} | more
    log = folder / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            env=variables,
            cwd=folder,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    server = Server(name, port, process.pid, **at)
    try:
        until = time.monotonic() + START_SECONDS
        while not _answers(server):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{name} does not answer:\n{log.read_text()[-2000:]}")
            time.sleep(0.2)
        yield server
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and all processes of its group: TorchServe's command does not stop its server."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            continue
        time.sleep(0.5)  # the other processes of the group need time too
    process.wait()


def _answers(server: Server) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{server.ping}", timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def ours(bundle: Path) -> Iterator[Server]:
    port = _free_port()
    more = {
        "SM_MODEL_DIR": str(bundle),
        "SERVING_HOST": "127.0.0.1",
        "SERVING_PORT": str(port),
        "PYTHONPATH": str(PROJECT_ROOT),
    }
    with tempfile.TemporaryDirectory() as folder:
        command: list[str | Path] = [sys.executable, "-m", "serving.serve"]
        with _running("ours", command, port, Path(folder), more) as server:
            yield server


@contextmanager
def fastapi(bundle: Path) -> Iterator[Server]:
    python = environment.python("serving-peers", PEERS / "requirements.txt")
    port = _free_port()
    with tempfile.TemporaryDirectory() as folder:
        command: list[str | Path] = [python, PEERS / "fastapi_server.py", bundle, str(port)]
        with _running("FastAPI + plain torch", command, port, Path(folder), {}) as server:
            yield server


@contextmanager
def torchserve(bundle: Path) -> Iterator[Server]:
    python = environment.python("serving-peers", PEERS / "requirements.txt")
    port, others = _free_port(), [_free_port(), _free_port()]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(
            [
                python.with_name("torch-model-archiver"), "--model-name", "neumf", "--version", "1.0",
                "--handler", PEERS / "torchserve_handler.py", "--extra-files", PEERS / "plain_model.py",
                "--export-path", folder,
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        (folder / "config.properties").write_text(
            f"inference_address=http://127.0.0.1:{port}\nmanagement_address=http://127.0.0.1:{others[0]}\n"
            f"metrics_address=http://127.0.0.1:{others[1]}\nenable_grpc=false\ngrpc_inference_port={_free_port()}\n"
            f"grpc_management_port={_free_port()}\ndefault_workers_per_model=1\nnumber_of_netty_threads=2\n"
            "disable_token_authorization=true\njob_queue_size=1000\n"
        )
        command: list[str | Path] = [
            python.with_name("torchserve"), "--start", "--foreground", "--model-store", folder,
            "--models", "neumf=neumf.mar", "--ts-config", folder / "config.properties", "--disable-token-auth",
        ]  # fmt: skip
        path = os.pathsep.join([str(python.parent), os.environ["PATH"]])
        more = {"BUNDLE": str(bundle), "PATH": path, "TEMP": name, "LOG_LOCATION": name, "METRICS_LOCATION": name}
        at = {"path": "/predictions/neumf"}
        if shutil.which("java") is None:
            raise RuntimeError("TorchServe needs Java, but PATH has no java")
        with _running("TorchServe 0.12", command, port, folder, more, **at) as server:
            yield server
