"""The types of the run ledger: the states of runs and datasets, and the items as DynamoDB stores them
(docs/reference/contracts.md, "Ledger").

Enum members are stored as strings. A record's keys are the stored names. An optional key is missing until the step that
writes it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NotRequired, TypedDict


class DatasetStatus(StrEnum):
    """The state of a dataset version."""

    PREPARING = "PREPARING"
    PREPARED = "PREPARED"
    REFUSED = "REFUSED"
    FAILED = "FAILED"
    ABORTED = "ABORTED"
    CLAIMED = "CLAIMED"
    STALE = "STALE"
    QUARANTINED = "QUARANTINED"


class RunStatus(StrEnum):
    """The state of a run. A parked run waits for capacity, the endpoint, another deployment or an alarm. The model of
    an unchanged run equals the serving model in every figure, so it was not deployed.
    """

    RUNNING = "RUNNING"
    PARKED = "PARKED"
    DEPLOYED = "DEPLOYED"
    REJECTED = "REJECTED"
    UNCHANGED = "UNCHANGED"
    FAILED = "FAILED"
    ABORTED = "ABORTED"
    ROLLED_BACK = "ROLLED_BACK"


class OperationStatus(StrEnum):
    """How an execution of the batch or the rollback machine ended. RESTORED and SPLIT are a rollback's."""

    RESTORED = "RESTORED"
    SPLIT = "SPLIT"
    FAILED = "FAILED"
    ABORTED = "ABORTED"


class TrialStatus(StrEnum):
    """The state of a trial of two models. A decided one ends when its verdict is in force."""

    RUNNING = "RUNNING"
    DECIDED = "DECIDED"
    ENDED = "ENDED"


class JobKind(StrEnum):
    """The kind of job that a task token waits for."""

    TRAINING = "TRAINING"
    PREPARATION = "PREPARATION"
    ENDPOINT = "ENDPOINT"
    APPROVAL = "APPROVAL"
    TRANSFORM = "TRANSFORM"


class JobError(StrEnum):
    """The errors sent with task tokens. The state machines and `handle_failure` branch on these names."""

    TRAINING_FAILED = "TrainingFailed"
    TRAINING_STOPPED = "TrainingStopped"
    CAPACITY_UNAVAILABLE = "CapacityUnavailable"
    PREPARATION_FAILED = "PreparationFailed"
    PREPARATION_STOPPED = "PreparationStopped"
    TRANSFORM_FAILED = "TransformFailed"
    TRANSFORM_STOPPED = "TransformStopped"
    ENDPOINT_FAILED = "EndpointFailed"
    ENDPOINT_ROLLED_BACK = "EndpointRolledBack"
    ENDPOINT_UNUSABLE = "EndpointUnusable"


UNFINISHED = (RunStatus.RUNNING, RunStatus.PARKED)
"""Runs that may still deploy a model."""
IN_PLACE = (*UNFINISHED, RunStatus.DEPLOYED)
"""Runs whose model serves, has served, or may still do so: data older than theirs are stale."""
ENDED_WITHOUT_VERDICT = (RunStatus.FAILED, RunStatus.ABORTED, RunStatus.ROLLED_BACK)
"""Runs that ended without a decision on their data, and can be executed again."""
TAKEN = (DatasetStatus.CLAIMED, DatasetStatus.STALE, DatasetStatus.QUARANTINED)
"""Dataset versions with a decision, which their preparation does not change."""
UNUSABLE = (DatasetStatus.FAILED, DatasetStatus.REFUSED, DatasetStatus.ABORTED)
"""Dataset versions whose preparation may begin again."""


class Dataset(TypedDict):
    """`DATASET#<version>`: a dataset version. Its preparation writes `executionArn` to `parentVersion`."""

    status: DatasetStatus
    datasetVersion: str
    updatedAt: str
    runId: NotRequired[str]
    reasons: NotRequired[list[str]]
    executionArn: NotRequired[str]
    attempt: NotRequired[int]
    begunAt: NotRequired[str]
    source: NotRequired[str]
    parentVersion: NotRequired[str | None]


class Run(TypedDict):
    """`RUN#<runId>`: a run. Times are ISO 8601 in UTC."""

    status: RunStatus
    runId: str
    datasetVersion: str
    executionArn: str
    updatedAt: str
    startedAt: NotRequired[str]
    endedAt: NotRequired[str | None]
    reasons: NotRequired[list[str]]
    error: NotRequired[str | None]
    trainingAttempt: NotRequired[int]


class Decision(TypedDict):
    """`RUN#<runId>`, `DECISION#<stage>`: the decision of one stage, with its reasons."""

    runId: str
    verdict: str
    reasons: list[str]
    figures: dict[str, Any]
    updatedAt: str


class Model(TypedDict):
    """`CHAMPION#<runId>`: a model that serves or has served. The argument of `promote`. Models that were promoted
    before it was recorded have no `bundleDigest`.
    """

    runId: str
    datasetVersion: str
    modelPackageArn: str
    modelDataUrl: str
    endpointConfigName: str
    bundleDigest: NotRequired[str | None]


class PreviousModel(Model):
    """The model that served before, and the time since when it did."""

    since: str


class Serving(PreviousModel):
    """`SERVING`, `CURRENT`: the model that serves, the execution that deployed it (`by`) and the reason (`why`)."""

    by: str
    why: str
    previous: PreviousModel | None
    fence: NotRequired[int]


class Split(TypedDict):
    """`SERVING`, `SPLIT`: the second model, which answers `percent` of the requests while traffic is split."""

    runId: str
    percent: int
    endpointConfigName: str
    since: str
    by: str
    why: str
    fence: int


class TrialState(TypedDict):
    """`TRIAL#<id>`, `STATE`: a trial of two models. Its figures are those of the last look, or of the verdict."""

    trialId: str
    status: TrialStatus
    allTraffic: str
    other: str
    share: float
    startedAt: str
    attempt: int
    verdict: NotRequired[str]
    reasons: NotRequired[list[str]]
    figures: NotRequired[dict[str, Any]]
    lookedAt: NotRequired[str]
    decidedAt: NotRequired[str]
    end: NotRequired[str]
    endedAt: NotRequired[str]


class TrialStep(TypedDict):
    """`TRIAL#<id>`, `STEP#<number>`: the share of Other from `since` on, and the figures that moved it."""

    share: float
    since: str
    figures: dict[str, Any]
