"""Processor time and memory of counting one window of events (`functions/count_outcomes`), at two sizes.

DynamoDB is replaced below botocore by pages of 1 MB, so that botocore's parsing takes part, and the network does not.
Each answer has four events: it is shown, two items are chosen, and one is bought.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse
from rich.table import Table

from contracts.event_types import DEFAULT
from contracts.recommendation_ids import Answered
from count_outcomes import counting

SIZES = (100_000, 1_000_000)
EVENTS_A_PAGE = 2_500  # of 400 bytes
TYPES = ("impression", "view", "cart", "order")
KEY = "arn:aws:cloudformation:eu-central-1:123456789012:stack/ncf/51af3dc0"


class _Raw:
    """The body of an answer, as botocore reads it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self._body


def table() -> Table:
    """Measure each size in a process of its own."""
    found = Table("events in the window", "processor time", "each", "memory above that of start", "each")
    for size in SIZES:
        command = [sys.executable, "-m", "benchmarks.outcomes", str(size)]
        seconds, kilobytes = map(
            float, subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()
        )
        each = f"{1e6 * seconds / size:.0f} µs", f"{1024 * kilobytes / size:.0f} bytes"
        found.add_row(f"{size:,}", f"{seconds:.1f} s", each[0], f"{kilobytes / 1024:.0f} MB", each[1])
    return found


def _page(number: int) -> bytes:
    """A page of the index: a person has ten answers."""
    items = []
    for event in range(number * EVENTS_A_PAGE, (number + 1) * EVENTS_A_PAGE):
        answer, place = divmod(event, len(TYPES))
        made = Answered(
            run_id="v20260101t000000z-00000000-r1",
            source="personalized",
            request=f"6f0c5a1e-0000-4000-8000-{answer:012d}",
            placement=f"placement-{answer % 5}",
            trial="trial-1",
            variant=("AllTraffic", "Other")[answer % 2],
        )
        items.append(
            {
                "pk": {"S": f"U#{answer // 10}"},
                "item": {"S": f"item-{(answer * 7 + place) % 50_000}"},
                "type": {"S": TYPES[place]},
                "rid": {"S": made.to_text(KEY)},
                "value": {"N": "19.9"},
            }
        )
    return json.dumps({"Items": items, "LastEvaluatedKey": {"pk": {"S": "x"}}}).encode()


def _measure(size: int) -> tuple[float, float]:
    """Return the processor time in seconds and the memory in KB, both without the making of the pages."""
    client = boto3.client(
        "dynamodb", region_name="eu-central-1", aws_access_key_id="none", aws_secret_access_key="none"
    )
    body = [b""]
    client.meta.events.register(
        "before-send.dynamodb.Query",
        lambda request, **_: AWSResponse(request.url, 200, {}, _Raw(body[0])),  # type: ignore[no-untyped-call]  # botocore
    )
    count = counting.Count("2026-11-29T10:15Z", KEY, DEFAULT, 500)
    seconds, start = 0.0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(size // EVENTS_A_PAGE):
        body[0] = _page(number)
        before = _seconds()
        for item in client.query(TableName="events")["Items"]:
            count.add(
                item["pk"]["S"], item["item"]["S"], item["type"]["S"], item["rid"]["S"], float(item["value"]["N"])
            )
        seconds += _seconds() - before
    before = _seconds()
    window = count.window()
    seconds += _seconds() - before
    assert sum(row.impressions for row in window.rows.values()) == size // len(TYPES)
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start


def _seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    print(*_measure(int(sys.argv[1])))
