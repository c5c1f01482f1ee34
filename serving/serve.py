"""The command `serve`: load the model, check it, answer requests until SIGTERM.

It answers only if the bundle is complete and its golden requests are answered as recorded; otherwise it exits with
status 1 and one line that gives the reason. On SIGTERM and SIGINT it finishes the requests in flight and exits with
status 0.

Environment: SM_MODEL_DIR (default /opt/ml/model), SERVING_HOST (default 0.0.0.0), SERVING_PORT (default 8080; 0 is any
free port, reported in the line "serving"), SERVING_QUEUE (maximum requests in flight, default 256), SERVING_NAME
(dimension `service` of the metrics, default recommender), SERVING_DEVICE (cpu, cuda, or auto, the default: the faster
one for this model if the machine has both), SERVING_BUNDLE_DIGEST (the digest of the only bundle that may be served;
without it, any bundle). Standard output has one JSON object per line; no line contains a user id.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
import uvloop

from contracts import golden as answers
from contracts.values import integer_in, is_integer
from ncf import bundle as bundles
from serving import kernels
from serving.invocation import from_document
from serving.metrics import Metrics
from serving.scorer import Scorer
from serving.server import MOST_TOGETHER, QUEUE, Service, fit_in_a_turn

logger = logging.getLogger("serving")

DEVICES = ("auto", "cpu", "cuda")
WORKERS = max(1, min(8, os.cpu_count() or 1))
"""Number of threads for rankings that take too long for the event loop."""


class CannotServe(Exception):
    """The server must not start; the message says what the operator must correct."""


@dataclass(frozen=True)
class Settings:
    """The server's settings."""

    model_directory: Path
    host: str
    port: int
    queue: int = QUEUE
    name: str = "recommender"
    device: str = "auto"
    bundle_digest: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """From environment variables. Raises `CannotServe` for an invalid port, queue or device."""
        port = integer_in(environment.get("SERVING_PORT") or "8080")
        if not is_integer(port, 0, 65535):
            raise CannotServe(f"SERVING_PORT must be an integer from 0 to 65535, not {environment['SERVING_PORT']!r}")
        queue = integer_in(environment.get("SERVING_QUEUE") or str(QUEUE))
        if not is_integer(queue, 1, 100_000):
            raise CannotServe(
                f"SERVING_QUEUE must be an integer from 1 to 100000, not {environment['SERVING_QUEUE']!r}"
            )
        device = environment.get("SERVING_DEVICE") or "auto"
        if device not in DEVICES:
            raise CannotServe(f"SERVING_DEVICE must be auto, cpu or cuda, not {device!r}")
        return cls(
            model_directory=Path(environment.get("SM_MODEL_DIR") or "/opt/ml/model"),
            host=environment.get("SERVING_HOST") or "0.0.0.0",
            port=port,
            queue=queue,
            name=environment.get("SERVING_NAME") or "recommender",
            device=device,
            bundle_digest=environment.get("SERVING_BUNDLE_DIGEST") or "",
        )


def load(directory: Path, device: str = "auto") -> tuple[bundles.Bundle, Scorer]:
    """The bundle in `directory` and its scorer on `device`, checked by the golden requests. "auto" selects the
    faster one of CPU and GPU if the machine has both. Raises `CannotServe`.
    """
    cuda = torch.cuda.is_available()
    if device == "cuda" and not cuda:
        raise CannotServe("SERVING_DEVICE is cuda, and this machine has no CUDA device")
    kernels.compile_all()
    if device != "auto" or not cuda:
        return _checked(directory, "cpu" if device == "auto" else device)
    return quicker(directory, ("cpu", "cuda"))


def quicker(
    directory: Path, devices: tuple[str, ...], clock: Callable[[], float] = time.perf_counter
) -> tuple[bundles.Bundle, Scorer]:
    """Like `load`, on the one of `devices` with the least time per ranking under load. For a small catalogue this may
    be the CPU: launching a GPU's kernels takes longer than the whole ranking (decision 0014).
    """
    checked = {device: _checked(directory, device) for device in devices}
    durations = {}
    for device, (bundle, scorer) in checked.items():
        requests = [from_document(case["request"]) for case in bundle.golden]
        requests = (requests * MOST_TOGETHER)[:MOST_TOGETHER]
        rounds = []
        for _ in range(5):
            began = clock()
            scorer.answers(requests)
            rounds.append((clock() - began) / MOST_TOGETHER)
        # Long rankings run in WORKERS threads at the same time.
        parallel = 1 if device == "cuda" or fit_in_a_turn(duration(scorer, bundle)) > 1 else WORKERS
        durations[device] = min(rounds) / parallel
    chosen = min(durations, key=lambda device: durations[device])
    milliseconds = {device: round(seconds * 1000, 4) for device, seconds in durations.items()}
    logger.info("device", extra={"fields": {"chosen": chosen, "milliseconds": milliseconds}})
    return checked[chosen]


def _checked(directory: Path, device: str) -> tuple[bundles.Bundle, Scorer]:
    try:
        bundle = bundles.load(directory, device=device)
    except bundles.BrokenBundle as error:
        raise CannotServe(f"the model in {directory} is broken: {error}") from error
    scorer = Scorer(bundle)
    found = answers.differences(bundle.golden, lambda request: scorer.answer(from_document(request)))
    if found:
        raise CannotServe(
            f"the model in {directory} does not answer as recorded in {bundles.GOLDEN}: {'; '.join(found)}"
        )
    return bundle, scorer


def require_digest(bundle: bundles.Bundle, wanted: str) -> None:
    """Raises `CannotServe` if the bundle is not the judged one, whose digest is `wanted`; "" compares nothing."""
    if wanted and bundle.digest != wanted:
        raise CannotServe(
            f"the bundle of run {bundle.run_id} has the digest {bundle.digest}, not {wanted}, which was judged: its "
            "archive was changed after the training; restore that archive or deploy another model"
        )


def duration(scorer: Scorer, bundle: bundles.Bundle) -> float:
    """Seconds that the slowest golden request takes: the least of five rounds, which has the least noise."""
    requests = [from_document(case["request"]) for case in bundle.golden]

    def slowest() -> float:
        seconds = []
        for request in requests:
            began = time.perf_counter()
            scorer.answer(request)
            seconds.append(time.perf_counter() - began)
        return max(seconds)

    return min(slowest() for _ in range(5))


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. Raises `CannotServe` if the address cannot be bound."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        # create_server appends the address to the text of the error number.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise CannotServe(f"cannot listen on {host} port {port}: {reason}") from error


async def until_stopped(service: Service, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Serves until SIGTERM or SIGINT; at a second signal, requests in flight are dropped. Calls `ready` once the signal
    handlers are installed.
    """
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def stopping() -> None:
        if stop.is_set():
            service.abort()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping)
    ready()
    await service.serve(listener, stop)


class JsonLines(logging.Formatter):
    """One JSON object per record; `extra={"fields": {...}}` adds to it."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0]:
            line["error"] = record.exc_info[0].__name__
        return json.dumps(line)


def main() -> int:
    """Serves until stopped; returns the exit status."""
    started = time.monotonic()
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logger.setLevel(logging.INFO)
    # Requests are the unit of parallelism: threads inside one ranking would only compete with the other rankings.
    torch.set_num_threads(1)
    try:
        settings = Settings.from_environment(os.environ)
        bundle, scorer = load(settings.model_directory, settings.device)
        require_digest(bundle, settings.bundle_digest)
        seconds = duration(scorer, bundle)
        listener = listen(settings.host, settings.port)
    except CannotServe as error:
        logger.error(str(error))
        return 1
    service = Service(
        scorer.answers,
        bundle.run_id,
        workers=WORKERS,
        seconds=seconds,
        queue=settings.queue,
        metrics=Metrics(settings.name, bundle.run_id),
        device=bundle.model.device.type,
    )
    status = {
        "modelVersion": bundle.run_id,
        "model": bundle.model.name,
        "users": len(bundle.user_index),
        "items": len(bundle.item_ids),
        "host": settings.host,
        "port": listener.getsockname()[1],
        "device": str(bundle.model.device),
        **scorer.path,
        "rankingMilliseconds": round(seconds * 1000, 3),
        "seconds": round(time.monotonic() - started, 3),
    }
    # The loaded objects never become garbage, and a collection that scans them would block requests for 0.1 s.
    gc.collect()
    gc.freeze()
    with listener:
        uvloop.run(until_stopped(service, listener, lambda: logger.info("serving", extra={"fields": status})))
    logger.info("stopped", extra={"fields": {"modelVersion": bundle.run_id}})
    return 0


if __name__ == "__main__":
    sys.exit(main())
