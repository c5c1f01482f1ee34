"""approve, reject, pause and resume: what they refuse, what they call, and what they say."""

from __future__ import annotations

import getpass
import io
from types import SimpleNamespace
from typing import Any

import pytest
import rich.console

from control import actions, pauses
from control.actions import Action
from local import acts
from local.console import Show
from local.project import Problem

RUN, OTHER = "v20261129t100000z-1a2b3c4d-r1", "v20261128t100000z-99887766-r1"
OUTPUTS = {"RunsTableName": "runs"}


class Ledger:
    """Two runs, of which those in `open_for` wait for a person."""

    open_for: tuple[str, ...] = (RUN,)

    def __init__(self, project: Any, table: str) -> None:
        assert table == "runs"

    def of_kind(self, kind: str, limit: int = 100) -> list[dict[str, Any]]:
        if kind == "TOKEN":
            return [{"jobKind": "APPROVAL", "jobName": f"arn/{run}", "runId": run} for run in self.open_for]
        assert kind == "RUN"
        return [{"pk": f"RUN#{run}", "startedAt": run[1:9]} for run in (OTHER, RUN)]


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Action, str, str]]:
    """The actions that are performed, with who and why."""
    made: list[tuple[Action, str, str]] = []

    def perform(connection: Any, action: Action, who: str, why: str) -> list[dict[str, Any]]:
        made.append((action, who, why))
        return []

    monkeypatch.setattr(actions, "perform", perform)
    monkeypatch.setattr(getpass, "getuser", lambda: "ann")
    monkeypatch.setattr(acts, "Ledger", Ledger)
    monkeypatch.setattr(Ledger, "open_for", (RUN,))
    return made


@pytest.fixture
def show() -> Show:
    return Show(rich.console.Console(file=io.StringIO(), width=300))


def said(show: Show) -> str:
    assert isinstance(show.console.file, io.StringIO)
    return show.console.file.getvalue()


PROJECT: Any = SimpleNamespace(connection=None)


def test_a_run_is_named_by_a_short_form_and_no_name_stays_none(done: Any) -> None:
    assert acts.named_run(PROJECT, OUTPUTS, "latest") == RUN
    assert acts.named_run(PROJECT, OUTPUTS, "9988") == OTHER
    assert acts.named_run(PROJECT, OUTPUTS, None) is None
    with pytest.raises(Problem, match="No run is named 'abc'"):
        acts.named_run(PROJECT, OUTPUTS, "abc")


def test_the_only_run_that_waits_is_approved_without_a_name(done: Any, show: Show) -> None:
    acts.decide(PROJECT, OUTPUTS, show, None, "Approved", "")
    ((action, who, why),) = done
    assert (action.name, action.facts["runId"], who, why) == ("approve", RUN, "ann, python -m local", "")
    assert action.calls[0].parameters["ModelPackageArn"] == f"arn/{RUN}"
    assert f"the model of {RUN} is approved" in said(show)


def test_a_rejection_keeps_its_reason(done: Any, show: Show) -> None:
    acts.decide(PROJECT, OUTPUTS, show, RUN, "Rejected", "before the sale")
    ((action, _, why),) = done
    assert (action.name, why) == ("reject", "before the sale")
    assert "The run ends REJECTED" in said(show)


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501])
def test_a_rejection_without_a_reason_that_can_be_kept_calls_nothing(done: Any, show: Show, reason: str) -> None:
    with pytest.raises(Problem, match="--reason must have 1 to 500 characters"):
        acts.decide(PROJECT, OUTPUTS, show, RUN, "Rejected", reason)
    assert done == []


@pytest.mark.parametrize(
    ("open_for", "run_id", "words"),
    [
        ((), None, "no run waits for a person"),
        ((RUN,), OTHER, f"{OTHER} waits for no person\n  {RUN} does"),
        ((RUN, OTHER), None, f"more than one run waits; name one:\n  {RUN}\n  {OTHER}"),
    ],
)
def test_what_does_not_wait_is_not_decided(
    done: Any, show: Show, monkeypatch: pytest.MonkeyPatch, open_for: tuple[str, ...], run_id: str | None, words: str
) -> None:
    monkeypatch.setattr(Ledger, "open_for", open_for)
    with pytest.raises(Problem) as caught:
        acts.decide(PROJECT, OUTPUTS, show, run_id, "Approved", "")
    assert words in str(caught.value)
    assert done == []


def action(name: str) -> Action:
    return Action(name, f"{name}?", (f"what {name} does",), ())


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Whether retraining is paused, and the drops that came meanwhile."""
    found = SimpleNamespace(paused=pauses.Retraining(False), missed=[], announced="not open_for")

    def resume(connection: Any, announced: str | None) -> Action:
        found.announced = announced
        return action("resume")

    monkeypatch.setattr(pauses, "retraining", lambda connection, ledger: found.paused)
    monkeypatch.setattr(pauses, "markers_since", lambda connection, since: found.missed if since else [])
    monkeypatch.setattr(pauses, "pause", lambda connection: action("pause"))
    monkeypatch.setattr(pauses, "resume", resume)
    return found


def test_a_second_pause_and_a_second_resume_call_nothing(done: Any, show: Show, state: SimpleNamespace) -> None:
    acts.resume(PROJECT, OUTPUTS, show, "", False)
    acts.pause(PROJECT, OUTPUTS, show, "a move")
    state.paused = pauses.Retraining(True)
    acts.pause(PROJECT, OUTPUTS, show, "")
    assert [(one.name, why) for one, _, why in done] == [("pause", "a move")]
    assert "retraining is not paused" in said(show) and "retraining is paused already" in said(show)


def test_resume_announces_the_newest_drop_and_names_the_others(done: Any, show: Show, state: SimpleNamespace) -> None:
    state.paused = pauses.Retraining(True, since="2026-11-29T10:00:00Z")
    state.missed = ["raw/a/_SUCCESS", "raw/b/_SUCCESS"]
    acts.resume(PROJECT, OUTPUTS, show, "", False)
    assert state.announced == "raw/b/_SUCCESS"
    assert "starts nothing of its own: raw/a/" in said(show)
    assert "raw/b/" not in said(show)


def test_resume_can_leave_the_drops_of_the_meantime(done: Any, show: Show, state: SimpleNamespace) -> None:
    state.paused = pauses.Retraining(True, since="2026-11-29T10:00:00Z")
    state.missed = ["raw/a/_SUCCESS"]
    acts.resume(PROJECT, OUTPUTS, show, "", True)
    assert state.announced is None
    assert "starts nothing of its own: raw/a/" in said(show)


def test_resume_says_when_it_cannot_know_what_came_meanwhile(done: Any, show: Show, state: SimpleNamespace) -> None:
    state.paused = pauses.Retraining(True)
    acts.resume(PROJECT, OUTPUTS, show, "", False)
    assert "since when it was paused is not known" in said(show)
