"""`rules`: the words of the command line, and how a published document comes into force."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import rich.console

from control import rules
from control.actions import Action, Call
from control.rules import RULES
from local import shop_rules
from local.console import Show
from local.project import Problem
from local.shop_rules import KINDS

PROJECT: Any = SimpleNamespace(connection=SimpleNamespace(outputs={"ArtifactsBucketName": "artifacts"}))


@pytest.fixture
def show() -> Show:
    return Show(rich.console.Console(file=io.StringIO(), width=300))


def said(show: Show) -> str:
    assert isinstance(show.console.file, io.StringIO)
    return show.console.file.getvalue()


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """The calls that are made."""
    calls: list[Call] = []

    def act(project: Any, show: Show, action: Action, reason: str) -> list[dict[str, Any]]:
        calls.extend(action.calls)
        return [{"ETag": '"abc"'}]

    monkeypatch.setattr(shop_rules, "act", act)
    monkeypatch.setattr(shop_rules, "POLL_SECONDS", 0.0)
    return calls


def states(monkeypatch: pytest.MonkeyPatch, *statuses: str) -> None:
    """The states that the document has, one after the other, beginning with that before it is published."""
    rest = iter(statuses)

    def read_state(connection: Any, kind: Any, with_versions: bool) -> Any:
        return SimpleNamespace(status=next(rest), current={"schemaVersion": "1.0"}, source=None)

    monkeypatch.setattr(rules, "read_state", read_state)


@pytest.mark.parametrize(
    ("action", "what", "kind", "path"),
    [
        ("show", [], RULES, ""),
        ("show", ["placements"], KINDS["placements"], ""),
        ("check", ["rules.json"], RULES, "rules.json"),
        ("publish", ["event-types", "types.json"], KINDS["event-types"], "types.json"),
    ],
)
def test_business_rules_are_meant_unless_another_kind_is_named(
    action: str, what: list[str], kind: Any, path: str
) -> None:
    assert shop_rules.parts(action, what) == (kind, path)


def test_a_published_document_is_waited_for_until_it_is_in_force(
    tmp_path: Path, show: Show, written: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rules.json"
    path.write_text('{"schemaVersion": "1.0", "deny": ["a", "b"]}')
    states(monkeypatch, "ABSENT", "WAITING", "WAITING", "APPLIED")
    shop_rules.documents(PROJECT, show, "publish", [str(path)], "agreed")
    assert json.loads(written[0].parameters["Body"])["deny"] == ["a", "b"]
    assert "is valid: deny 2" in said(show) and "✓ put the business rules in force" in said(show)


def test_a_document_that_the_stack_refuses_is_a_problem(
    tmp_path: Path, show: Show, written: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rules.json"
    path.write_text('{"schemaVersion": "1.0"}')
    states(monkeypatch, "ABSENT", "REFUSED")
    with pytest.raises(Problem, match="the stack refused the business rules; the earlier ones stay in force"):
        shop_rules.documents(PROJECT, show, "publish", [str(path)], "")


@pytest.mark.parametrize("action", ["check", "publish"])
def test_a_wrong_file_is_named_and_nothing_is_written(
    tmp_path: Path, show: Show, written: list[Call], action: str
) -> None:
    path = tmp_path / "rules.json"
    path.write_text('{"schemaVersion": "1.0", "dney": []}')
    with pytest.raises(Problem, match=r"rules\.json has an unknown key dney"):
        shop_rules.documents(PROJECT, show, action, [str(path)], "")
    assert written == []


def test_show_says_what_is_in_force_or_that_nothing_is(show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"rules": {"schemaVersion": "1.0", "deny": ["a"], "boosts": {"b": 2}}}

    def read_state(connection: Any, kind: Any, with_versions: bool) -> Any:
        document = found.get(kind.name)
        return SimpleNamespace(in_force=document and SimpleNamespace(document=document))

    monkeypatch.setattr(rules, "read_state", read_state)
    shop_rules.documents(PROJECT, show, "show", [], "")
    assert "business rules in force: deny 1, boosts 1" in said(show)
    assert '"deny": [\n    "a"\n  ]' in said(show)
    assert "event types: none; the defaults are in force" in said(show)
    assert "placements: none; the defaults are in force" in said(show)
