"""`forget`: what is asked of the function, and what is said."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest
import rich.console

from contracts.forgotten import Forgotten, digest
from control import pauses, people
from local import demo, recommend
from local.catalogue import Dataset
from local.console import Show
from local.forget import erase, forget
from local.http import Answer
from local.project import Problem, Project, RunFailedError
from local.watch import Watcher

OUTPUTS = {"EndpointName": "ncf-recommender"}
KEY = "5a" * 32
ANSWER = {"person": "5a" * 32, "isNew": True, "lists": 1}


class Aws:
    """A project whose function answers as told."""

    def __init__(self, answer: dict[str, Any], **more: Any) -> None:
        self.answer, self.more = answer, more
        self.called: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        assert service == "lambda"
        return self

    def invoke(self, **call: Any) -> dict[str, Any]:
        self.called = {**call, "Payload": json.loads(call["Payload"])}
        return {"Payload": io.BytesIO(json.dumps(self.answer).encode()), **self.more}


def said(aws: Any) -> str:
    out = io.StringIO()
    forget(aws, OUTPUTS, Show(rich.console.Console(file=out, width=300)), "jane", "asked for it")
    return out.getvalue()


def test_the_function_is_asked_and_its_answer_told_without_the_id() -> None:
    aws = Aws(ANSWER)
    text = said(aws)
    assert aws.called == {
        "FunctionName": "ncf-forget",
        "Payload": {"userId": "jane", "reason": "asked for it", "by": "python -m local"},
    }
    assert "the person is forgotten; the ledger has the tombstone 5a5a5a5a5a5a…" in text
    assert "1 list of batches removed" in text
    assert "jane" not in text


def test_a_second_request_says_so() -> None:
    assert "the person is already forgotten" in said(Aws({**ANSWER, "isNew": False}))


def test_a_refusal_is_told() -> None:
    with pytest.raises(Problem, match="reason must not contain the userId"):
        said(Aws({"errorMessage": "reason must not contain the userId"}, FunctionError="Unhandled"))


def erased(**answer: Any) -> str:
    out = io.StringIO()
    aws: Any = Aws({"people": 2, "removed": {"rows": 3}, "remaining": [], **answer})
    erase(aws, OUTPUTS, Show(rich.console.Console(file=out, width=300)))
    assert aws.called == {"FunctionName": "ncf-erase", "Payload": {"now": True, "unreadable": "keep"}}
    return out.getvalue()


def test_what_was_removed_is_told_and_what_must_stay() -> None:
    text = erased(status="ERASED")
    assert "removed 3 rows" in text
    assert "nothing is kept of 2 people and sessions" in text
    text = erased(status="WAITING", remaining=["training/x/model.tar.gz has the id of a forgotten person: it serves"])
    assert "training/x/model.tar.gz has the id of a forgotten person: it serves" in text
    assert "nobody is forgotten" in erased(status="NOTHING_TO_DO")


class Followed(Watcher):
    """Follows nothing, and tells what it was asked for."""

    drops: ClassVar[list[tuple[str, set[str]]]] = []

    def __init__(self, *_: Any) -> None:
        pass

    def known_preparations(self) -> set[str]:
        return {"earlier"}

    def follow(self, drop: str, before: set[str]) -> Any:
        self.drops.append((drop, before))
        raise RunFailedError("the job failed")


def test_new_events_are_announced_and_the_drop_that_they_are_in_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "Watcher", Followed)
    monkeypatch.setattr(demo, "_check_not_paused", lambda *_: None)
    out = io.StringIO()
    show = Show(rich.console.Console(file=out, width=300))
    aws: Any = Aws({"outcome": "ANNOUNCED", "drop": "live-2026-11-23"})
    with pytest.raises(RunFailedError, match="the job failed"):
        demo.close_events(aws, OUTPUTS, show)
    assert aws.called == {"FunctionName": "ncf-close-events", "Payload": {}}
    assert Followed.drops == [("live-2026-11-23", {"earlier"})]
    nothing: Any = Aws({"outcome": "NOTHING_NEW", "drop": None})
    assert demo.close_events(nothing, OUTPUTS, show) is None
    assert "there are no new events" in out.getvalue()


def test_while_retraining_is_paused_nothing_is_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    paused = pauses.Retraining(True, since="2026-11-29T10:00:00Z", who="ann")
    monkeypatch.setattr(pauses, "retraining", lambda connection, ledger: paused)
    monkeypatch.setattr(demo, "Ledger", lambda project, table: None)
    aws: Any = Aws({})
    aws.connection = None
    with pytest.raises(Problem, match=r"retraining is paused by ann, and data start nothing: .* resume"):
        demo.close_events(aws, {"RunsTableName": "runs"}, Show(rich.console.Console(file=io.StringIO())))
    assert aws.called == {}


def test_what_a_forgotten_person_liked_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dataset has the person until the next preparation."""
    gone = Forgotten(KEY, frozenset({digest(KEY, "jane")}))
    monkeypatch.setattr(people, "forgotten", lambda _: gone)
    monkeypatch.setattr(recommend, "ask", lambda *_: Answer(200, {"itemList": [], "source": "popular"}))
    liked = SimpleNamespace(liked_by=lambda _: [SimpleNamespace(label="a red lamp")])
    texts = []
    for user in ("jane", "joe"):
        out = io.StringIO()
        show = Show(rich.console.Console(file=out, width=300))
        recommend.show_recommendations(Project.from_environment(), {}, show, user, dataset=cast(Dataset, liked))
        texts.append(out.getvalue())
    assert "forgotten: these are the most popular items" in texts[0] and "red lamp" not in texts[0]
    assert "liked before: a red lamp" in texts[1]
