"""Arguments, refusals and exit statuses of the commands, without an emulator."""

import argparse
import shlex
from pathlib import Path
from typing import Any

import pytest

from contracts import schemas
from control.api import refusal
from local import cli, demo, http, recommend
from local.console import Show
from local.http import Answer
from local.parser import parser
from local.project import Problem, Project, RunFailedError


@pytest.fixture(autouse=True)
def a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NCF_LOCAL_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("NCF_LOCAL_PORT", "4599")
    monkeypatch.setattr(Project, "adopt_environment", lambda self: None)
    return tmp_path


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_each_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert f"usage: .venv/bin/python -m local {command}" in said
    assert f".venv/bin/python -m local {command}" in said.partition("example:\n")[2]


@pytest.mark.parametrize("command", sorted(set(cli.COMMANDS) - {"env"}))
def test_each_example_is_a_command_line_that_is_understood(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    examples = capsys.readouterr().out.partition("example:\n")[2].splitlines()
    for example in examples:
        words = shlex.split(example)
        assert words[:3] == [".venv/bin/python", "-m", "local"]
        assert parser().parse_args(words[3:]).command == command


@pytest.mark.parametrize("arguments", [[], ["fly"], ["run"], ["recommend"], ["recommend", "1", "-n", "ten"],
              ["recommend", "1", "-n", "\u0663"], ["rollback", "--percent", "1_0"], ["reject", "latest"],
              ["reject", "--reason", "x"], ["open", "door"], ["rules", "burn"]])  # fmt: skip
def test_a_wrong_command_line_is_status_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demo", "--data", "nowhere.csv"], "no such file or folder: nowhere.csv"),
        (["run", "--data", "nowhere.csv"], "no such file or folder: nowhere.csv"),
        (["demo", "--items", "items.csv"], "--items is the catalogue of --data"),
        (["recommend", "1", "-n", "3", "--candidates", "a"], "-n cannot be used with --candidates"),
        (["gate", "--publish"], "--publish puts a draft in force: give --policy too"),
        (["rules", "publish"], "rules publish needs one file, as `rules publish rules FILE`"),
        (["rules", "check", "placements"], "rules check needs one file, as `rules check placements FILE`"),
        (["rules", "show", "nothing"], "there is no kind of document 'nothing': use rules, event-types, placements"),
    ],
)
def test_bad_arguments_are_refused_before_anything_starts(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cli.COMMANDS, arguments[0], lambda *_: pytest.fail("something was started"))
    assert cli.main(arguments) == 2
    assert message in capsys.readouterr().out


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (Problem("no Java"), 2, "no Java"),
        (RunFailedError("training failed"), 1, "training failed"),
        (KeyboardInterrupt(), 130, "the run continues in the background"),
        (demo.StoppedDeploying(), 130, "stopped, with everything that this command started"),
    ],
)
def test_the_exit_status_separates_a_failed_run_from_a_user_error(
    raised: BaseException, status: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(*_: Any) -> None:
        raise raised

    monkeypatch.setitem(cli.COMMANDS, "demo", command)
    assert cli.main(["demo"]) == status
    assert said in capsys.readouterr().out


def test_without_an_emulator_commands_say_how_to_start_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["recommend", "1"]) == 2
    assert "does not run on port 4599: `make up` starts it" in " ".join(capsys.readouterr().out.split())
    assert cli.main(["status"]) == 0
    assert "not running" in capsys.readouterr().out


def test_every_command_has_its_function() -> None:
    subparsers = next(action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    assert cli.COMMANDS.keys() == subparsers.choices.keys()


def test_down_without_an_emulator_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["down"]) == 0
    assert "the embedded AWS is not running" in capsys.readouterr().out


def test_delete_removes_the_state_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = tmp_path / "state"
    for name in ("s3/bucket/object", "logs/emulator.log", "deployed.json", "thesis.txt"):
        path = state / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    assert cli.main(["down", "--delete"]) == 0
    assert "deleting all local state" in capsys.readouterr().out
    assert [path.name for path in state.iterdir()] == ["thesis.txt"]
    (state / "thesis.txt").unlink()
    assert cli.main(["down", "--delete"]) == 0
    assert not state.exists()


def test_the_generated_shop_is_a_week_longer_after_each_drop(tmp_path: Path) -> None:
    project = Project(tmp_path, tmp_path / "state", 4599)
    first = demo.prepare_drop(project, None, None, worse=False)
    assert first.week == 12
    assert first.name.startswith("shop-week-12-")
    assert set(first.drop.interactions) == {"interactions.csv"}
    assert set(first.drop.catalogue) == {"items.csv"}
    assert demo.prepare_drop(project, None, None, worse=False).week == 12
    project.write_state(demo.SHOP_FILE, {"seed": demo.SHOP_SEED, "drops": 1})
    second = demo.prepare_drop(project, None, None, worse=False)
    assert second.week == 13
    assert second.drop.size > first.drop.size


def test_random_data_has_the_same_users_and_counts_as_no_week(tmp_path: Path) -> None:
    project = Project(tmp_path, tmp_path / "state", 4599)
    good = demo.prepare_drop(project, None, None, worse=False)
    worse = demo.prepare_drop(project, None, None, worse=True)
    assert worse.week is None
    first, second = (next(iter(drop.drop.interactions.values())).read_text().splitlines() for drop in (good, worse))
    assert len(first) == len(second)
    assert [line.split(",")[0] for line in first] == [line.split(",")[0] for line in second]
    assert first != second


def test_the_api_s_refusal_is_shown_in_its_own_words() -> None:
    error = {
        "error": {
            "code": "InvalidInput",
            "field": "numResults",
            "message": "numResults must be an integer from 1 to 100, not -1",
        }
    }
    assert refusal(Answer(400, error)) == "the API answered 400: numResults must be an integer from 1 to 100, not -1"
    assert refusal(Answer(403, {"message": "Forbidden"})) == "the API answered 403: Forbidden"
    assert refusal(Answer(502, None)) == "the API answered 502"


def test_unreadable_data_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr(demo, "up", lambda *_: pytest.fail("something was started"))
    assert cli.main(["demo", "--worse", "--data", str(tmp_path / "x.parquet")]) == 2
    assert "x.parquet cannot be read" in capsys.readouterr().out


def test_columns_without_data_are_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "up", lambda *_: pytest.fail("something was started"))
    assert cli.main(["demo", "--user-column", "who"]) == 2
    assert "columns and event types are those of --data: give --data too" in capsys.readouterr().out


def test_what_events_are_worth_goes_into_the_drop(tmp_path: Path) -> None:
    options = [
        "--weights",
        "buy=5,view=1",
        "--least",
        "3",
        "--values",
        "multiply",
        "--half-life",
        "30",
        "--bought",
        "buy",
    ]
    given = parser().parse_args(["demo", "--data", str(tmp_path), *options])
    assert cli._parameters(given) == {
        "eventWeights": "buy=5,view=1",
        "leastValue": 3,
        "values": "multiply",
        "halfLifeDays": 30,
        "boughtTypes": "buy",
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--half-life", "0"], "halfLifeDays must be a number from 0.01 to 36500, not 0.0"),
        (["--least", "inf"], "leastValue must be a number from 0 to 1e+09, not inf"),
        (["--values", "add"], "values must be one of ignore, multiply, not 'add'"),
    ],
)
def test_what_events_cannot_be_worth_is_refused_before_anything_starts(
    options: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "up", lambda *_: pytest.fail("something was started"))
    assert cli.main(["demo", "--data", str(tmp_path), *options]) == 2
    assert words in capsys.readouterr().out


@pytest.mark.parametrize("body", [None, [], "list"])
def test_an_answer_that_is_no_object_is_a_failure_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: Any
) -> None:
    monkeypatch.setattr(recommend, "ask", lambda *_: Answer(200, body))
    with pytest.raises(RunFailedError, match="the API answered 200 with a body that is not a JSON object"):
        recommend.show_recommendations(Project.from_environment(), {}, Show(), "1")


def test_an_api_that_is_busy_is_asked_again_and_not_for_ever(
    monkeypatch: pytest.MonkeyPatch, naps: list[float]
) -> None:
    busy = Answer(503, {"error": {"code": "DependencyFailed", "field": None, "message": "send all again"}})
    answers = [busy, busy, Answer(200, {"accepted": 1})]
    monkeypatch.setattr(http, "call", lambda *_: answers.pop(0))
    project = Project.from_environment()
    assert recommend.answered(project, {"ApiId": "a"}, "POST", "/events", body={}) == {"accepted": 1}
    assert naps == [recommend.BUSY_SECONDS] * 2
    answers += [busy] * recommend.BUSY_TRIES
    with pytest.raises(RunFailedError, match="the API answered 503: send all again"):
        recommend.answered(project, {"ApiId": "a"}, "POST", "/events", body={})
    assert answers == []


@pytest.mark.parametrize("content", [b"[" * 100_000, b"[1]", b'{"a": 1, "a": 2}', b"\xff", b"{"])
def test_a_cache_that_cannot_be_read_is_empty(tmp_path: Path, content: bytes) -> None:
    project = Project.from_environment()
    project.make_state_folder()
    (project.state / "stack.json").write_bytes(content)
    assert project.read_state("stack.json") == {}


def test_a_drop_of_what_is_new_says_so() -> None:
    given = parser().parse_args(
        ["demo", "--data", "a.csv", "--kind", "append", "--history-days", "90", "--split", "global-time"]
    )
    said = cli._parameters(given)
    assert said == {"kind": "append", "historyDays": 90, "split": "global-time"}
    schemas.check({"schemaVersion": "1.0", **said}, "drop", "_drop.json")
    wrong = parser().parse_args(["demo", "--data", "a.csv", "--history-days", "0"])
    with pytest.raises(Problem, match="--history-days must be an integer from 1 to 1000000, not '0'"):
        cli._parameters(wrong)
