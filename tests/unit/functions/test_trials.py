"""The trial of two models in the deployed stack: begun by a split, moved, decided, carried out and closed; also when
the function is killed between any two calls.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import boto3
import pytest

from contracts import outcomes, recent_events
from contracts.outcomes import Shown, Window
from contracts.trials import ALL_TRAFFIC, OTHER, Trial
from shared.environment import BadEnvironment
from shared.ledger import Ledger
from tests.unit.functions.cloud import ACCOUNT, ARTIFACTS, CONTEXT, ENVIRONMENT, NOW, RUN, Cloud, sample_event
from tests.unit.functions.sagemaker_fake import SageMakerFake
from tests.unit.functions.wire import Wire

EARLIER = "v20261101t000000z-00000000-r1"
MACHINE = ENVIRONMENT["ROLLBACK_STATE_MACHINE_ARN"]
BEGUN_BY = MACHINE.replace(":stateMachine:", ":execution:") + ":a-trial"
TRIAL = Trial(trial_id="a-trial", all_traffic=RUN, other=EARLIER, share=0.5)
DAY = 86_400.0
BEGUN = NOW - 10 * DAY
MODEL = {"modelPackageArn": "arn", "modelDataUrl": "s3://a/b", "endpointConfigName": "ncf"}


class Killed(BaseException):
    """The function was killed: its error handling does not run."""


def kill(event_name: str, request: Any, do: Any) -> Any:
    raise Killed(event_name)


class Shop:
    """The stack with a serving model, and a split if it has one."""

    def __init__(self, cloud: Cloud, app: Any, states: Any) -> None:
        self.cloud, self.app, self.states, self.now = cloud, app, states, NOW
        app.LEDGER._clock = lambda: self.now
        cloud.put("SERVING", "CURRENT", kind="SERVING", runId=RUN, datasetVersion=RUN[:-3], since="2026-11-23")

    def split(self, percent: int = 50, at: float = BEGUN, by: str = BEGUN_BY) -> None:
        now, self.now = self.now, at
        assert self.app.LEDGER.share_traffic(EARLIER, percent, "ncf-split", by, "a trial", 1)
        self.now = now

    def count(self, ratio: float, at: float, shown: int = 3000, trial: str = "a-trial") -> None:
        """One window at `at`: `shown` answers to each group on each side, AllTraffic's clicks at about 5 %."""
        draws = random.Random(at)
        sides = {
            side: tuple(
                Shown(shown, round(shown * 0.05 * factor * draws.uniform(0.9, 1.1))) for _ in range(outcomes.GROUPS)
            )
            for side, factor in ((ALL_TRAFFIC, 1.0), (OTHER, ratio))
        }
        window = Window(
            start=recent_events.window_start(int(at * 1000)), groups={(trial, name): sides[name] for name in sides}
        )
        self.app.LEDGER.save_outcomes(window, int(at * 1000))

    def look(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.app.handler({}, CONTEXT)
        return answer

    def document(self) -> Trial | None:
        found = self.cloud.objects(ARTIFACTS).get("serving/trial.json")
        return Trial.from_json(found) if found else None

    def state(self, trial: str = "a-trial") -> dict[str, Any]:
        return self.cloud.item(f"TRIAL#{trial}")

    def executions(self) -> dict[str, dict[str, Any]]:
        """The input of each execution of the rollback machine, by name."""
        listed = self.states.list_executions(stateMachineArn=MACHINE)["executions"]
        return {
            one["name"]: json.loads(self.states.describe_execution(executionArn=one["executionArn"])["input"])
            for one in listed
        }


def machine() -> Any:
    """The rollback machine: it starts and waits for ever."""
    states = boto3.client("stepfunctions")
    definition = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 3600, "End": True}}}
    role = f"arn:aws:iam::{ACCOUNT}:role/ncf-rollback"
    made = states.create_state_machine(name="ncf-rollback", definition=json.dumps(definition), roleArn=role)
    assert made["stateMachineArn"] == MACHINE
    return states


@pytest.fixture
def shop(load: Callable[..., ModuleType], cloud: Cloud) -> Shop:
    cloud.listen()
    return Shop(cloud, load("trials"), machine())


def situation(cloud: Cloud, aws: SageMakerFake) -> dict[str, Any]:
    """A trial that is decided."""
    cloud.listen()
    ledger = Ledger("ncf-runs", lambda: BEGUN)
    shop = Shop(cloud, SimpleNamespace(LEDGER=ledger), None)
    shop.split()
    shop.count(1.2, NOW - DAY)
    return sample_event("trials")


def test_without_a_split_nothing_happens(shop: Shop) -> None:
    assert shop.look() == {"outcome": "NONE"}
    assert shop.document() is None and shop.cloud.notifications() == []


def test_a_split_is_a_trial_with_its_share(shop: Shop) -> None:
    shop.split(20)
    assert shop.look() == {"outcome": "RUNNING", "trialId": "a-trial", "share": 0.2}
    assert shop.document() == Trial(trial_id="a-trial", all_traffic=RUN, other=EARLIER, share=0.2)
    state = shop.state()
    assert (state["status"], state["allTraffic"], state["other"]) == ("RUNNING", RUN, EARLIER)
    assert state["startedAt"] == shop.app.LEDGER.current_split()["since"]


def test_a_broken_document_is_written_anew(shop: Shop) -> None:
    shop.split()
    shop.cloud.write(ARTIFACTS, "serving/trial.json", "{")
    shop.look()
    assert shop.document() == TRIAL


def test_the_share_moves_by_a_step_with_its_figures(shop: Shop) -> None:
    shop.split(at=NOW - DAY)
    shop.count(1.05, NOW - DAY / 2)
    assert shop.look()["share"] == pytest.approx(0.6)
    document = shop.document()
    assert document is not None and document.share == pytest.approx(0.6)
    step = shop.cloud.item("TRIAL#a-trial", "STEP#0001")
    assert float(step["share"]) == pytest.approx(0.6) and float(step["figures"]["chanceOtherIsBetter"]) > 0.9
    assert shop.look()["share"] == pytest.approx(0.6)  # again only after some hours
    shop.now += 0.3 * DAY
    assert shop.look()["share"] == pytest.approx(0.7)


def test_windows_of_another_trial_do_not_count(shop: Shop) -> None:
    shop.split()
    shop.count(2.0, NOW - DAY, trial="another")
    assert shop.look()["outcome"] == "RUNNING"
    assert shop.state()["figures"]["impressions"] == {ALL_TRAFFIC: 0, OTHER: 0}


def test_the_better_one_serves_by_the_rollback_machine(shop: Shop) -> None:
    shop.split()
    shop.count(1.2, NOW - DAY)
    assert shop.look() == {
        "outcome": "DECIDED", "trialId": "a-trial", "share": 0.5, "verdict": "OTHER_IS_BETTER"
    }  # fmt: skip
    (wanted,) = shop.executions().values()
    assert (wanted["to"], wanted["from"]) == (EARLIER, RUN) and "percent" not in wanted
    assert wanted["reason"].startswith(f"trial a-trial: {EARLIER} earns more clicks than {RUN}")
    assert len(wanted["reason"]) <= 500
    (notice,) = shop.cloud.notifications()
    assert notice["Subject"] == f"Trial of {EARLIER}: it earns more clicks and will serve"
    assert "always-valid interval +" in notice["Message"]
    figures = shop.state()["figures"]
    assert 0.15 < float(figures["difference"]) < 0.25 and float(figures["low"]) > 0


def test_a_worse_one_is_met_by_nobody_at_once_and_the_split_ends(shop: Shop) -> None:
    shop.split(at=NOW - DAY)  # long before the shortest time
    shop.count(0.5, NOW - DAY / 2)
    assert shop.look()["verdict"] == "OTHER_IS_WORSE"
    document = shop.document()
    assert document is not None and document.share == 0 and not document.ended_at
    (wanted,) = shop.executions().values()
    assert (wanted["percent"], wanted["from"]) == (0, RUN) and "to" not in wanted


def test_out_of_time_the_model_that_serves_goes_on(shop: Shop) -> None:
    shop.split(at=NOW - 28 * DAY)
    shop.count(1.0, NOW - DAY)
    assert shop.look()["verdict"] == "UNDECIDED"
    (wanted,) = shop.executions().values()
    assert wanted["percent"] == 0 and "no difference was found in time" in wanted["reason"]


def test_out_of_time_without_clicks_says_so(shop: Shop) -> None:
    shop.split(at=NOW - 28 * DAY)
    assert shop.look()["verdict"] == "UNDECIDED"
    (notice,) = shop.cloud.notifications()
    assert "too few clicks for a comparison" in notice["Message"]


def test_a_verdict_is_told_and_carried_out_once(shop: Shop) -> None:
    shop.split()
    shop.count(1.2, NOW - DAY)
    shop.look()
    shop.count(0.2, NOW - DAY + 900)  # what comes later changes no verdict
    shop.now += 900
    assert shop.look()["verdict"] == "OTHER_IS_BETTER"
    assert len(shop.executions()) == len(shop.cloud.notifications()) == 1


def test_an_execution_that_failed_is_started_again_at_most_twice(shop: Shop) -> None:
    shop.split()
    shop.count(1.2, NOW - DAY)
    for _ in range(5):
        shop.look()
        for one in shop.states.list_executions(stateMachineArn=MACHINE, statusFilter="RUNNING")["executions"]:
            shop.states.stop_execution(executionArn=one["executionArn"], error="failed", cause="a test")
    assert sorted(name[-2:] for name in shop.executions()) == ["-1", "-2", "-3"]
    assert len(shop.cloud.notifications()) == 1


def test_the_longest_name_of_a_trial_gives_a_name_of_an_execution(shop: Shop) -> None:
    shop.split(by=f"{BEGUN_BY[:-7]}{'a' * 80}")
    shop.count(1.2, NOW - DAY, trial="a" * 80)
    shop.look()
    (name,) = shop.executions()
    assert len(name) <= 80


def test_a_name_with_other_characters_is_hashed(shop: Shop) -> None:
    shop.split(by=f"{BEGUN_BY}+é")
    trial = shop.look()["trialId"]
    assert len(trial) == 32 and shop.state(trial)["status"] == "RUNNING"


@pytest.mark.parametrize(
    ("serves", "end"),
    [
        (RUN, "ended without a verdict: the split has ended, and the model that served goes on"),
        (EARLIER, "ended without a verdict: the second model serves"),
        ("v20261127t000000z-00000000-r1", "ended without a verdict: v20261127t000000z-00000000-r1 was deployed"),
    ],
)
def test_a_trial_that_was_ended_by_others_is_closed(shop: Shop, serves: str, end: str) -> None:
    shop.split()
    shop.count(1.0, NOW - DAY)
    shop.look()
    shop.app.LEDGER.end_split()
    shop.cloud.put("SERVING", "CURRENT", kind="SERVING", runId=serves, datasetVersion=serves[:-3])
    assert shop.look() == {"outcome": "NONE"}
    assert (shop.state()["status"], shop.state()["end"]) == ("ENDED", end)
    assert shop.state()["figures"]["clicks"][OTHER] > 0
    document = shop.document()
    assert document is not None and document.ended_at
    assert shop.executions() == {} and shop.cloud.notifications() == []


def test_a_verdict_in_force_closes_the_trial_and_keeps_its_reasons(shop: Shop) -> None:
    shop.split()
    shop.count(1.2, NOW - DAY)
    shop.look()
    shop.app.LEDGER.end_split()
    shop.cloud.put("SERVING", "CURRENT", kind="SERVING", runId=EARLIER, datasetVersion=EARLIER[:-3])
    shop.look()
    state = shop.state()
    assert (state["status"], state["verdict"], state["end"]) == ("ENDED", "OTHER_IS_BETTER", "the second model serves")
    assert len(state["reasons"]) == 3 and len(shop.executions()) == 1


def test_another_split_is_another_trial(shop: Shop) -> None:
    shop.split()
    shop.look()
    shop.split(10, at=NOW - 60, by=f"{BEGUN_BY}-2")
    assert shop.look() == {"outcome": "RUNNING", "trialId": "a-trial-2", "share": 0.1}
    assert shop.state()["status"] == "ENDED"
    document = shop.document()
    assert document is not None and (document.trial_id, document.share) == ("a-trial-2", 0.1)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["moved", "worse", "closed"])
def test_a_call_that_was_killed_anywhere_is_made_good_by_the_next(
    shop: Shop, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare() -> None:
        """The same ledger and bucket before each attempt."""
        shop.cloud.empty()
        shop.cloud.notifications()
        shop.now = NOW
        shop.cloud.put("SERVING", "CURRENT", kind="SERVING", runId=RUN, datasetVersion=RUN[:-3], since="2026-11-23")
        shop.split(at=NOW - DAY, by=f"{BEGUN_BY}-{len(ends)}")
        trial = f"a-trial-{len(ends)}"
        if what == "closed":
            shop.look()
            shop.app.LEDGER.end_split()
        else:
            shop.count({"moved": 1.05, "worse": 0.5}[what], NOW - DAY / 2, trial=trial)

    def end() -> Any:
        """Records, document, executions and notifications in the end, without names of trials and times."""
        kept = {}
        for item in shop.cloud.items():
            if str(item["pk"]).startswith("TRIAL#"):
                times = {"updatedAt", "lookedAt", "decidedAt", "endedAt", "startedAt", "since"}
                kept[item["sk"]] = {name: value for name, value in item.items() if name not in times}
        document = shop.document()
        made = {name: wanted for name, wanted in shop.executions().items() if f"a-trial-{len(ends)}-" in name}
        told = [str(notice) for notice in shop.cloud.notifications()]
        ended = document and bool(document.ended_at)
        shown = (kept, document and document.share, ended, sorted(made.values(), key=str), told)
        return json.loads(json.dumps(shown, default=float).replace(f"a-trial-{len(ends)}", "a-trial"))

    ends: list[Any] = []
    wire = Wire(kill)
    with wire.laid(monkeypatch):
        prepare()
        wire.begin(None)
        shop.look()
        number = len(wire.calls)
        ends.append(end())
        for failing in range(number):
            prepare()
            wire.begin(failing)
            with pytest.raises(Killed):
                shop.look()
            wire.begin(None)
            shop.look()
            ends.append(end())
    assert number >= 4
    for found in ends[1:]:
        assert found == ends[0]


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"minimumDay": 1}, "minimumDay is unknown; the keys are confidence, expected"),
        ({"confidence": 2}, "confidence must be a number from 0.5 to 0.9999, not 2"),
        ({"step": "0.1"}, "step must be a number from 0.001 to 1, not '0.1'"),
        ({"minimumDays": 9, "maximumDays": 3}, "minimumDays must not exceed maximumDays"),
    ],
)
def test_limits_that_are_not_right_stop_the_start(
    load: Callable[..., ModuleType], limits: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadEnvironment, match=f"TRIAL_LIMITS: {words}"):
        load("trials", TRIAL_LIMITS=json.dumps(limits))


def test_limits_that_are_given_count(load: Callable[..., ModuleType]) -> None:
    app = load("trials", TRIAL_LIMITS='{"minimumDays": 0.5, "mostShare": 0.9}')
    assert (app.LIMITS.minimum_days, app.LIMITS.most_share, app.LIMITS.step) == (0.5, 0.9, 0.1)


def test_a_document_that_somebody_else_writes_meanwhile_is_not_overwritten(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.split()
    shop.look()
    newer = Trial(trial_id="a-newer-trial", all_traffic=EARLIER, other=RUN, share=0.5)
    split_of = shop.app.LEDGER.current_split

    def overtaken() -> Any:
        found = split_of()
        monkeypatch.setattr(shop.app.LEDGER, "current_split", split_of)
        shop.cloud.write(ARTIFACTS, "serving/trial.json", newer.to_json())  # by a deployment that began a trial
        return found

    shop.count(1.2, NOW - 9 * DAY)  # the share is to move
    monkeypatch.setattr(shop.app.LEDGER, "current_split", overtaken)
    shop.look()
    assert shop.document() == newer

    # An end, too, is of the trial that was read.
    def gone() -> None:
        shop.cloud.write(ARTIFACTS, "serving/trial.json", newer.to_json())

    monkeypatch.setattr(shop.app.LEDGER, "current_split", gone)
    shop.cloud.write(ARTIFACTS, "serving/trial.json", TRIAL.to_json())
    shop.look()
    assert shop.document() == newer
