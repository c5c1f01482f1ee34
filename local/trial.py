"""A trial of two models in fast motion: real requests, events and functions; only the customers are simulated.

Those who meet the second model choose an item more often, so it is the one that should serve in the end.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from control.ledger import Ledger
from local import http, operations
from local.console import Show
from local.forget import call
from local.project import Problem, Project, RunFailedError
from local.recommend import answered
from local.status import trial_lines

RATES = {"AllTraffic": 0.1, "Other": 0.3}
"""How often a customer chooses an item of an answer, by the side of the trial."""
CUSTOMERS, MOST_ROUNDS = 100, 12
AT_ONCE = 4
LIMITS = {"minimumDays": 0, "minimumClicks": 40, "expected": 0.5}
"""Limits of the trial while it is shown: it looks for great differences, and does not wait for days."""
IN_FORCE_SECONDS = 240.0
SEED = 7


def show_trial(project: Project, outputs: Mapping[str, str], show: Show) -> None:
    """Try the model that served before beside the one that serves, until `trials` decides; the better one serves then.

    Raises Problem if no second model has served, RunFailedError if the trial does not end.
    """
    ledger = Ledger(project, outputs["RunsTableName"])
    if not (ledger.serving().get("previous") or {}).get("runId") or ledger.split():
        raise Problem("a trial needs two models that have served and no other trial: `make demo` deploys a second one")
    with _limits(project, outputs):
        operations.roll_back(project, outputs, show, None, 50, "a trial in fast motion")
        with show.stage("the trial is in force"):
            _wait_until_in_force(project, outputs)
        show.heading(f"Simulated customers choose {_percent('AllTraffic')} and {_percent('Other')} of the time")
        draws = random.Random(SEED)
        for start in range(0, CUSTOMERS * MOST_ROUNDS, CUSTOMERS):
            shops = [(f"guest-{start + number}", draws.random()) for number in range(CUSTOMERS)]
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(lambda one: _shop(project, outputs, *one), shops))
            call(project, outputs, "count-outcomes", {})
            found = call(project, outputs, "trials", {})
            for line in trial_lines(ledger.item(f"TRIAL#{found['trialId']}", "STATE")):
                show.line(line)
            if "verdict" in found:
                break
        else:
            raise RunFailedError("the trial did not end; `.venv/bin/python -m local rollback --percent 0` ends it")
    other = ledger.item(f"TRIAL#{found['trialId']}", "STATE")["other"]
    with show.stage(f"{found['verdict']}: the rollback machine carries it out") as note:
        _wait_until(lambda: not ledger.split(), "the end of the split")
        call(project, outputs, "trials", {})  # sees that the split has ended, and closes the trial
        note(f"{ledger.serving()['runId']} serves" + (", the better one" if ledger.serving()["runId"] == other else ""))


def _shop(project: Project, outputs: Mapping[str, str], customer: str, draw: float) -> None:
    """Ask for a list, see it, and perhaps choose its first item."""
    listed = answered(project, outputs, "GET", "/recommendations", {"userId": customer})
    named = {
        "recommendationId": listed["recommendationId"],
        "itemId": listed["itemList"][0]["itemId"],
        "sentAt": time.time(),
    }
    events = [{"eventType": "impression", **named}]
    if draw < RATES[(listed.get("trial") or {}).get("variant", "AllTraffic")]:
        events.append({"eventType": "click", **named})
    answered(project, outputs, "POST", "/events", body={"userId": customer, "eventList": events})


def _wait_until_in_force(project: Project, outputs: Mapping[str, str]) -> None:
    def is_named() -> bool:
        answer = http.call(project, outputs["ApiId"], "GET", "/recommendations", {"userId": "guest-0"})
        return isinstance(answer.body, dict) and "trial" in answer.body

    _wait_until(is_named, "an answer of the trial")


def _wait_until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + IN_FORCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise RunFailedError(f"not seen within {IN_FORCE_SECONDS:.0f} s: {what}")
        time.sleep(1)


@contextmanager
def _limits(project: Project, outputs: Mapping[str, str]) -> Iterator[None]:
    """LIMITS in force for the function `trials` inside the block."""
    functions = project.client("lambda")
    name = f"{outputs['EndpointName'].removesuffix('-recommender')}-trials"
    before = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    changed = before | {"TRIAL_LIMITS": json.dumps(LIMITS)}
    functions.update_function_configuration(FunctionName=name, Environment={"Variables": changed})
    try:
        yield
    finally:
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": before})


def _percent(side: str) -> str:
    return f"{RATES[side]:.0%} ({side})"
