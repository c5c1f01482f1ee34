"""The smoke test of a deployed stack: drop a small shop, wait for its run, ask a recommendation over HTTP.

The shop has four circles of customers who buy within their circle, so that a model that learned anything answers with
the circle's items. Its model becomes the one that serves, so the test is for stacks without customers; of another one
it only asks whether the API answers.
"""

from __future__ import annotations

import csv
import io
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from control import api
from control.api import Request
from control.connection import Connection
from control.ledger import Ledger, reasons_of
from delivery.chain.stack import ChainError

CIRCLES, CUSTOMERS, ITEMS, EACH = 4, 400, 30, 12
FIRST = 1_736_121_600  # 2025-01-06T00:00:00Z
LIMIT_SECONDS = 2.5 * 3600
POLL_SECONDS = 5.0
UNFIT = ("REFUSED", "QUARANTINED", "FAILED", "ABORTED", "STALE")
OVER = ("DEPLOYED", "REJECTED", "UNCHANGED", "FAILED", "ABORTED", "ROLLED_BACK")
PEOPLE = 5
SHARE = 0.6
"""Least share of the answered items that are of the customer's circle; chance gives a quarter."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Smoke:
    """The test of one stack."""

    connection: Connection
    say: Say
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.connection, self.connection.outputs["RunsTableName"])

    def run(self) -> None:
        """The whole test. Raises ChainError with what did not hold."""
        version = self._prepared(self._drop())
        self.ask(self._ended(f"{version}-r1"))

    def answers(self) -> None:
        """Only that the API answers, and who would. Raises ChainError."""
        answer = api.call(self.connection, Request(self.connection.api_url(), "GET", "/health"))
        if not answer.is_good:
            raise ChainError(f"/health: {api.refusal(answer)}")
        self.say(f"/health answers: {answer.body}")

    def ask(self, run: dict[str, Any]) -> None:
        """Ask for some customers of each circle. Raises ChainError if the model does not answer, or not for them."""
        good = asked = 0
        for customer in range(CIRCLES * PEOPLE):
            path = f"/users/u{customer}/recommendations"
            answer = api.call(self.connection, Request(self.connection.api_url(), "GET", path, {"numResults": "5"}))
            if not answer.is_good:
                raise ChainError(f"{path}: {api.refusal(answer)}")
            if answer.body["source"] != "personalized":
                raise ChainError(_unserved(path, answer.body["source"], run))
            items = [entry["itemId"] for entry in answer.body["itemList"]]
            good += sum(_circle_of_item(item) == customer % CIRCLES for item in items)
            asked += len(items)
        if not asked or good < SHARE * asked:
            raise ChainError(f"{good} of {asked} recommended items are of the customer's circle, {SHARE:.0%} expected")
        self.say(f"asked for {CIRCLES * PEOPLE} customers: {good} of {asked} items are of the customer's own circle")

    def _drop(self) -> str:
        name = f"smoke-{datetime.fromtimestamp(self.now(), UTC):%Y%m%dt%H%M%Sz}"
        s3, bucket = self.connection.client("s3"), self.connection.outputs["DataBucketName"]
        s3.put_object(Bucket=bucket, Key=f"raw/{name}/interactions.csv", Body=shop())
        s3.put_object(Bucket=bucket, Key=f"raw/{name}/_SUCCESS", Body=b"")
        self.say(f"dropped raw/{name}/: {CUSTOMERS} customers, {CIRCLES * ITEMS} items")
        return name

    def _prepared(self, drop: str) -> str:
        """The dataset version of the drop."""

        def look() -> dict[str, Any] | None:
            found = [one for one in self.ledger.of_kind("DATASET") if f"/raw/{drop}/" in str(one.get("source", ""))]
            for record in found:
                if record["status"] in UNFIT:
                    raise ChainError(
                        f"the preparation of raw/{drop}/ is {record['status']}: {'; '.join(reasons_of(record))}"
                    )
            return next((one for one in found if one["status"] in ("PREPARED", "CLAIMED")), None)

        record = self._wait(look, f"raw/{drop}/ to be prepared")
        version = str(record["pk"]).partition("#")[2]
        self.say(f"prepared: dataset version {version}")
        return version

    def _ended(self, run_id: str) -> dict[str, Any]:
        """A later smoke test has the same data, so its model may be no better and rejected; that is no fault."""

        def look() -> dict[str, Any] | None:
            record = self.ledger.run(run_id)
            return record if record.get("status") in OVER else None

        record = self._wait(look, f"run {run_id} to end")
        self.say(f"run {run_id}: {record['status']}")
        if record["status"] not in ("DEPLOYED", "REJECTED", "UNCHANGED"):
            raise ChainError(f"the run {run_id} is {record['status']}: {'; '.join(reasons_of(record))}")
        return record

    def _wait(self, look: Callable[[], dict[str, Any] | None], what: str) -> dict[str, Any]:
        deadline = self.now() + LIMIT_SECONDS
        while self.now() < deadline:
            if found := look():
                return found
            self.sleep(POLL_SECONDS)
        raise ChainError(f"waited {LIMIT_SECONDS / 3600:g} hours for {what}")


def shop() -> bytes:
    """Interactions as CSV; the same bytes on every day."""
    draw = random.Random(7)
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(["user_id", "item_id", "timestamp"])
    for customer in range(CUSTOMERS):
        circle = customer % CIRCLES
        for place, item in enumerate(draw.sample(range(ITEMS), EACH)):
            # One in twelve is of another circle: people are not that simple.
            own = circle if place else draw.randrange(CIRCLES)
            rows.writerow([f"u{customer}", f"i{own * ITEMS + item}", FIRST + customer * 60 + place * 86_400])
    return out.getvalue().encode()


def _unserved(path: str, source: str, run: dict[str, Any]) -> str:
    said = f"{path}: the answer is {source}, not of a model of the smoke test's shop"
    if run["status"] == "DEPLOYED":
        return f"{said}: see the log of the function recommend, and the endpoint"
    remedy = "keep this stack for smoke tests: `make teardown` it, delete its buckets and ledger, and release it anew"
    return f"{said}, which the gate rejected: {'; '.join(reasons_of(run))}\n  {remedy}"


def _circle_of_item(item: str) -> int:
    return int(item.removeprefix("i")) // ITEMS
