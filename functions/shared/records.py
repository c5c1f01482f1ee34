"""The types of the run ledger: the states of runs and datasets, and the items as DynamoDB stores them. `make assemble`
writes docs/reference/ledger.md from them.

Enum members are stored as strings. A record's keys are the stored names. An optional key is missing until the step that
writes it. Besides its own keys an item has `pk`, `sk`, `updatedAt` (ISO 8601 in UTC) and, to be found by the index
`byKind`, its `kind`. A record's description begins with its `pk` and `sk`.
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
    """`DATASET#<version>`, `STATE`: a dataset version. Kind `DATASET`."""

    status: DatasetStatus
    datasetVersion: str
    updatedAt: str
    runId: NotRequired[str]
    """The run that claimed the version."""
    reasons: NotRequired[list[str]]
    """Why the version was refused, or failed."""
    executionArn: NotRequired[str]
    """The execution that prepares it."""
    attempt: NotRequired[int]
    """How often that execution has begun; a redrive is the next attempt."""
    begunAt: NotRequired[str]
    """When the attempt began. Its job reads the tombstones later."""
    source: NotRequired[str]
    """The drop, as an s3:// URI."""
    parentVersion: NotRequired[str | None]
    """The version whose indices it continues."""


class NewestClaimed(TypedDict):
    """`DATASET`, `NEWEST_CLAIMED`: the newest dataset version that was claimed. No kind."""

    datasetVersion: str


class Run(TypedDict):
    """`RUN#<runId>`, `STATE`: a run. Times are ISO 8601 in UTC. Kind `RUN`."""

    status: RunStatus
    runId: str
    datasetVersion: str
    executionArn: str
    """The latest execution."""
    updatedAt: str
    startedAt: NotRequired[str]
    endedAt: NotRequired[str | None]
    reasons: NotRequired[list[str]]
    """Sentences with numbers: why the run waits, or how it ended."""
    error: NotRequired[str | None]
    """The name of the error that ended it."""
    trainingAttempt: NotRequired[int]
    """How many training jobs were started."""


class Decision(TypedDict):
    """`RUN#<runId>`, `DECISION#<stage>`: the decision of one stage, with its reasons. Kind `DECISION`."""

    runId: str
    verdict: str
    """A word of the stage, in capital letters; the stages are listed below."""
    reasons: list[str]
    """Sentences with numbers."""
    figures: dict[str, Any]
    """What the decision was made from."""
    updatedAt: str


class Operation(TypedDict):
    """`BATCH#<execution>` or `ROLLBACK#<execution>`, `STATE`: how an execution of the batch machine ended badly, or one
    of the rollback machine ended. Kind `BATCH` or `ROLLBACK`.
    """

    status: OperationStatus
    reasons: list[str]
    error: str | None
    endedAt: str


class TokenItem(TypedDict):
    """`JOB#<kind>#<name>`, `TOKEN`: an open task token, which the end of the job answers. Kind `TOKEN`."""

    jobKind: JobKind
    jobName: str
    taskToken: str
    executionArn: str
    runId: str | None
    datasetVersion: str | None
    jobId: str | None
    """The job's id from AWS, once known."""
    wanted: str | None
    """The endpoint configuration that the endpoint is to get."""
    expiresAt: int
    """Epoch seconds, after which DynamoDB deletes the item: 14 days."""


class Notice(TypedDict):
    """`<subject>`, `NOTICE#<occasion>`: a notification was sent, so nobody sends it again. The subject is the `pk` of
    a run, dataset, trial or operation, or `RULES`, `EVENT_TYPES` or `PLACEMENTS`. Kind `NOTICE`.
    """

    updatedAt: str


class Model(TypedDict):
    """`CHAMPION#<runId>`, `STATE`: a model that serves or has served, for a rollback to it. Models that were promoted
    before it was recorded have no `bundleDigest`. Kind `CHAMPION`.
    """

    runId: str
    datasetVersion: str
    modelPackageArn: str
    modelDataUrl: str
    endpointConfigName: str
    bundleDigest: NotRequired[str | None]
    """Digest of the bundle that the gate judged."""


class PreviousModel(Model):
    """The model that served before, and the time since when it did."""

    since: str


class Serving(PreviousModel):
    """`SERVING`, `CURRENT`: the model that serves, the execution that deployed it (`by`) and the reason (`why`). Kind
    `SERVING`.
    """

    by: str
    why: str
    previous: PreviousModel | None
    """The model that served before, one level deep."""
    fence: NotRequired[int]
    """That of the last lock under which something was deployed."""


class ServedSince(TypedDict):
    """`SERVING`, `SINCE#<since>`: who served from then on. Kind `TENURE`."""

    runId: str
    datasetVersion: str
    since: str
    by: str
    why: str
    replaced: str | None
    """The run that served before."""


class Split(TypedDict):
    """`SERVING`, `SPLIT`: the second model, which answers `percent` of the requests while traffic is split. Kind
    `SPLIT`.
    """

    runId: str
    percent: int
    """0 once the split has ended."""
    endpointConfigName: str
    since: str
    by: str
    why: str
    fence: int
    endedAt: NotRequired[str]


class EndpointRest(TypedDict):
    """`ENDPOINT`, `REST`: whether the endpoint was deleted outside `EndpointHours`, and comes back. Kind `ENDPOINT`."""

    isResting: bool


class LockItem(TypedDict):
    """`LOCK`, `DEPLOYMENT`: the deployment lock, a lease. Kind `LOCK`."""

    runId: str | None
    """Its holder: a run, the name of a rollback's execution, or `rest-endpoint`; null when it is free."""
    leasedUntil: int
    """Epoch seconds."""
    fence: int
    """Grows whenever the lock is taken or renewed; never deleted."""


class TrialState(TypedDict):
    """`TRIAL#<id>`, `STATE`: a trial of two models. Its id is the name of the rollback's execution that began it. Its
    figures are those of the last look, or of the verdict. Kind `TRIAL`.
    """

    trialId: str
    status: TrialStatus
    allTraffic: str
    """The run of the model that serves."""
    other: str
    """The run of the other model."""
    share: float
    """The share of people on the side Other."""
    startedAt: str
    attempt: int
    """Further executions that carry the verdict out, after failures."""
    verdict: NotRequired[str]
    """OTHER_IS_BETTER, OTHER_IS_WORSE or UNDECIDED."""
    reasons: NotRequired[list[str]]
    figures: NotRequired[dict[str, Any]]
    """`days`, `daysLeft`, `impressions` and `clicks` by side, `difference` with `low` and `high`,
    `chanceOtherIsBetter`."""
    lookedAt: NotRequired[str]
    decidedAt: NotRequired[str]
    end: NotRequired[str]
    """How its split ended."""
    endedAt: NotRequired[str]


class TrialStep(TypedDict):
    """`TRIAL#<id>`, `STEP#<number>`: the share of Other from `since` on, and the figures that moved it. Kind
    `TRIAL_STEP`.
    """

    share: float
    since: str
    figures: dict[str, Any]


class ForgettingKey(TypedDict):
    """`FORGOTTEN`, `KEY`: the key of the hashes of forgotten people, made by the first request. No kind."""

    key: str


class Tombstone(TypedDict):
    """`FORGOTTEN`, `PERSON#<hash>`: a forgotten person. Kind `FORGOTTEN`."""

    person: str
    """The hash of the id."""
    since: str
    reason: str
    by: str | None
    inForceSince: NotRequired[str]
    """When `serving/forgotten.json` had it."""
    erasedAt: NotRequired[str]
    """When nothing was kept of the person any more."""
    receipt: NotRequired[str]
    """The `sk` of the receipt that says so."""


class Erasure(TypedDict):
    """`FORGOTTEN`, `ERASURE`: the search under way for what is kept of forgotten people. No kind."""

    started_at: str
    until: str
    """It is about the tombstones in force by then."""
    place: int
    """The number of the folder that is searched."""
    after: str
    """The last key that was searched there."""
    searched: dict[str, int]
    removed: dict[str, int]
    remaining: list[str]
    """What stays so far, and why."""
    files: list[dict[str, Any]]
    """Files for the Spark job: `path`, and `userColumn` or null."""
    job: str
    """The id of that job; empty before it."""


class Receipt(TypedDict):
    """`FORGOTTEN`, `RECEIPT#<time>`: a search that is over. Kind `RECEIPT`."""

    status: str
    """ERASED or WAITING."""
    until: str
    """It was about the tombstones in force by then."""
    number: int
    """Number of people."""
    searched: dict[str, int]
    """What was searched, by kind; at least so much, after a failure."""
    removed: dict[str, int]
    """What was removed, by kind; at least so much, after a failure."""
    remaining: list[str]
    """What stays, and why."""
    inUse: list[str]
    startedAt: str
    endedAt: str


class OutcomesWindow(TypedDict):
    """`OUTCOMES`, start of a window, such as `2026-11-29T10:15Z`: what recommendations earned in it
    (contracts/outcomes.py). No kind.
    """

    rows: list[dict[str, Any]]
    """By `runId`, `source`, `placement`, `trial` and `variant`: `impressions`, `clicks`, `purchases`, `value`."""
    groups: list[dict[str, Any]]
    """By `trial` and `variant`: the `impressions` and `clicks` of 32 groups of people."""
    bots: int
    notAttributed: int
    readAt: int
    """Epoch milliseconds."""
    expiresAt: int
    """Epoch seconds, after which DynamoDB deletes the item: 400 days."""


class OutcomesDay(TypedDict):
    """`OUTCOMES#DAY`, date, such as `2026-11-29`: the sums of its windows. No kind."""

    rows: list[dict[str, Any]]
    bots: int
    notAttributed: int
    expiresAt: int
