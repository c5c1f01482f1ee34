"""Sends requests and says how it went: reads `{"port": 8080, …}` from standard input and prints one JSON object.

A process of its own, so that its work is not the server's, on sockets that stay open. Requests are due at fixed times
(open loop), and a latency counts from when its request was due: a server that stalls is charged for everyone who waits
meanwhile. With `rate` 0 each connection sends its next request as soon as it has its answer (closed loop).
"""

import asyncio
import json
import sys
import time
from typing import Any

import uvloop


def encoded(path: str, body: bytes | None) -> bytes:
    if body is None:
        return b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode()
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % (path.encode(), len(body)) + body


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, request: bytes) -> int:
        """The status. Reads answers with a length and chunked ones."""
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        if b"content-length: " in head:
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await self._reader.readexactly(length)
        else:
            while length := int(await self._reader.readuntil(b"\r\n"), 16):
                await self._reader.readexactly(length + 2)
            await self._reader.readexactly(2)
        return int(head[9:12])


async def run(
    port: int, path: str, bodies: list[str] | None, number: int, rate: float, connections: int
) -> dict[str, Any]:
    texts = [None] if bodies is None else [body.encode() for body in bodies]
    requests = [encoded(path, text) for text in texts]
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(connections):
        free.put_nowait(Connection(*await asyncio.open_connection("127.0.0.1", port)))
    latencies: list[float] = []
    errors = 0

    async def one(place: int, due: float, connection: Connection) -> None:
        nonlocal errors
        errors += await connection.ask(requests[place % len(requests)]) != 200
        latencies.append(time.perf_counter() - due)
        free.put_nowait(connection)

    async def waits(place: int, due: float) -> None:
        await one(place, due, await free.get())

    began = time.perf_counter()
    running = []
    for place in range(number):
        if rate:
            due = began + place / rate
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            running.append(asyncio.create_task(waits(place, due)))
        else:
            connection = await free.get()
            running.append(asyncio.create_task(one(place, time.perf_counter(), connection)))
    await asyncio.gather(*running)
    seconds = time.perf_counter() - began
    ordered = sorted(latencies)

    def percentile(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000

    return {
        "requests": number,
        "errors": errors,
        "seconds": seconds,
        "p50": percentile(0.5),
        "p99": percentile(0.99),
        "p999": percentile(0.999),
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(**json.load(sys.stdin)))))
