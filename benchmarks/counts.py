"""Cost of counting a delivered file of events, and of a publication of popular items: each in a process of its own."""

from __future__ import annotations

import functools
import gzip
import io
import json
import multiprocessing
import random
import resource
import time
from collections.abc import Callable, Iterator

from rich.table import Table

from contracts.event_types import DEFAULT
from contracts.item_counts import Counts, hour_name, hour_number, pack
from count_items import counting
from publish_popular.document import Item, Lists, candidates
from publish_popular.rollup import DAY_ITEMS, HOUR_ITEMS, Rollup
from publish_popular.windows import Windows, rises

SIZES = (100_000, 1_000_000)
DAYS = 31
_AT = 1_795_687_200_000  # 2026-11-26T10:00 UTC, epoch milliseconds


def packed(events: int, people: int, items: int) -> bytes:
    """Return a file of events of a quarter of an hour, as Firehose delivers it. Popularity falls as 1 / rank."""
    draw = random.Random(1)
    chosen = draw.choices(range(items), [1 / (rank + 1) for rank in range(items)], k=events)
    file = io.BytesIO()
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1) as lines:
        for number, item in enumerate(chosen):
            at = _AT + draw.randrange(900_000)
            event = {
                "USER_ID": f"user-{draw.randrange(people)}", "ITEM_ID": f"item-{item}", "EVENT_TYPE": "view",
                "TIMESTAMP": at, "EVENT_ID": f"{number:032x}", "RECEIVED_AT": at + 40,
            }  # fmt: skip
            lines.write(json.dumps(event).encode() + b"\n")
    return file.getvalue()


def month(items: int) -> Iterator[Rollup]:
    """Yield the sums of a month at their limits: hours for two days, and a sum for each other day."""
    draw, now = random.Random(1), hour_number("2026-11-26T10")
    for day in range(DAYS):
        hours = range(now - 24 * day, now - 24 * day - 24, -1) if day < 2 else (now - 24 * day,)
        kept = HOUR_ITEMS if day < 2 else DAY_ITEMS
        counts: Counts = {
            hour_name(hour) if day < 2 else hour_name(hour)[:10]: {
                f"item-{item}": draw.randrange(1, 50) for item in draw.sample(range(items), kept)
            }
            for hour in hours
        }
        rollup = Rollup()
        rollup.add("0" * 32, counts, now)
        yield rollup


def count(content: bytes) -> str:
    """Count a file. Returns what to show of it."""
    found = counting.count(io.BytesIO(content), DEFAULT)
    return f"{len(pack(found.to_document())) / 1024:,.0f} KiB of counts"


def publish(stored: list[bytes]) -> str:
    """Make the lists of a month, but for S3 and the endpoint. Returns what to show of it."""
    now = hour_number("2026-11-26T10")
    windows = Windows(now)
    for content in stored:
        windows.add(Rollup.from_bytes(content, "it").counts)
    trending, totals = rises(windows.totals["24h"], windows.totals["before"]), windows.totals
    wanted = candidates([trending, totals["24h"], totals["7d"], totals["30d"]])
    known = {item: Item((f"category-{place % 100}",)) for place, item in enumerate(wanted)}
    content = Lists(totals, trending, known).to_json(now * 3600, known)
    return f"{len(content) / 1024:,.0f} KiB of lists"


def table() -> Table:
    """Return a table with a row for each file, and one for a publication."""
    result = Table(title="Counting events, and publishing what is popular: processor time and memory of the process")
    for heading in ("work", "input MiB", "cpu-s", "peak MiB", "above an idle process", "result"):
        result.add_column(heading, justify="right")
    idle = _measured(lambda: "")[1]
    for events in SIZES:
        content = packed(events, events // 10, 50_000)
        row = _measured(functools.partial(count, content))
        result.add_row(f"count {events:,} events", *_shown(len(content), row, idle))
    stored = [pack(rollup.to_document()) for rollup in month(100_000)]
    result.add_row(
        "publish a month at its limits", *_shown(sum(map(len, stored)), _measured(lambda: publish(stored)), idle)
    )
    return result


def _shown(size: int, row: tuple[float, float, str], idle: float) -> list[str]:
    seconds, peak, words = row
    return [f"{size / (1 << 20):.1f}", f"{seconds:.1f}", f"{peak:.0f}", f"{peak - idle:.0f}", words]


def _measured(work: Callable[[], str]) -> tuple[float, float, str]:
    """Return seconds of processor, peak MiB and the result of `work` in a process of its own."""
    ours, theirs = multiprocessing.Pipe()

    def run() -> None:
        begun = time.process_time()
        words = work()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        theirs.send((time.process_time() - begun, peak, words))

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    row: tuple[float, float, str] = ours.recv()
    process.join()
    return row
