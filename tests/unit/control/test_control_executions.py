"""Executions from their histories: retried, caught, failed, aborted, redriven, maps; and what a follower reads."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from control import diagrams
from control.diagrams import Edge
from control.executions import ExecutionView, Follower, summary_of

START = datetime(2026, 11, 29, 14, 0, tzinfo=UTC)
SIGNS = {"SUCCEEDED": "✓", "RETRIED": "↻", "CAUGHT": "↷", "FAILED": "✗", "RUNNING": "▶"}
COLOURS = {"SUCCEEDED": "#0072b2", "RETRIED": "#f0e442", "CAUGHT": "#e69f00", "FAILED": "#d55e00", "RUNNING": "#56b4e9"}
DEFINITION = {
    "StartAt": "StartTraining",
    "States": {
        "StartTraining": {
            "Type": "Task",
            "Arguments": {"FunctionName": "arn:aws:lambda:us-east-1:000000000000:function:ncf-start-training"},
            "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "HandleFailure"}],
            "Next": "IsModelBetter",
        },
        "IsModelBetter": {
            "Type": "Choice",
            "Choices": [{"Condition": "{% $states.input.evaluation.verdict = 'ACCEPTED' %}", "Next": "Deploy"}],
            "Default": "ModelRejected",
        },
        "Deploy": {
            "Type": "Task",
            "Catch": [
                {"ErrorEquals": ["StaleVersion"], "Next": "ModelRejected"},
                {"ErrorEquals": ["States.ALL"], "Next": "HandleFailure"},
            ],
            "Next": "Verify",
        },
        "Verify": {
            "Type": "Task",
            "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "HandleFailure"}],
            "Next": "Record",
        },
        "Record": {
            "Type": "Task",
            "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "HandleFailure"}],
            "Next": "ModelRejected",
        },
        "ModelRejected": {"Type": "Succeed"},
        "HandleFailure": {
            "Type": "Task",
            "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "RunFailed"}],
            "Next": "RunFailed",
        },
        "RunFailed": {"Type": "Fail"},
    },
}


def history(*steps: tuple[str, dict[str, Any]], second: float = 1.0) -> list[dict[str, Any]]:
    """Events of these types and details, each a second after the one before it and caused by it."""
    events = []
    for number, (kind, details) in enumerate(steps, start=1):
        event = {"id": number, "previousEventId": details.pop("after", number - 1), "type": kind}
        event["timestamp"] = START + timedelta(seconds=number * second)
        name = "stateEntered" if kind.endswith("StateEntered") else kind[0].lower() + kind[1:]
        name = "stateExited" if kind.endswith("StateExited") else name
        events.append(event | ({f"{name}EventDetails": details} if details else {}))
    return events


def entered(name: str, kind: str = "Task", **more: Any) -> tuple[str, dict[str, Any]]:
    return f"{kind}StateEntered", {"name": name, "input": '{"runId": "r"}', **more}


def left(name: str, output: str = "{}", kind: str = "Task", **more: Any) -> tuple[str, dict[str, Any]]:
    return f"{kind}StateExited", {"name": name, "output": output, **more}


def tried(**more: Any) -> list[tuple[str, dict[str, Any]]]:
    return [("TaskScheduled", {"resource": "invoke", **more}), ("TaskStarted", {"resource": "invoke"})]


def failed(error: str = "DependencyFailed", cause: str = "no answer") -> tuple[str, dict[str, Any]]:
    return "TaskFailed", {"error": error, "cause": cause}


SUCCEEDED = ("TaskSucceeded", {"resource": "invoke", "output": "{}"})


def view_of(events: list[dict[str, Any]]) -> ExecutionView:
    view = ExecutionView()
    for event in events:
        view.feed(event)
    return view


def begun() -> list[tuple[str, dict[str, Any]]]:
    return [("ExecutionStarted", {"input": "{}"}), entered("StartTraining"), *tried()]


def test_a_state_that_succeeds_at_the_second_attempt_was_retried_once() -> None:
    events = history(*begun(), failed(), *tried(), SUCCEEDED, left("StartTraining", '{"training": 1}'))
    waiting = view_of(events[:5]).visits[0]
    assert (waiting.status, waiting.error, waiting.attempts) == ("RETRIED", "DependencyFailed: no answer", 1)
    again = view_of(events[:7]).visits[0]
    assert (again.status, again.attempts, again.is_over) == ("RUNNING", 2, False)
    visit = view_of(events).visits[0]
    assert (visit.status, visit.retries, visit.output) == ("SUCCEEDED", 1, {"training": 1})
    assert (visit.given, visit.gave) == ('{"runId": "r"}', '{"training": 1}')


def test_an_error_that_another_state_handles_was_caught_and_the_execution_failed() -> None:
    cause = '{"errorMessage": "the endpoint is gone", "errorType": "EndpointFailed", "stackTrace": []}'
    events = history(
        *begun(),
        failed("EndpointFailed", cause),
        left("StartTraining", '{"failedState": "StartTraining"}'),
        entered("HandleFailure"),
        *tried(),
        SUCCEEDED,
        left("HandleFailure"),
        entered("RunFailed", "Fail"),
        ("ExecutionFailed", {"error": "RunFailed", "cause": "see the ledger"}),
    )
    view = view_of(events)
    assert [(visit.name, visit.status) for visit in view.visits] == [
        ("StartTraining", "CAUGHT"),
        ("HandleFailure", "SUCCEEDED"),
        ("RunFailed", "FAILED"),
    ]
    assert view.visits[0].has_failed
    assert view.visits[0].error == "EndpointFailed: the endpoint is gone"
    assert (view.status, view.error) == ("FAILED", "RunFailed: see the ledger")
    assert view.visits[2].left is not None


@pytest.mark.parametrize(("end", "status"), [("Aborted", "ABORTED"), ("TimedOut", "TIMED_OUT"), ("Failed", "FAILED")])
def test_an_execution_that_ends_early_ends_its_open_state_in_the_same_way(end: str, status: str) -> None:
    view = view_of(history(*begun(), (f"Execution{end}", {"error": "StoppedByPerson", "cause": "wrong data"})))
    assert (view.status, view.visits[0].status) == (status, status)
    assert view.visits[0].error == "StoppedByPerson: wrong data"
    assert view.current is None


def test_a_redriven_execution_goes_on_in_the_state_that_failed() -> None:
    events = history(*begun(), failed(), ("ExecutionFailed", {"error": "X"}), ("ExecutionRedriven", {}))
    view = view_of(events)
    assert (view.status, view.visits[0].status, view.visits[0].left) == ("RUNNING", "RUNNING", None)
    more = history(*begun(), *tried(after=4), SUCCEEDED, left("StartTraining"))[4:]
    for event in more:
        event["id"] += 3
        event["previousEventId"] += 3 if event["previousEventId"] > 4 else 0
        view.feed(event)
    assert (view.visits[0].status, view.visits[0].attempts) == ("SUCCEEDED", 2)


def test_iterations_of_a_map_are_visits_of_their_own_and_end_in_any_order() -> None:
    view = view_of(
        history(
            ("ExecutionStarted", {"input": "{}"}),
            entered("EachShard", "Map"),
            ("MapStateStarted", {"length": 2}),
            ("MapIterationStarted", {"name": "EachShard", "index": 0}),
            ("MapIterationStarted", {"name": "EachShard", "index": 1, "after": 3}),
            entered("Write", after=4),
            entered("Write", after=5),
            ("TaskScheduled", {"resource": "invoke", "after": 6}),
            ("TaskScheduled", {"resource": "invoke", "after": 7}),
            ("TaskFailed", {"error": "Full", "after": 8}),
            left("Write", '{"shard": 1}', after=9),
            ("ExecutionAborted", {}),
        )
    )
    assert [(visit.name, visit.status, visit.output) for visit in view.visits] == [
        ("EachShard", "ABORTED", None),
        ("Write", "ABORTED", None),
        ("Write", "SUCCEEDED", {"shard": 1}),
    ]
    assert view.visits[1].error == "Full"


def test_a_parallel_state_that_succeeds_is_left_by_its_own_name() -> None:
    view = view_of(
        history(
            entered("Both", "Parallel"),
            ("ParallelStateStarted", {}),
            entered("One", "Pass"),
            left("One", kind="Pass"),
            ("ParallelStateSucceeded", {"after": 4}),
            left("Both", kind="Parallel"),
        )
    )
    assert [(visit.name, visit.status) for visit in view.visits] == [("Both", "SUCCEEDED"), ("One", "SUCCEEDED")]


class States:
    """Step Functions with one history; counts the events that it hands out."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.handed_out = 0

    def client(self, service: str) -> "States":
        assert service == "stepfunctions"
        return self

    def get_paginator(self, call: str) -> "States":
        assert call == "get_execution_history"
        return self

    def paginate(self, executionArn: str, maxResults: int, reverseOrder: bool = False) -> Any:  # AWS' names
        events = self.events[::-1] if reverseOrder else self.events
        for first in range(0, len(events), maxResults):
            page = events[first : first + maxResults]
            self.handed_out += len(page)
            yield {"events": page}


def test_a_follower_reads_a_long_history_once_and_then_only_its_end() -> None:
    states = States()
    long = [("ExecutionStarted", {"input": "{}"}), entered("StartTraining")]
    for _ in range(1500):
        long += [*tried(), failed()]
    states.events = history(*long, second=0.1)
    follower = Follower(states, "arn")
    assert follower.poll() == len(states.events) == states.handed_out == 4502
    assert follower.view.visits[0].attempts == 1500
    states.events = history(*long, *tried(), SUCCEEDED, left("StartTraining"), second=0.1)
    states.handed_out = 0
    assert follower.poll() == 4
    assert states.handed_out == 100
    assert [event["id"] for event in follower.events] == list(range(1, 4507))
    assert follower.view.visits[0].status == "SUCCEEDED"
    assert follower.events[-1]["state"] == "StartTraining"


def test_a_follower_misses_no_event_when_more_than_a_page_is_new() -> None:
    states = States()
    states.events = history(*begun())
    follower = Follower(states, "arn")
    follower.poll()
    states.events = history(*begun(), *[failed(f"E{number}") for number in range(250)])
    assert follower.poll() == 250
    assert [event["id"] for event in follower.events] == list(range(1, 255))


def test_an_event_says_its_error_or_what_it_called() -> None:
    events = history(*tried(), failed("Boom", "x" * 400), ("ExecutionStarted", {}))
    assert [summary_of(event)[:9] for event in events] == ["invoke", "invoke", "Boom: xxx", ""]
    assert len(summary_of(events[2])) == 300


# The picture


def caught() -> ExecutionView:
    return view_of(
        history(
            *begun(),
            failed(),
            *tried(),
            failed("EndpointFailed"),
            left("StartTraining"),
            entered("HandleFailure"),
            *tried(),
        )
    )


def test_the_definition_becomes_states_ways_and_functions() -> None:
    diagram = diagrams.diagram_of(DEFINITION)
    assert diagram.kinds["IsModelBetter"] == "Choice"
    assert diagram.functions == {"StartTraining": "ncf-start-training"}
    assert Edge("IsModelBetter", "Deploy", "ACCEPTED") in diagram.edges
    assert Edge("IsModelBetter", "ModelRejected", "otherwise") in diagram.edges
    assert Edge("Deploy", "ModelRejected", "StaleVersion", is_catch=True) in diagram.edges
    # An arrow of errors beside a plain one to the same state says nothing more.
    assert [edge for edge in diagram.edges if edge.start == "HandleFailure"] == [Edge("HandleFailure", "RunFailed")]


def test_arrows_of_errors_that_most_states_share_are_drawn_only_where_they_were_taken() -> None:
    diagram = diagrams.diagram_of(DEFINITION)
    to_failure = [edge.start for edge in diagram.seen(ExecutionView()) if edge.end == "HandleFailure"]
    assert to_failure == []
    assert [edge.start for edge in diagram.seen(caught()) if edge.end == "HandleFailure"] == ["StartTraining"]


def test_the_picture_colours_states_and_counts_retries() -> None:
    diagram = diagrams.diagram_of(DEFINITION)
    picture = diagrams.mermaid(diagram, caught(), COLOURS, SIGNS, chosen="StartTraining").splitlines()
    assert '  s0["↷ StartTraining ↻ 1"]' in picture
    assert '  s1{{"IsModelBetter"}}' in picture
    assert "  style s0 fill:#e69f00,color:#000000,stroke:#71717a,stroke-width:4px" in picture
    assert "  style s6 fill:#56b4e9,color:#000000,stroke:#71717a,stroke-width:1px" in picture
    assert '  s0 -.->|"error"| s6' in picture
    taken = [line for line in picture if "-->" in line or "-.->" in line].index('  s0 -.->|"error"| s6')
    assert f"  linkStyle {taken} stroke-width:3px" in picture
    assert diagrams.name_of(diagram, "s6") == "HandleFailure"
    assert diagrams.name_of(diagram, "s99") is None


def test_names_and_labels_of_a_definition_are_never_markup() -> None:
    hostile = 'A"]; click s0 call alert() <img src=x onerror=alert(1)>\n%%{init: {}}%% #quot;'
    definition = {
        "StartAt": hostile,
        "States": {
            hostile: {"Type": "Choice", "Choices": [{"Condition": "= '<b>\"]'", "Next": "Z"}], "Default": "Z"},
            "Z": {"Type": "Fail"},
        },
    }
    picture = diagrams.mermaid(diagrams.diagram_of(definition), ExecutionView(), COLOURS, SIGNS)
    assert not set('<>#;&%`"') & set(picture.splitlines()[1].removeprefix('  s0{{"').removesuffix('"}}'))
    assert len(picture.splitlines()) == 7
    assert "<b>" not in picture


def test_states_in_branches_and_maps_are_drawn_too() -> None:
    inner = {"StartAt": "Write", "States": {"Write": {"Type": "Task", "End": True}}}
    both = {"Type": "Parallel", "Branches": [inner], "Next": "EachShard"}
    shards = {"Type": "Map", "ItemProcessor": {"StartAt": "Put", "States": {"Put": {"Type": "Task"}}}, "End": True}
    diagram = diagrams.diagram_of({"StartAt": "Both", "States": {"Both": both, "EachShard": shards}})
    assert list(diagram.kinds) == ["Both", "Write", "EachShard", "Put"]
    assert {(edge.start, edge.end, edge.label) for edge in diagram.edges} == {
        ("Both", "EachShard", ""),
        ("Both", "Write", ""),
        ("EachShard", "Put", "each"),
    }


def test_a_state_visited_twice_says_so_and_shows_its_last_visit() -> None:
    events = history(entered("Wait"), *tried(), SUCCEEDED, left("Wait"), entered("Wait"), *tried())
    visits = view_of(events).of("Wait")
    assert diagrams.label_of("Wait", visits, SIGNS) == "▶ Wait ×2"


def test_text_on_a_colour_can_be_read() -> None:
    assert (diagrams.on("#f0e442"), diagrams.on("#0072b2"), diagrams.on("#000000")) == ("#000000", "#ffffff", "#ffffff")
