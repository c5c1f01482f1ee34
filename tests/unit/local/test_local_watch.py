"""The watcher's reading of histories, logs, reports and the ledger."""

import io
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import rich.console

from control import executions, ledger, logs
from local import console, watch
from local.console import Show, is_worth_a_line

START = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)


def entered(number: int, name: str, second: float) -> dict[str, Any]:
    return {
        "id": number,
        "type": "TaskStateEntered",
        "timestamp": START + timedelta(seconds=second),
        "stateEnteredEventDetails": {"name": name},
    }


def exited(number: int, name: str, second: float, output: str = "{}") -> dict[str, Any]:
    return {
        "id": number,
        "type": "TaskStateExited",
        "timestamp": START + timedelta(seconds=second),
        "stateExitedEventDetails": {"name": name, "output": output},
    }


def test_a_history_becomes_visits_with_their_seconds_and_output() -> None:
    view = executions.ExecutionView()
    assert view.feed(entered(2, "StartTraining", 1)) is None
    assert view.current is not None
    assert view.current.name == "StartTraining"
    visit = view.feed(exited(5, "StartTraining", 13.5, '{"training": {"jobName": "ncf-v1"}}'))
    assert visit is not None
    assert visit.left is not None
    assert visit.left - visit.entered == 12.5
    assert visit.output == {"training": {"jobName": "ncf-v1"}}
    assert view.current is None


def test_an_event_taken_twice_counts_once() -> None:
    view = executions.ExecutionView()
    for event in (entered(2, "Evaluate", 1), exited(3, "Evaluate", 2), entered(2, "Evaluate", 1)):
        view.feed(event)
    assert view.feed(exited(3, "Evaluate", 2)) is None
    assert [visit.name for visit in view.visits] == ["Evaluate"]


def test_a_state_visited_again_ends_its_own_visit() -> None:
    view = executions.ExecutionView()
    events = [entered(1, "Deploy", 0), exited(2, "Deploy", 5), entered(3, "Deploy", 6), exited(4, "Deploy", 8)]
    ended = [visit for event in events if (visit := view.feed(event))]
    assert [visit.left - visit.entered for visit in ended if visit.left] == [5.0, 2.0]


def test_a_caught_error_is_a_failed_visit() -> None:
    caught = '{"failedState": "StartTraining", "error": {"Error": "TrainingFailed"}}'
    view = executions.ExecutionView()
    events = [entered(1, "StartTraining", 0), exited(2, "StartTraining", 5, caught)]
    events += [entered(3, "HandleFailure", 5), exited(4, "HandleFailure", 6, caught)]
    assert [visit.has_failed for event in events if (visit := view.feed(event))] == [True, False]


def test_an_executions_own_reason_is_shown() -> None:
    assert (
        executions.execution_reason({"status": "FAILED", "error": "RunFailed", "cause": "no GPU"})
        == "RunFailed: no GPU"
    )
    assert executions.execution_reason({"status": "TIMED_OUT"}) == "the execution ended TIMED_OUT"


def test_gate_rows_are_candidate_incumbent_baselines_in_this_order() -> None:
    figures = {
        "sampled": {"hitRate": 0.71, "ndcg": 0.4},
        "full": {"hitRate": 0.1, "ndcg": 0.05},
        "standardErrors": {"fullNdcg": 0.004},
        "coverage": 0.3,
    }
    report = {
        "baselines": {
            "popularity": {"sampled": {"hitRate": 0.3, "ndcg": 0.2}, "full": {}, "coverage": 0.01},
            "linear": figures,
        },
        "incumbent": figures | {"runId": "v20261129t122948z-7f6f80dc-r1"},
        "candidate": figures,
    }
    assert watch.gate_rows(report) == [
        ("candidate", "0.0500", "0.0040", "0.1000", "0.3000", "0.4000", "0.7100"),
        ("incumbent 7f6f80dc-r1", "0.0500", "0.0040", "0.1000", "0.3000", "0.4000", "0.7100"),
        ("linear", "0.0500", "0.0040", "0.1000", "0.3000", "0.4000", "0.7100"),
        ("popularity", "–", "–", "–", "0.0100", "0.2000", "0.3000"),
    ]


def test_gate_rows_without_an_incumbent_leave_it_out() -> None:
    assert [
        row[0] for row in watch.gate_rows({"candidate": {}, "incumbent": None, "baselines": {"popularity": {}}})
    ] == [
        "candidate",
        "popularity",
    ]


class FakeLogs:
    """A log group that grows; its tokens are positions."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def describe_log_streams(self, logGroupName: str, logStreamNamePrefix: str) -> dict[str, Any]:
        return {"logStreams": [{"logStreamName": f"{logStreamNamePrefix}/algo-1"}]}

    def get_log_events(self, **given: Any) -> dict[str, Any]:
        start = int(given.get("nextToken", "0"))
        new = self.events[start : start + 2]
        return {"events": [{"message": text} for text in new], "nextForwardToken": str(start + len(new))}


def test_a_log_tail_gives_each_line_once_over_pages() -> None:
    client = FakeLogs()
    tail = logs.LogTail(client, "/group", "job")
    client.events = ["one", "two", "three"]
    assert list(tail.lines()) == ["one", "two", "three"]
    assert list(tail.lines()) == []
    client.events.append("four")
    assert list(tail.lines()) == ["four"]


def test_a_file_tail_gives_whole_lines_once(tmp_path: Path) -> None:
    path = tmp_path / "job.log"
    tail = watch.FileTail(path)
    assert list(tail.lines()) == []
    path.write_bytes(b"step=read rows=1\nstep=cl")
    assert list(tail.lines()) == ["step=read rows=1"]
    path.write_bytes(b"step=read rows=1\nstep=clean\n")
    assert list(tail.lines()) == ["step=clean"]
    assert list(tail.lines()) == []


def test_reasons_and_errors_are_sentences_each_once() -> None:
    assert ledger.reasons_of({"reasons": ["AlgorithmError: NaN"], "error": "NaN"}) == ["AlgorithmError: NaN"]
    assert ledger.reasons_of({"error": {"Error": "States.Timeout", "Cause": "too late"}}) == [
        "States.Timeout: too late"
    ]
    assert ledger.reasons_of({"reasons": "one"}) == ["one"]
    assert ledger.reasons_of({}) == []


def test_ledger_values_lose_their_decimals() -> None:
    assert ledger.plain({"a": Decimal("3"), "b": [Decimal("0.25")], "c": {"x", "w"}}) == {
        "a": 3,
        "b": [0.25],
        "c": ["w", "x"],
    }


@pytest.mark.parametrize("value", [None, "yesterday", True, []])
def test_an_invalid_time_is_shown_as_a_dash(value: Any) -> None:
    assert ledger.when(value) == "-"


def test_times_with_and_without_zone_are_the_same_moment() -> None:
    assert ledger.moment("2026-11-23T15:00:00") == ledger.moment("2026-11-23T16:00:00+01:00") == START.timestamp()


def plain_show() -> tuple[Show, io.StringIO]:
    output = io.StringIO()
    return Show(rich.console.Console(file=output, width=120, highlight=False)), output


def test_a_long_training_is_ten_lines_where_nothing_can_be_redrawn() -> None:
    show, output = plain_show()
    with show.activity() as activity:
        activity.now("train: epoch")
        for epoch in range(1, 201):
            activity.advance(epoch, 200, f"train loss {1 / epoch:.3f}")
            activity.advance(epoch, 200)
    lines = output.getvalue().splitlines()
    assert len(lines) == 11
    assert lines[0] == "· train: epoch 1/200  train loss 1.000"
    assert lines[-1] == "· train: epoch 200/200  train loss 0.005"


def test_every_step_of_a_short_training_is_a_line() -> None:
    assert [is_worth_a_line(done - 1, done, 5) for done in range(1, 6)] == [True] * 5


def test_brackets_in_a_title_are_text_and_colours_stay_out_of_a_pipe() -> None:
    show, output = plain_show()
    show.good("[red]The Ring[/red] [1998]")
    assert output.getvalue() == "✓ [red]The Ring[/red] [1998]\n"


def test_what_looks_like_an_emoji_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    Show().line("arn:star:1 [bold]")
    assert capsys.readouterr().out == "arn:star:1 [bold]\n"


def test_a_failed_stage_says_so_and_lets_the_error_through() -> None:
    show, output = plain_show()
    with pytest.raises(RuntimeError, match="boom"), show.stage("sam deploy"):
        raise RuntimeError("boom")
    assert output.getvalue().startswith("✗ sam deploy: failed after 0.0 s")


def test_a_stage_that_lasts_is_told_where_nothing_can_be_redrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "PLAIN_SECONDS", 0.01)
    show, output = plain_show()
    with show.stage("sam build"):
        deadline = time.monotonic() + 120
        while "so far" not in output.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    lines = output.getvalue().splitlines()
    assert lines[0] == "· sam build: 0 s so far"
    assert lines[-1].startswith("✓ sam build (0.")


def test_a_long_sentence_is_wrapped_at_100_columns_and_keeps_its_words() -> None:
    show, output = plain_show()
    long = "NDCG at 10 is 0.0789 against 0.0439 of the baseline ease (+79.7%); loss of 10% beyond chance allowed"
    show.sentences(["short", long])
    assert output.getvalue().splitlines() == [
        "    short",
        "    NDCG at 10 is 0.0789 against 0.0439 of the baseline ease (+79.7%); loss of 10% beyond chance",
        "      allowed",
    ]
    assert console.wrapped("x" * 120, "    ") == "    " + "x" * 120, "a name or address stays whole"


def test_what_lasts_is_a_line_now_and_then_where_nothing_can_be_redrawn() -> None:
    output = io.StringIO()
    moment = 0.0
    show = Show(rich.console.Console(file=output, width=120, highlight=False), clock=lambda: moment)
    with show.activity() as activity:
        for second in range(41):
            moment = float(second)
            if second == 20:
                show.step("another line")
            activity.now("train")
        moment = 400.0
        activity.now("train")
        for second in range(401, 501):
            moment = float(second)
            activity.now("train")
    assert output.getvalue().splitlines() == [
        "· train: 15 s so far",
        "· another line",
        "· train: 35 s so far",
        "· train: 400 s so far",
    ]


def test_an_activity_that_changes_says_nothing_of_its_own() -> None:
    output = io.StringIO()
    clock = iter(range(0, 100_000, 10))
    show = Show(rich.console.Console(file=output, width=120, highlight=False), clock=lambda: next(clock))
    with show.activity() as activity:
        for number in range(100):
            activity.now(f"step {number}")
    assert output.getvalue() == ""


@pytest.mark.parametrize("output", ["[" * 100_000, "{", '{"a": 1, "a": 2}'])
def test_an_output_that_cannot_be_read_is_none(output: str) -> None:
    view = executions.ExecutionView()
    view.feed(entered(1, "Evaluate", 0))
    visit = view.feed(exited(2, "Evaluate", 1, output))
    assert visit is not None and visit.output is None


def test_a_report_that_is_not_utf_8_shows_no_figures() -> None:
    watcher = watch.Watcher.__new__(watch.Watcher)
    watcher.outputs = {"ArtifactsBucketName": "b"}
    watcher.s3 = SimpleNamespace(get_object=lambda **_: {"Body": io.BytesIO(b"\xff")})
    assert watcher._evaluation("v1-r1") == {}
