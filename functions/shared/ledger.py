"""The run ledger: one DynamoDB table with datasets, runs, decisions, open tokens, the lock and the serving model
(docs/reference/ledger.md).

A write that may race with another is conditional, and returns False if its condition failed. Reads are strongly
consistent, except `open_tokens`, `unfinished_runs` and `datasets_in`, which read an index and are for clean-up only.
Every method raises DependencyFailed or MissingResource when DynamoDB fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from boto3.dynamodb.conditions import Attr

from shared import names
from shared.earned import Earned
from shared.forgotten_people import ForgottenPeople
from shared.records import (
    IN_PLACE,
    UNFINISHED,
    UNUSABLE,
    Dataset,
    DatasetStatus,
    Decision,
    JobKind,
    OperationStatus,
    Run,
    RunStatus,
)
from shared.serving_record import ServingRecord
from shared.trial_record import TrialRecord

TOKEN_LIFETIME_SECONDS = 14 * 24 * 3600
MAXIMUM_REASONS = 20
MAXIMUM_REASON_LENGTH = 1000


@dataclass(frozen=True)
class Token:
    """An open task token of the job `name`.

    `job_id` is the job's id from AWS, once known; `wanted` is the endpoint configuration of an endpoint job; `held_at`
    (ISO 8601) is set on tokens read from the ledger.
    """

    kind: JobKind
    name: str
    task_token: str
    execution_arn: str
    run_id: str | None = None
    dataset_version: str | None = None
    job_id: str | None = None
    wanted: str | None = None
    held_at: str | None = field(default=None, compare=False)


class Ledger(ServingRecord, ForgottenPeople, Earned, TrialRecord):
    """Datasets, runs, decisions, notices and tokens; `ServingRecord` adds the serving model, `ForgottenPeople` whom
    the shop has forgotten, `Earned` what recommendations earned, `TrialRecord` trials of two models.
    """

    # Datasets

    def dataset(self, version: str) -> Dataset | None:
        """Return the record of a dataset version, or None."""
        return cast("Dataset | None", self._get(f"DATASET#{version}", "STATE"))

    def begin_dataset(
        self, version: str, execution_arn: str, attempt: int, source: str, parent_version: str | None
    ) -> bool:
        """Record that an execution prepares `version`. False if another execution prepares or has prepared it.

        The same execution may begin again (a retry). After a failure any execution may (a redrive, a repeated drop).
        `begunAt` is when the attempt began: its job, which a retry finds again, reads the tombstones later.
        """
        found = self.dataset(version)
        is_retry = found is not None and found.get("attempt") == attempt
        begun = found["begunAt"] if found is not None and is_retry and "begunAt" in found else self._now()
        return self._update(
            f"DATASET#{version}",
            "STATE",
            Attr("pk").not_exists()
            | (Attr("status").eq(DatasetStatus.PREPARING) & Attr("executionArn").eq(execution_arn))
            | Attr("status").is_in(list(UNUSABLE)),
            kind="DATASET",
            status=DatasetStatus.PREPARING,
            datasetVersion=version,
            executionArn=execution_arn,
            attempt=attempt,
            begunAt=begun,
            source=source,
            parentVersion=parent_version,
        )

    def mark_dataset(
        self,
        version: str,
        status: DatasetStatus,
        reasons: list[str] | None = None,
        unless: tuple[DatasetStatus, ...] = (),
    ) -> bool:
        """Set the status and reasons of `version`. False, and unchanged, if its status is in `unless`."""
        condition = None
        for state in unless:
            condition = Attr("status").ne(state) if condition is None else condition & Attr("status").ne(state)
        attributes: dict[str, Any] = {"kind": "DATASET", "status": status, "datasetVersion": version}
        if reasons is not None:
            attributes["reasons"] = _bounded(reasons)
        return self._update(f"DATASET#{version}", "STATE", condition, **attributes)

    def newest_claimed(self) -> str | None:
        """Return the newest dataset version claimed so far, or None. One ahead of now counts as none."""
        newest = self._get("DATASET", "NEWEST_CLAIMED")
        if newest is None or newest["datasetVersion"] > names.horizon(self._clock()):
            return None
        return str(newest["datasetVersion"])

    def claim_newest(self, version: str) -> str:
        """Return the newest dataset version claimed so far, including `version`, and record it. It replaces one ahead
        of now. Raises InvalidInput if `version` is ahead of now itself.
        """
        names.require_past(version, self._clock())
        self._update(
            "DATASET",
            "NEWEST_CLAIMED",
            Attr("pk").not_exists()
            | Attr("datasetVersion").lt(version)
            | Attr("datasetVersion").gt(names.horizon(self._clock())),
            datasetVersion=version,
        )
        return self.newest_claimed() or version

    def claim_dataset(self, version: str, run_id: str, was_stale: bool = False) -> bool:
        """Claim `version` for `run_id`. True for exactly one of any number of simultaneous callers. A stale one is
        claimed only with `was_stale`, by a caller that has found it stale no more.
        """
        taken = [DatasetStatus.CLAIMED] if was_stale else [DatasetStatus.CLAIMED, DatasetStatus.STALE]
        return self._update(
            f"DATASET#{version}",
            "STATE",
            Attr("pk").not_exists() | ~Attr("status").is_in(taken),
            kind="DATASET",
            status=DatasetStatus.CLAIMED,
            datasetVersion=version,
            runId=run_id,
            reasons=[],
        )

    def holds_place(self, version: str) -> bool:
        """True if the model of `version` serves, has served or may still be deployed: older data come too late."""
        state = self.dataset(version)
        if state is None or state["status"] in (DatasetStatus.PREPARING, DatasetStatus.PREPARED):
            return True  # it is being claimed at this moment
        if state["status"] != DatasetStatus.CLAIMED:
            return False
        run = self.run(state.get("runId") or names.run_id(version))
        return run is None or run["status"] in IN_PLACE

    # Runs

    def run(self, run_id: str) -> Run | None:
        """Return the record of a run, or None."""
        return cast("Run | None", self._get(f"RUN#{run_id}", "STATE"))

    def open_run(self, run_id: str, dataset_version: str, execution_arn: str) -> bool:
        """Create the run's record. False, and unchanged, if it exists."""
        return self._update(
            f"RUN#{run_id}",
            "STATE",
            Attr("pk").not_exists(),
            kind="RUN",
            status=RunStatus.RUNNING,
            runId=run_id,
            datasetVersion=dataset_version,
            executionArn=execution_arn,
            startedAt=self._now(),
        )

    def resume_run(self, run_id: str, dataset_version: str, execution_arn: str, training_attempt: int) -> None:
        """Record that the run trains, for the `training_attempt`-th time. A run that had ended or was parked is running
        again, and its recorded end is cleared.
        """
        self._update(
            f"RUN#{run_id}",
            "STATE",
            kind="RUN",
            status=RunStatus.RUNNING,
            runId=run_id,
            datasetVersion=dataset_version,
            executionArn=execution_arn,
            trainingAttempt=training_attempt,
            reasons=[],
            error=None,
            endedAt=None,
        )

    def park_run(self, run_id: str, reason: str) -> bool:
        """Record that the run waits, and the `reason`. False if the run has ended or is unknown."""
        return self._update(
            f"RUN#{run_id}",
            "STATE",
            Attr("status").is_in(list(UNFINISHED)),
            status=RunStatus.PARKED,
            reasons=_bounded([reason]),
        )

    def unpark_run(self, run_id: str) -> bool:
        """Record that a parked run continues. False if it was not parked."""
        return self._update(
            f"RUN#{run_id}", "STATE", Attr("status").eq(RunStatus.PARKED), status=RunStatus.RUNNING, reasons=[]
        )

    def finish_run(
        self,
        run_id: str,
        status: RunStatus,
        reasons: list[str],
        error: str | None = None,
        over: tuple[RunStatus, ...] = UNFINISHED,
    ) -> bool:
        """End the run as `status`, if its status is in `over` or the run is unknown. False if it has already ended."""
        return self._update(
            f"RUN#{run_id}",
            "STATE",
            Attr("status").not_exists() | Attr("status").is_in(list(over)),
            kind="RUN",
            status=status,
            runId=run_id,
            reasons=_bounded(reasons),
            error=error,
            endedAt=self._now(),
        )

    def restate_run(self, run_id: str, status: RunStatus, reasons: list[str], over: RunStatus) -> bool:
        """Change the status of a run that has ended from `over`, as when a person takes its model back. When it ended
        stays. False if its status is another one.
        """
        is_over = Attr("status").eq(over)
        return self._update(f"RUN#{run_id}", "STATE", is_over, status=status, reasons=_bounded(reasons), error=None)

    def decide(
        self, run_id: str, stage: str, verdict: str, reasons: list[str], figures: dict[str, Any], once: bool = False
    ) -> bool:
        """Record the decision of `stage`. With `once`, an earlier decision stays, and the result is False."""
        return self._update(
            f"RUN#{run_id}",
            f"DECISION#{stage}",
            Attr("pk").not_exists() if once else None,
            kind="DECISION",
            runId=run_id,
            verdict=verdict,
            reasons=_bounded(reasons),
            figures=figures,
        )

    def decision(self, run_id: str, stage: str) -> Decision | None:
        """Return the decision of `stage` for a run, or None."""
        return cast("Decision | None", self._get(f"RUN#{run_id}", f"DECISION#{stage}"))

    def end_operation(
        self, kind: str, execution_name: str, status: OperationStatus, reasons: list[str], error: str | None = None
    ) -> bool:
        """Record the end of a batch or rollback execution (`kind`: BATCH or ROLLBACK). False if it was recorded."""
        return self._update(
            f"{kind}#{execution_name}",
            "STATE",
            Attr("pk").not_exists(),
            kind=kind,
            status=status,
            reasons=_bounded(reasons),
            error=error,
            endedAt=self._now(),
        )

    # Notifications

    @contextmanager
    def notifying(self, subject: str, occasion: str) -> Iterator[bool]:
        """Guard one notification: yield True to exactly one caller per `subject` (`RUN#…`, `DATASET#…`) and `occasion`.

        If the block raises, the guard is removed, so that a retry notifies.
        """
        mine = self._update(subject, f"NOTICE#{occasion}", Attr("pk").not_exists(), kind="NOTICE")
        try:
            yield mine
        except BaseException:
            if mine:
                self._delete(subject, f"NOTICE#{occasion}")
            raise

    # Tokens

    def hold_token(self, token: Token) -> None:
        """Store the token under its job's name. It replaces the token of an earlier try."""
        attributes = {
            "kind": "TOKEN",
            "jobKind": token.kind,
            "jobName": token.name,
            "taskToken": token.task_token,
            "executionArn": token.execution_arn,
            "runId": token.run_id,
            "datasetVersion": token.dataset_version,
            "jobId": token.job_id,
            "wanted": token.wanted,
            "expiresAt": int(self._clock()) + TOKEN_LIFETIME_SECONDS,
        }
        self._update(f"JOB#{token.kind}#{token.name}", "TOKEN", **attributes)

    def name_job(self, kind: JobKind, name: str, task_token: str, job_id: str) -> bool:
        """Add the job's id from AWS. False if the token is no longer open."""
        return self._update(f"JOB#{kind}#{name}", "TOKEN", Attr("taskToken").eq(task_token), jobId=job_id)

    def token(self, kind: JobKind, name: str) -> Token | None:
        """Return the open token of a job, or None."""
        item = self._get(f"JOB#{kind}#{name}", "TOKEN")
        return _token(item) if item else None

    def release_token(self, token: Token) -> bool:
        """Delete an answered token. False if a newer token has replaced it; the newer one stays."""
        return self._delete(f"JOB#{token.kind}#{token.name}", "TOKEN", Attr("taskToken").eq(token.task_token))

    def open_tokens(self) -> list[Token]:
        """Return all open tokens, read through the index (about a second behind)."""
        return [_token(item) for item in self._by_kind("TOKEN")]

    def unfinished_runs(self) -> list[Run]:
        """Return all runs that are running or parked, read through the index."""
        return [cast(Run, item) for item in self._by_kind("RUN") if item.get("status") in UNFINISHED]

    def datasets_in(self, status: DatasetStatus) -> list[Dataset]:
        """Return all dataset versions with this status, read through the index."""
        return [cast(Dataset, item) for item in self._by_kind("DATASET") if item.get("status") == status]


def _token(item: dict[str, Any]) -> Token:
    return Token(
        kind=JobKind(item["jobKind"]),
        name=item["jobName"],
        task_token=item["taskToken"],
        execution_arn=item["executionArn"],
        run_id=item.get("runId"),
        dataset_version=item.get("datasetVersion"),
        job_id=item.get("jobId"),
        wanted=item.get("wanted"),
        held_at=item.get("updatedAt"),
    )


def _bounded(reasons: list[str]) -> list[str]:
    return [reason[:MAXIMUM_REASON_LENGTH] for reason in reasons[:MAXIMUM_REASONS]]
