"""`gate`: which runs a draft policy judges, and how its verdicts are shown beside those that are recorded."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
import rich.console

from control import policies
from local import what_if
from local.console import Show
from local.project import Problem

OUTPUTS = {"RunsTableName": "runs", "EndpointName": "shop-recommender"}
RUNS = [f"v202611{day:02}t000000z-00000000-r1" for day in range(1, 14)]
FAILED = RUNS[-1]


class Ledger:
    """All of RUNS but FAILED were judged; the last started last."""

    def __init__(self, project: Any, table: str) -> None:
        assert table == "runs"

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        assert kind == "RUN"
        return [{"pk": f"RUN#{run}", "startedAt": run} for run in RUNS]

    def decision(self, run_id: str, stage: str) -> dict[str, Any] | None:
        assert stage == "gate"
        return None if run_id == FAILED else {"verdict": "ACCEPTED"}


class Project:
    """A project whose function Evaluate answers `answer`; `asked` is the call."""

    def __init__(self, answer: dict[str, Any], error: str | None = None) -> None:
        self.answer = {"Payload": io.BytesIO(json.dumps(answer).encode())} | ({"FunctionError": error} if error else {})
        self.asked: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        assert service == "lambda"
        return self

    def invoke(self, **call: Any) -> dict[str, Any]:
        self.asked = {**call, "Payload": json.loads(call["Payload"])}
        return self.answer


@pytest.fixture(autouse=True)
def ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(what_if, "Ledger", Ledger)


def said(project: Project, folder: Path, run_id: str | None = None, draft: str = '{"floors": {}}') -> list[str]:
    """Return the lines that the command shows."""
    path = folder / "draft.json"
    path.write_text(draft)
    out = io.StringIO()
    show = Show(rich.console.Console(file=out, width=300))
    what_if.judge_again(project, OUTPUTS, show, path, run_id)  # type: ignore[arg-type]  # a stub of the project
    return out.getvalue().splitlines()


def verdict(run_id: str, new: str | None, recorded: str | None, *reasons: str) -> dict[str, Any]:
    return {"runId": run_id, "verdict": new, "recorded": recorded, "reasons": list(reasons)}


def test_the_last_ten_runs_that_were_judged_are_judged_again(tmp_path: Path) -> None:
    project = Project({"runs": []})
    assert said(project, tmp_path) == []
    assert project.asked["FunctionName"] == "shop-evaluate"
    assert project.asked["Payload"] == {"draft": {"floors": {}}, "runIds": RUNS[-2:-12:-1]}


def test_a_run_can_be_named(tmp_path: Path) -> None:
    project = Project({"runs": []})
    said(project, tmp_path, FAILED)
    assert project.asked["Payload"]["runIds"] == [FAILED]


def test_what_would_change_stands_beside_the_verdict(tmp_path: Path) -> None:
    answer = [
        verdict("a", "REJECTED", "ACCEPTED", "NDCG is 0.1, below the floor of 0.2"),
        verdict("b", "ACCEPTED", "ACCEPTED", "all is well"),
        verdict("c", "UNCHANGED", None),
        verdict("d", None, None, "runs/d/evaluation.json is missing: the run was not judged"),
    ]
    assert said(Project({"runs": answer}), tmp_path) == [
        "✗ a: REJECTED, was ACCEPTED",
        "    NDCG is 0.1, below the floor of 0.2",
        "✓ b: ACCEPTED",
        "    all is well",
        "✓ c: UNCHANGED, was not judged",
        "! d: cannot be judged",
        "    runs/d/evaluation.json is missing: the run was not judged",
    ]


def test_a_draft_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"draft\.json is not JSON"):
        said(Project({}), tmp_path, draft="{")
    with pytest.raises(Problem, match="the draft policy has an unknown key floor"):
        said(Project({"errorMessage": "the draft policy has an unknown key floor"}, "Unhandled"), tmp_path)


def test_without_a_judged_run_there_is_nothing_to_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ledger, "of_kind", lambda self, kind: [{"pk": f"RUN#{FAILED}", "startedAt": FAILED}])
    with pytest.raises(Problem, match="no run has been judged yet"):
        said(Project({}), tmp_path)


def test_without_a_draft_the_last_verdict_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(
        what_if, "Watcher", lambda *parts: type("W", (), {"show_gate": lambda self, run: told.append(run)})()
    )
    decision = {"verdict": "ACCEPTED", "updatedAt": "2026-11-12", "figures": {"policy": {"source": "policy/gate.json"}}}
    monkeypatch.setattr(Ledger, "decision", lambda self, run_id, stage: {} if run_id == FAILED else decision)
    out = io.StringIO()
    show = Show(rich.console.Console(file=out, width=300))
    what_if.show_verdict(Project({}), OUTPUTS, show, None)  # type: ignore[arg-type]  # a stub of the project
    assert told == [RUNS[-2]]
    assert f"{RUNS[-2]}, judged " in out.getvalue() and "by policy/gate.json" in out.getvalue()
    with pytest.raises(Problem, match=f"{FAILED} was not judged"):
        what_if.show_verdict(Project({}), OUTPUTS, show, FAILED)  # type: ignore[arg-type]  # a stub of the project


def test_a_draft_is_checked_before_it_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Any] = []
    monkeypatch.setattr(policies, "in_force", lambda connection: policies.InForce({}, "the parameter GatePolicy"))
    monkeypatch.setattr(what_if, "act", lambda project, show, action, reason: written.append((action, reason)))
    project: Any = type("P", (), {"connection": type("C", (), {"outputs": {"ArtifactsBucketName": "artifacts"}})()})()
    show = Show(rich.console.Console(file=io.StringIO()))
    draft = tmp_path / "draft.json"
    draft.write_text('{"floors": {"coverage": 1.5}}')
    with pytest.raises(Problem, match="coverage must be a number from 0 to 1"):
        what_if.publish(project, show, draft, "")
    assert written == []
    draft.write_text('{"floors": {"coverage": 0.5}}')
    what_if.publish(project, show, draft, "stricter")
    ((action, reason),) = written
    assert (action.calls[0].parameters["Key"], reason) == ("policy/gate.json", "stricter")
    assert json.loads(action.calls[0].parameters["Body"]) == {"floors": {"coverage": 0.5}}
