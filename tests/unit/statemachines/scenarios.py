"""The normal courses of each state machine: the functions' answers, and the resulting path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.unit.statemachines.interpreter import Answer, Failed


@dataclass(frozen=True)
class Scenario:
    """`answers` by state; a state without an entry answers `{}`."""

    machine: str
    name: str
    path: list[str]
    status: str = "SUCCEEDED"
    answers: Mapping[str, Answer] = field(default_factory=dict)
    event: Mapping[str, Any] = field(default_factory=dict)


RUN = {"runId": "v20260101t000000z-00000000-r1", "datasetVersion": "v20260101t000000z-00000000", "attempt": 1}
ACCEPTED: dict[str, Answer] = {"Evaluate": {"verdict": "ACCEPTED"}, "Register": {"approvalStatus": "Approved"}}
BY_HAND: dict[str, Answer] = {
    "Evaluate": {"verdict": "ACCEPTED"},
    "Register": {"approvalStatus": "PendingManualApproval"},
}
JUDGED = ["StartTraining", "Evaluate", "Register", "IsModelBetter"]
REGISTERED = [*JUDGED, "IsApprovalNeeded"]
DEPLOYED = ["Deploy", "Verify", "RecordDeployed", "ModelDeployed"]
REJECTED = ["RecordRejected", "ModelRejected"]
TAKEN_BACK = ["RollBack", "HandleFailure", "RunFailed"]

SCENARIOS = [
    Scenario(
        "batch",
        "lists are written",
        ["StartBatch", "IsAnythingWritten", "PublishBatch", "BatchPublished"],
        answers={"StartBatch": {"outcome": "Written"}},
    ),
    Scenario(
        "batch",
        "the lists of this model stand",
        ["StartBatch", "IsAnythingWritten", "NothingToDo"],
        answers={"StartBatch": {"outcome": "AlreadyPublished"}},
    ),
    Scenario(
        "batch",
        "its job fails",
        ["StartBatch", "HandleFailure", "BatchFailed"],
        status="FAILED",
        answers={"StartBatch": Failed("TransformFailed")},
    ),
    Scenario(
        "preparation",
        "a drop is prepared",
        ["StartPreparation", "IsAlreadyPrepared", "RecordPrepared", "DatasetPrepared"],
        answers={"StartPreparation": {"alreadyPrepared": False}},
    ),
    Scenario(
        "preparation",
        "it was prepared before",
        ["StartPreparation", "IsAlreadyPrepared", "DatasetPrepared"],
        answers={"StartPreparation": {"alreadyPrepared": True}},
    ),
    Scenario(
        "preparation",
        "its job fails",
        ["StartPreparation", "HandleFailure", "PreparationFailed"],
        status="FAILED",
        answers={"StartPreparation": Failed("PreparationFailed")},
    ),
    Scenario(
        "rollback",
        "an earlier version serves again",
        ["ChooseVersion", "Deploy", "Verify", "RecordRestored", "VersionRestored"],
        answers={"ChooseVersion": {"runId": "v20260101t000000z-00000000-r1"}},
    ),
    Scenario(
        "rollback",
        "there is none before",
        ["ChooseVersion", "HandleFailure", "RollbackFailed"],
        status="FAILED",
        answers={"ChooseVersion": Failed("MissingResource")},
    ),
    Scenario(
        "rollback",
        "it does not come up",
        ["ChooseVersion", "Deploy", "RollBack", "HandleFailure", "RollbackFailed"],
        status="FAILED",
        answers={"Deploy": Failed("EndpointFailed")},
    ),
    Scenario("retraining", "a better model is deployed", [*REGISTERED, *DEPLOYED], answers=ACCEPTED, event=RUN),
    Scenario(
        "retraining",
        "the gate rejects it",
        [*JUDGED, *REJECTED],
        answers={"Evaluate": {"verdict": "REJECTED"}},
        event=RUN,
    ),
    Scenario(
        "retraining",
        "the model equals the serving one",
        [*JUDGED, "RecordUnchanged", "ModelUnchanged"],
        answers={"Evaluate": {"verdict": "UNCHANGED"}},
        event=RUN,
    ),
    Scenario(
        "retraining",
        "a person approves",
        [*REGISTERED, "AwaitApproval", "IsApproved", *DEPLOYED],
        answers={**BY_HAND, "AwaitApproval": {"status": "Approved"}},
        event=RUN,
    ),
    Scenario(
        "retraining",
        "a person rejects",
        [*REGISTERED, "AwaitApproval", "IsApproved", *REJECTED],
        answers={**BY_HAND, "AwaitApproval": {"status": "Rejected"}},
        event=RUN,
    ),
    Scenario(
        "retraining",
        "a person took its model back",
        ["StartTraining", "HandleFailure", "RunFailed"],
        status="FAILED",
        answers={"StartTraining": Failed("InvalidInput")},
        event=RUN,
    ),
    Scenario(
        "retraining",
        "a person takes its model back while it waits for its turn",
        [*REGISTERED, "Deploy", *TAKEN_BACK],
        status="FAILED",
        answers={**ACCEPTED, "Deploy": Failed("InvalidInput")},
        event=RUN,
    ),
    Scenario(
        "retraining",
        "newer data is there",
        [*REGISTERED, "Deploy", *REJECTED],
        answers={**ACCEPTED, "Deploy": Failed("StaleVersion")},
        event=RUN,
    ),
    Scenario(
        "retraining",
        "the endpoint does not come up",
        [*REGISTERED, "Deploy", *TAKEN_BACK],
        status="FAILED",
        answers={**ACCEPTED, "Deploy": Failed("EndpointFailed")},
        event=RUN,
    ),
    Scenario(
        "retraining",
        "its answers are not the recorded ones",
        [*REGISTERED, "Deploy", "Verify", *TAKEN_BACK],
        status="FAILED",
        answers={**ACCEPTED, "Verify": Failed("GoldenMismatch")},
        event=RUN,
    ),
]
