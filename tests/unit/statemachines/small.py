"""Small machines for what the product's machines do not use, or not in every way: the states whose behaviour
`laptop_aws/tests/conformance/test_step_functions.py` compares with AWS's documentation. A second interpreter executes
them too; only what waits for the clock or for a token that comes late stays there alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from laptop_aws.tests.conformance.state_machines import call, jsonata
from tests.unit.statemachines.interpreter import Answer, Answers, Failed


@dataclass(frozen=True)
class Small:
    """A machine, its input, and the answers to its tasks; the last answer holds for all later attempts."""

    definition: dict[str, Any]
    event: Mapping[str, Any] = field(default_factory=dict)
    answers: tuple[Answer, ...] = ({},)
    is_concurrent: bool = False
    """Branches or iterations: AWS's documentation does not order their events."""
    aws: str = ""
    """What AWS's documentation says, and its page, where moto takes another way."""

    def answering(self) -> Answers:
        return lambda state, attempt, payload: self.answers[min(attempt, len(self.answers) - 1)]


GUIDE = "https://docs.aws.amazon.com/step-functions/latest/dg"
CAUGHT = {"Type": "Pass", "Output": "caught", "End": True}
DONE = {"Type": "Succeed"}
RETRIED = jsonata(
    {
        "Call": call(
            "function",
            Retry=[{"ErrorEquals": ["Throttled"], "IntervalSeconds": 1, "MaxAttempts": 2, "MaxDelaySeconds": 1}],
            Catch=[{"ErrorEquals": ["BadManifest"], "Output": "{% $states.errorOutput %}", "Next": "Refused"}],
        ),
        "Refused": {"Type": "Succeed"},
    }
)
BY_PATH = {
    "StartAt": "IsBetter",
    "States": {
        "IsBetter": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.a.b", "BooleanEquals": True, "Next": "Better"}],
            "Default": "Done",
        },
        "Better": {"Type": "Pass", "Result": {"is": "better"}, "ResultPath": "$.found", "End": True},
        "Done": DONE,
    },
}
BY_CONDITION = jsonata(
    {
        "IsBetter": {
            "Type": "Choice",
            "Choices": [{"Condition": "{% $states.input.better %}", "Next": "Better"}],
            "Default": "Done",
        },
        "Better": {"Type": "Pass", "Assign": {"run": "{% $states.input.run %}"}, "Next": "Last"},
        "Last": {"Type": "Pass", "Output": "{% {'run': $run, 'none': $exists($nothing)} %}", "End": True},
        "Done": DONE,
    }
)
FAILING = jsonata(
    {"RunFailed": {"Type": "Fail", "Error": "{% $states.input.error %}", "Cause": "{% 'run ' & $states.input.run %}"}}
)
UNDEFINED = jsonata(
    {
        "Call": call(
            "function",
            Output="{% $states.result.Payload.missing %}",
            Catch=[{"ErrorEquals": ["States.QueryEvaluationError"], "Next": "Caught"}],
        ),
        "Caught": CAUGHT,
    }
)
BRANCH = {
    "StartAt": "In",
    "States": {"In": {"Type": "Pass", "Assign": {"seen": 1}, "Output": "{% $states.input.n + 1 %}", "End": True}},
}
PARALLEL = jsonata(
    {
        "Both": {
            "Type": "Parallel",
            "Arguments": {"n": "{% $states.input.start %}"},
            "Branches": [BRANCH, BRANCH],
            "Assign": {"total": "{% $sum($states.result) %}"},
            "Output": "{% $states.result %}",
            "Next": "Sum",
        },
        "Sum": {
            "Type": "Pass",
            "Output": "{% {'total': $total, 'results': $states.input, 'leaked': $exists($seen)} %}",
            "End": True,
        },
    }
)
NO = {"StartAt": "No", "States": {"No": {"Type": "Fail", "Error": "No", "Cause": "because"}}}
ONE_BRANCH_FAILS = jsonata(
    {
        "Both": {
            "Type": "Parallel",
            "Branches": [NO],
            "Catch": [{"ErrorEquals": ["No"], "Output": "{% $states.errorOutput %}", "Next": "Caught"}],
            "End": True,
        },
        "Caught": {"Type": "Pass", "End": True},
    }
)
EACH = jsonata(
    {
        "Each": {
            "Type": "Map",
            "Items": "{% $states.input.items %}",
            "MaxConcurrency": 1,
            "ItemProcessor": {
                "StartAt": "Item",
                "States": {"Item": {"Type": "Pass", "Output": "{% $states.input * 2 %}", "End": True}},
            },
            "End": True,
        }
    }
)
SMALL = {
    "a retried error": Small(RETRIED, answers=(Failed("Throttled"), {"calls": 2})),
    "an error that every retry meets": Small(RETRIED, answers=(Failed("Throttled"),)),
    "a caught error": Small(RETRIED, answers=(Failed("BadManifest"),)),
    "an error that nothing matches": Small(RETRIED, answers=(Failed("Unforeseen"),)),
    "a path that is there": Small(BY_PATH, {"a": {"b": True}}),
    "a path that is null": Small(BY_PATH, {"a": {"b": None}}),
    "a path that is missing": Small(
        BY_PATH,
        {"a": {}},
        aws=f"a path that a state needs and the input lacks is States.Runtime: {GUIDE}/concepts-error-handling.html",
    ),
    "a condition that holds": Small(BY_CONDITION, {"better": True, "run": "v1-r1"}),
    "a condition that does not": Small(BY_CONDITION, {"better": False}),
    "a condition that is no boolean": Small(
        BY_CONDITION,
        {"better": "yes"},
        aws=f"an expression of the wrong type is States.QueryEvaluationError: {GUIDE}/concepts-error-handling.html",
    ),
    "a condition that is missing": Small(BY_CONDITION, {}),
    "a Fail with expressions": Small(FAILING, {"error": "TrainingFailed", "run": "v1-r1"}),
    "an undefined result that is caught": Small(
        UNDEFINED, aws=f"States.QueryEvaluationError can be caught by its name: {GUIDE}/concepts-error-handling.html"
    ),
    "branches": Small(PARALLEL, {"start": 1}, is_concurrent=True),
    "a branch that fails": Small(ONE_BRANCH_FAILS),
    "a Map": Small(EACH, {"items": [1, 2, 3]}, is_concurrent=True),
    "a Map of nothing": Small(EACH, {"items": []}, is_concurrent=True),
}
