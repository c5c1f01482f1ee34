"""The tables of `make bench-serving`: processor time compared with peers, latency at a fixed rate, cores by catalogue
size, machines by latency limit, and memory.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress
from rich.table import Table

from benchmarks.scoring import SEEN, USERS, bundle_of
from benchmarks.serving import servers
from benchmarks.serving.servers import Server

CLIENT = Path(__file__).with_name("client.py")
ITEMS = 3_706
Shape = tuple[int, tuple[int, ...]]  # factors, layers
SMALL: Shape = (8, (32, 16, 8))
MEDIUM: Shape = (32, (64, 32, 16))
DEFAULT: Shape = (320, (16, 8))
REPEATS, CONNECTIONS = 5, 8
WARM = 3_000
"""Number of requests before the measurement: TorchServe's JVM needs them to compile its frequent code."""
MEASURED_SECONDS = 1.0
"""Processor time of a server in one repeat: the kernel counts it in hundredths of a second."""
RATE, SECONDS = 1_000, 60
CLIENT_SECONDS = 300
"""Maximum time of the client: the benchmark fails if a server does not answer."""
UTILISATION = 0.6
"""Planned utilisation of a core, or share of the highest rate."""
LIMITS_MS = (10, 25, 50)
RATE_STEP, RATE_SECONDS, RATE_CONNECTIONS = 1.25, 3, 64
HOURS_A_MONTH = 730


def bodies(items: int, candidates: int | None) -> list[str]:
    """Return a request body for each user, with random candidates or, without a number, for the whole catalogue."""
    random = np.random.default_rng(1)
    requests = []
    for user in range(USERS):
        body: dict[str, Any] = {"userId": f"u{user}", "numResults": 10}
        if candidates:
            body["candidates"] = [f"i{item}" for item in random.choice(items, candidates, replace=False)]
        requests.append(json.dumps(body))
    return requests


def send(
    server: Server, requests: list[str] | None, number: int, rate: float = 0, connections: int = CONNECTIONS
) -> dict[str, Any]:
    """Send requests; return the client's measurements, and the server's processor time meanwhile as `cpuSeconds`."""
    path = server.ping if requests is None else server.path
    settings = {
        "port": server.port, "path": path, "bodies": requests, "number": number, "rate": rate,
        "connections": connections,
    }  # fmt: skip
    before = server.cpu_seconds()
    done = subprocess.run(
        [sys.executable, CLIENT],
        input=json.dumps(settings),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=CLIENT_SECONDS,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    if result["errors"]:
        raise RuntimeError(f"{server.name}: {result['errors']} of {number} requests had another status than 200")
    return result | {"cpuSeconds": server.cpu_seconds() - before}


def table(title: str, *headings: str) -> Table:
    made = Table(title=title)
    for heading in headings:
        made.add_column(heading, justify="left" if heading == headings[0] else "right")
    return made


def peers(progress: Progress) -> Table:
    """Return the processor time of one request for each server: they are measured in turn; median of the repeats."""
    made = table(
        f"Processor time of the server for one request, {ITEMS:,} items, median of {REPEATS} runs in turn",
        "request", "TorchServe 0.12", "FastAPI + torch", "ours", "by TorchServe", "by FastAPI",
    )  # fmt: skip
    cases = [
        ("whole catalogue, 8 factors", SMALL, None),
        ("whole catalogue, 32 factors", MEDIUM, None),
        ("25 candidates, 8 factors", SMALL, 25),
        ("100 candidates, 8 factors", SMALL, 100),
    ]
    task = progress.add_task("peers", total=len(cases) * REPEATS * 3)
    for shape in (SMALL, MEDIUM):
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            bundle_of(ITEMS, *shape, Path(folder))
            running = [
                stack.enter_context(start(Path(folder)))
                for start in (servers.torchserve, servers.fastapi, servers.ours)
            ]
            for server in running:
                send(server, bodies(ITEMS, None), WARM)
            for name, its_shape, candidates in cases:
                if its_shape != shape:
                    continue
                requests = bodies(ITEMS, candidates)
                spent: dict[str, list[float]] = {server.name: [] for server in running}
                numbers = [_enough(server, requests) for server in running]
                for _ in range(REPEATS):
                    for server, number in zip(running, numbers, strict=True):
                        spent[server.name].append(send(server, requests, number)["cpuSeconds"] / number * 1000)
                        progress.advance(task)
                slow, middle, fast = (statistics.median(spent[server.name]) for server in running)
                made.add_row(
                    name,
                    f"{slow:.2f} ms",
                    f"{middle:.2f} ms",
                    f"{fast:.3f} ms",
                    f"{slow / fast:.1f}x",
                    f"{middle / fast:.1f}x",
                )
    return made


def _enough(server: Server, requests: list[str]) -> int:
    """Return the number of requests that take MEASURED_SECONDS."""
    number = 50
    while (spent := send(server, requests, number)["cpuSeconds"]) < MEASURED_SECONDS / 4:
        number *= 3
    needed: int = math.ceil(number * MEASURED_SECONDS / spent)
    return needed


def rate(progress: Progress, seconds: int = SECONDS) -> Table:
    """Return latencies, counted from the time when a request is due, and those of `/ping` at the same rate."""
    made = table(
        f"{RATE:,} requests a second for {seconds} s, open loop, {ITEMS:,} items",
        "request", "errors", "p50 ms", "p99 ms", "p99.9 ms", "server cores",
    )  # fmt: skip
    task = progress.add_task("rate", total=6)
    for name, shape in (("8 factors", SMALL), ("default, 320 factors", DEFAULT)):
        with tempfile.TemporaryDirectory() as folder:
            bundle_of(ITEMS, *shape, Path(folder))
            with servers.ours(Path(folder)) as server:
                send(server, bodies(ITEMS, None), 500)
                for label, requests in (
                    (f"/ping beside {name}", None),
                    (f"whole catalogue, {name}", bodies(ITEMS, None)),
                    (f"25 candidates, {name}", bodies(ITEMS, 25)),
                ):
                    result = send(server, requests, RATE * seconds, RATE, 64)
                    progress.advance(task)
                    made.add_row(
                        label, str(result["errors"]), f"{result['p50']:.2f}", f"{result['p99']:.2f}",
                        f"{result['p999']:.2f}", f"{result['cpuSeconds'] / result['seconds']:.2f}",
                    )  # fmt: skip
    return made


def catalogues(progress: Progress) -> Table:
    """Return the time of a request by catalogue size, and the cores for 1,000 requests per second."""
    made = table(
        "Our server, whole catalogue, one connection",
        "items", "factors", "MLP", "p50 ms", "processor ms", f"cores for 1,000/s at {UTILISATION:.0%}",
    )  # fmt: skip
    cases = [(3_706, *SMALL), (3_706, *MEDIUM), (3_706, *DEFAULT), (100_000, *SMALL), (1_000_000, *SMALL)]
    for items, factors, layers in progress.track(cases, description="catalogues"):
        with tempfile.TemporaryDirectory() as folder:
            bundle_of(items, factors, layers, Path(folder))
            with servers.ours(Path(folder)) as server:
                requests = bodies(items, None)
                send(server, requests, 20, connections=1)
                number = max(30, min(2_000, 20_000_000 // items))
                result = send(server, requests, number, connections=1)
        each = result["cpuSeconds"] / number
        widths = "-".join(map(str, layers))
        made.add_row(
            f"{items:,}",
            str(factors),
            widths,
            f"{result['p50']:.2f}",
            f"{each * 1000:.2f}",
            f"{1000 * each / UTILISATION:.1f}",
        )
    made.caption = "cores = 1,000 requests/s x processor seconds of a request / utilisation"
    return made


def right_size(progress: Progress) -> Table:
    """Return the highest rate for each limit of p99 latency, and the machines for 1,000 requests per second.

    Open loop. The rate grows by a quarter until p99 exceeds every limit. A limit counts as exceeded only if it is
    exceeded twice at the same rate, because other load on the machine may cause it once.
    """
    made = table(
        "Highest rate of one server by the 99th percentile of its latency, whole catalogue, requests/s",
        "items", "factors", *(f"p99 ≤ {limit} ms" for limit in LIMITS_MS), f"machines for 1,000/s, {LIMITS_MS[0]} ms",
    )  # fmt: skip
    cases = [(3_706, *SMALL, 500), (3_706, *DEFAULT, 300), (100_000, *SMALL, 60), (1_000_000, *SMALL, 20)]
    for items, factors, layers, start in progress.track(cases, description="right_size"):
        with tempfile.TemporaryDirectory() as folder:
            bundle_of(items, factors, layers, Path(folder))
            with servers.ours(Path(folder)) as server:
                requests = bodies(items, None)
                send(server, requests, 20)
                highest = _highest(server, requests, start)
        machines = math.ceil(1000 / (UTILISATION * highest[0])) if highest[0] else None
        made.add_row(f"{items:,}", str(factors), *(f"{rate:,.0f}" for rate in highest), str(machines or "none can"))
    made.caption = (
        f"machines = 1,000 / ({UTILISATION:.0%} of the rate), up; cost of a month = machines x price of an hour x "
        f"{HOURS_A_MONTH}; the client shares the machine's {os.cpu_count()} cores"
    )
    return made


def _highest(server: Server, requests: list[str], start: float) -> list[float]:
    """Return the highest rate for each limit of LIMITS_MS."""
    highest, kept, rate = [0.0] * len(LIMITS_MS), set(range(len(LIMITS_MS))), start
    while kept:
        number = max(100, int(rate * RATE_SECONDS))
        p99 = send(server, requests, number, rate, RATE_CONNECTIONS)["p99"]
        if any(p99 > LIMITS_MS[place] for place in kept):
            p99 = min(p99, send(server, requests, number, rate, RATE_CONNECTIONS)["p99"])
        kept = {place for place in kept if p99 <= LIMITS_MS[place]}
        for place in kept:
            highest[place] = rate
        rate *= RATE_STEP
    return highest


def memory(progress: Progress) -> Table:
    """Return the memory of a server's process, after loading and at its peak, and the result of `numbers_kept`."""
    made = table(
        "Memory of our server, MiB",
        "users", "items", "factors", "MLP", "numbers", "process", "more than numbers", "most at load",
    )  # fmt: skip
    cases = [
        (6_040, 3_706, *SMALL),
        (6_040, 3_706, *DEFAULT),
        (100_000, 100_000, *SMALL),
        (1_000_000, 1_000_000, *SMALL),
    ]
    for users, items, factors, layers in progress.track(cases, description="memory"):
        with tempfile.TemporaryDirectory() as folder:
            bundle_of(items, factors, layers, Path(folder), users)
            with servers.ours(Path(folder)) as server:
                send(server, bodies(items, None), 300)
                now, most = server.memory()
        numbers = numbers_kept(users, items, factors, layers, users * SEEN)
        figures = (numbers, now, now - numbers, most)
        widths = "-".join(map(str, layers))
        made.add_row(f"{users:,}", f"{items:,}", str(factors), widths, *(f"{size / 2**20:,.0f}" for size in figures))
    return made


def numbers_kept(
    users: int, items: int, factors: int, layers: tuple[int, ...], interactions: int, neighbours: int = 0, last: int = 0
) -> int:
    """Return the bytes of a NeuMF's numbers in the server, which grow with users, items and interactions.

    The MLP has at least one hidden layer, `layers[1]`. A recent part has `neighbours` an item and `last` items a user.
    """
    embedding, first = layers[0] // 2, layers[1]
    of_user = 4 * (factors + embedding) + 8
    of_item = 4 * (factors + embedding + first) + 4 + 8
    if neighbours:
        of_user += 9 * last + 8
        of_item += 8 * neighbours + 12
    return users * of_user + items * of_item + 4 * interactions


TABLES = {"peers": peers, "rate": rate, "catalogues": catalogues, "right_size": right_size, "memory": memory}
