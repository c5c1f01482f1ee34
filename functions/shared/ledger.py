"""The run ledger: one DynamoDB table with each dataset, run, decision, open token, the lock, and who serves
(docs/contracts.md, "Ledger").

Every write that two writers could race for is conditional; losing such a race is an answer (False), never an error.
Reads are strongly consistent, except `open_tokens` and `unfinished`, which read an index and are for clean-up only.
Every method raises DependencyFailed or MissingResource when DynamoDB does not answer as it should.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import boto3
from boto3.dynamodb.conditions import Attr, ConditionBase, Key
from botocore.config import Config
from botocore.exceptions import ClientError

from shared.clients import calling, code_of

TOKEN_LIFETIME_SECONDS = 14 * 24 * 3600
LOCK_LIFETIME_SECONDS = 6 * 3600
MAXIMUM_REASONS = 20
MAXIMUM_REASON_LENGTH = 1000

PREPARING, PREPARED, REFUSED = "PREPARING", "PREPARED", "REFUSED"
CLAIMED, STALE, QUARANTINED = "CLAIMED", "STALE", "QUARANTINED"
RUNNING, DEPLOYED, REJECTED = "RUNNING", "DEPLOYED", "REJECTED"
FAILED, ABORTED, ROLLED_BACK = "FAILED", "ABORTED", "ROLLED_BACK"
PARKED = "PARKED"
UNFINISHED = (RUNNING, PARKED)

TRAINING, PREPARATION, ENDPOINT, APPROVAL = "TRAINING", "PREPARATION", "ENDPOINT", "APPROVAL"
TRANSFORM = "TRANSFORM"


@dataclass(frozen=True)
class Token:
    """An open task token: who waits for the job called `name`.

    `job_id` is the id that AWS gave the job, once known; `wanted` is the endpoint configuration that is waited for;
    `held_at` (ISO 8601) is set on what is read.
    """

    kind: str
    name: str
    task_token: str
    execution_arn: str
    run_id: str | None = None
    dataset_version: str | None = None
    job_id: str | None = None
    wanted: str | None = None
    held_at: str | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Lock:
    """Who has the deployment lock, a run or a rollback's execution; `fence` grows whenever it is taken or renewed."""

    holder: str
    fence: int


class Ledger:
    """The table `table_name`. `clock` returns epoch seconds."""

    def __init__(self, table_name: str, clock: Callable[[], float] = time.time) -> None:
        config = Config(retries={"mode": "standard", "max_attempts": 5}, connect_timeout=3, read_timeout=10)
        self._table = boto3.resource("dynamodb", config=config).Table(table_name)
        self._clock = clock

    # Datasets

    def dataset(self, version: str) -> dict[str, Any] | None:
        """The state of a dataset version, or None."""
        return self._get(f"DATASET#{version}", "STATE")

    def begin_dataset(
        self, version: str, execution_arn: str, attempt: int, source: str, parent_version: str | None
    ) -> bool:
        """Write that an execution prepares `version`. False when another execution does, or has done, so.

        The same execution may begin again (a retry), and any may after a failure (a redrive, or the drop replayed).
        """
        return self._update(
            f"DATASET#{version}",
            "STATE",
            Attr("pk").not_exists()
            | (Attr("status").eq(PREPARING) & Attr("executionArn").eq(execution_arn))
            | Attr("status").is_in([FAILED, REFUSED, ABORTED]),
            kind="DATASET",
            status=PREPARING,
            datasetVersion=version,
            executionArn=execution_arn,
            attempt=attempt,
            source=source,
            parentVersion=parent_version,
        )

    def mark_dataset(
        self, version: str, status: str, reasons: list[str] | None = None, unless: tuple[str, ...] = ()
    ) -> bool:
        """Set the status and reasons of `version`, unless it has one of the statuses `unless`. False if it had."""
        condition = None
        for state in unless:
            condition = Attr("status").ne(state) if condition is None else condition & Attr("status").ne(state)
        attributes: dict[str, Any] = {"kind": "DATASET", "status": status, "datasetVersion": version}
        if reasons is not None:
            attributes["reasons"] = _bounded(reasons)
        return self._update(f"DATASET#{version}", "STATE", condition, **attributes)

    def newest_claimed(self) -> str | None:
        """The newest dataset version that was ever claimed, or None before the first."""
        newest = self._get("DATASET", "NEWEST_CLAIMED")
        return str(newest["datasetVersion"]) if newest else None

    def claim_newest(self, version: str) -> str:
        """The newest dataset version claimed so far, `version` included; it is written if it is the newest."""
        self._update(
            "DATASET",
            "NEWEST_CLAIMED",
            Attr("pk").not_exists() | Attr("datasetVersion").lt(version),
            datasetVersion=version,
        )
        return self.newest_claimed() or version

    def claim_dataset(self, version: str, run_id: str) -> bool:
        """Claim `version` for `run_id`. True for exactly one of any number of simultaneous callers."""
        return self._update(
            f"DATASET#{version}",
            "STATE",
            Attr("pk").not_exists() | ~Attr("status").is_in([CLAIMED, STALE]),
            kind="DATASET",
            status=CLAIMED,
            datasetVersion=version,
            runId=run_id,
            reasons=[],
        )

    # Runs

    def run(self, run_id: str) -> dict[str, Any] | None:
        """The state of a run, or None."""
        return self._get(f"RUN#{run_id}", "STATE")

    def open_run(self, run_id: str, dataset_version: str, execution_arn: str) -> bool:
        """Write that the run exists. False if it did already; nothing is changed then."""
        return self._update(
            f"RUN#{run_id}",
            "STATE",
            Attr("pk").not_exists(),
            kind="RUN",
            status=RUNNING,
            runId=run_id,
            datasetVersion=dataset_version,
            executionArn=execution_arn,
            startedAt=self._now(),
        )

    def resume_run(self, run_id: str, dataset_version: str, execution_arn: str, training_attempt: int) -> None:
        """Write that the run trains, for the `training_attempt`-th time; a run that had ended, or was parked, is
        running again, and what is told of its end is so no more.
        """
        self._update(
            f"RUN#{run_id}",
            "STATE",
            kind="RUN",
            status=RUNNING,
            runId=run_id,
            datasetVersion=dataset_version,
            executionArn=execution_arn,
            trainingAttempt=training_attempt,
            reasons=[],
            error=None,
            endedAt=None,
        )

    def park_run(self, run_id: str, reason: str) -> bool:
        """Write that the run waits for something that it cannot hurry, and for what. False when it is over, or not
        known.
        """
        return self._update(
            f"RUN#{run_id}", "STATE", Attr("status").is_in(list(UNFINISHED)), status=PARKED, reasons=_bounded([reason])
        )

    def unpark_run(self, run_id: str) -> bool:
        """Write that a parked run goes on. False when it was not parked."""
        return self._update(f"RUN#{run_id}", "STATE", Attr("status").eq(PARKED), status=RUNNING, reasons=[])

    def finish_run(
        self, run_id: str, status: str, reasons: list[str], error: str | None = None, over: tuple[str, ...] = UNFINISHED
    ) -> bool:
        """End the run as `status`, if it has one of the statuses `over` or is not known at all. False if somebody
        ended it before.
        """
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

    def decide(
        self, run_id: str, stage: str, verdict: str, reasons: list[str], figures: dict[str, Any], once: bool = False
    ) -> bool:
        """Write the decision of `stage`. With `once`, the first one stays, and False says that there was one."""
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

    def decision(self, run_id: str, stage: str) -> dict[str, Any] | None:
        """The decision of `stage` for a run, or None."""
        return self._get(f"RUN#{run_id}", f"DECISION#{stage}")

    def end_operation(
        self, kind: str, execution_name: str, status: str, reasons: list[str], error: str | None = None
    ) -> bool:
        """Write how an execution that is no run ended: `kind` is BATCH or ROLLBACK. False when it was written
        before.
        """
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
        """Guard one notification: yields True to exactly one of all callers with this `subject` (`RUN#…`,
        `DATASET#…`) and `occasion`.

        If the block raises, the guard is taken back, so that a later try notifies.
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
        """Write the token under its job's name, in the place of any that an earlier try left there."""
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

    def name_job(self, kind: str, name: str, task_token: str, job_id: str) -> bool:
        """Add the id that AWS gave the job. False when the token is no longer open."""
        return self._update(f"JOB#{kind}#{name}", "TOKEN", Attr("taskToken").eq(task_token), jobId=job_id)

    def token(self, kind: str, name: str) -> Token | None:
        """The open token for a job, or None when nobody waits for it."""
        item = self._get(f"JOB#{kind}#{name}", "TOKEN")
        return _token(item) if item else None

    def release_token(self, token: Token) -> bool:
        """Delete the token once it is answered. False when a newer one has taken its place; that one stays."""
        return self._delete(f"JOB#{token.kind}#{token.name}", "TOKEN", Attr("taskToken").eq(token.task_token))

    def open_tokens(self) -> list[Token]:
        """All tokens that wait, read through the index (up to a second or so behind)."""
        return [_token(item) for item in self._by_kind("TOKEN")]

    def unfinished(self, kind: str, *statuses: str) -> list[dict[str, Any]]:
        """All items of `kind` (RUN, DATASET) with one of `statuses`, read through the index."""
        return [item for item in self._by_kind(kind) if item.get("status") in statuses]

    # Serving

    def serving(self) -> dict[str, Any] | None:
        """The model that serves, with `previous` one level deep, or None before the first."""
        return self._get("SERVING", "CURRENT")

    def promote(self, model: dict[str, Any], by: str, why: str, fence: int, replacing: str | None = None) -> bool:
        """Write that `model` (runId, datasetVersion, modelPackageArn, modelDataUrl, endpointConfigName) serves, `by`
        which execution and `why`, and remember that it did. `fence` is that of the writer's deployment lock.

        False, and nothing is changed, when a later holder of the lock has written who serves, or when newer data
        serves; with `replacing`, a rollback's, when another run than that one does. Writing the same run again changes
        nothing and is True.
        """
        current = self.serving()
        if current is None or current["runId"] != model["runId"]:
            if replacing is not None and (current or {}).get("runId") != replacing:
                return False
            allowed = Attr("pk").not_exists() if current is None else Attr("runId").eq(current["runId"])
            if replacing is None:
                allowed &= Attr("pk").not_exists() | Attr("datasetVersion").lte(model["datasetVersion"])
            allowed &= _not_fenced(fence)
            previous = {name: value for name, value in (current or {}).items() if name in (*model, "since")} or None
            tenure = {"since": self._now(), "by": by, "why": why[:MAXIMUM_REASON_LENGTH], "previous": previous}
            if not self._update("SERVING", "CURRENT", allowed, kind="SERVING", fence=fence, **tenure, **model):
                return False
            current = {**model, **tenure}
        elif not self._fenced(fence):
            return False
        # Written again by a retry that finds the first write done: nothing that has served is ever forgotten.
        replaced = (current.get("previous") or {}).get("runId")
        told = {name: current.get(name) for name in ("runId", "datasetVersion", "since", "by", "why")}
        self._update("SERVING", f"SINCE#{current['since']}", kind="TENURE", replaced=replaced, **told)
        return self._update(f"CHAMPION#{model['runId']}", "STATE", kind="CHAMPION", **model)

    def share_traffic(self, run_id: str, percent: int, config: str, by: str, why: str, fence: int) -> bool:
        """Write that the model of `run_id` answers `percent` of the requests, beside the one that serves. False, and
        nothing is changed, when a later holder of the deployment lock than `fence` has written who serves or shares.
        """
        return self._fenced(fence) and self._update(
            "SERVING",
            "SPLIT",
            _not_fenced(fence),
            kind="SPLIT",
            fence=fence,
            runId=run_id,
            percent=percent,
            endpointConfigName=config,
            by=by,
            why=why[:MAXIMUM_REASON_LENGTH],
            since=self._now(),
        )

    def _fenced(self, fence: int) -> bool:
        """Keep earlier holders of the lock from writing who serves, where that stays as it is. False when a later one
        has kept this one from it, or nobody serves.
        """
        return self._update("SERVING", "CURRENT", Attr("runId").exists() & _not_fenced(fence), fence=fence)

    def end_split(self, config: str | None = None) -> bool:
        """Write that one model answers all requests again; with `config`, only if it is by that configuration that two
        do. False when nothing was split (so).
        """
        split = Attr("percent").gt(0)
        if config is not None:
            split &= Attr("endpointConfigName").eq(config)
        return self._update("SERVING", "SPLIT", split, percent=0, endedAt=self._now())

    def current_split(self) -> dict[str, Any] | None:
        """The model that answers a share of the requests, or None."""
        found = self._get("SERVING", "SPLIT")
        return found if found and found.get("percent") else None

    def champion(self, run_id: str) -> dict[str, Any] | None:
        """A model that serves, or has served (as given to `promote`), or None."""
        return self._get(f"CHAMPION#{run_id}", "STATE")

    def champions(self) -> list[dict[str, Any]]:
        """Every model that has served, read through the index."""
        return self._by_kind("CHAMPION")

    def lock_deployment(self, holder: str) -> Lock:
        """Take the deployment lock, or renew it, for a run or a rollback's execution; what comes back says who has it
        now. It is a lease: who is slower than that loses it to the next, and writes nothing over what that one wrote.
        """
        while True:
            now, found = int(self._clock()), self._get("LOCK", "DEPLOYMENT") or {}
            other, fence = found.get("runId"), int(found.get("fence", 0))
            if other not in (None, holder) and found.get("leasedUntil", 0) >= now:
                return Lock(str(other), fence)
            lease = {"runId": holder, "leasedUntil": now + LOCK_LIFETIME_SECONDS, "fence": fence + 1}
            unchanged = Attr("fence").eq(fence) if fence else Attr("fence").not_exists()
            if self._update("LOCK", "DEPLOYMENT", unchanged, kind="LOCK", **lease):
                return Lock(holder, fence + 1)

    def unlock_deployment(self, holder: str) -> bool:
        """Give the deployment lock back. False when `holder` does not have it."""
        return self._update("LOCK", "DEPLOYMENT", Attr("runId").eq(holder), runId=None)

    # DynamoDB

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _get(self, pk: str, sk: str) -> dict[str, Any] | None:
        with calling("dynamodb GetItem"):
            item = self._table.get_item(Key={"pk": pk, "sk": sk}, ConsistentRead=True).get("Item")
        return _plain(item) if item else None

    def _update(self, pk: str, sk: str, condition: ConditionBase | None = None, **attributes: Any) -> bool:
        attributes["updatedAt"] = self._now()
        names = {f"#{position}": name for position, name in enumerate(attributes)}
        values = {f":{position}": _storable(value) for position, value in enumerate(attributes.values())}
        call: dict[str, Any] = {
            "Key": {"pk": pk, "sk": sk},
            "UpdateExpression": "SET " + ", ".join(f"#{position} = :{position}" for position in range(len(attributes))),
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
        }
        if condition is not None:
            call["ConditionExpression"] = condition
        return self._conditionally("dynamodb UpdateItem", self._table.update_item, call)

    def _delete(self, pk: str, sk: str, condition: ConditionBase | None = None) -> bool:
        call: dict[str, Any] = {"Key": {"pk": pk, "sk": sk}}
        if condition is not None:
            call["ConditionExpression"] = condition
        return self._conditionally("dynamodb DeleteItem", self._table.delete_item, call)

    @staticmethod
    def _conditionally(what: str, operation: Callable[..., Any], call: dict[str, Any]) -> bool:
        with calling(what):
            try:
                operation(**call)
            except ClientError as error:
                if code_of(error) == "ConditionalCheckFailedException":
                    return False
                raise
        return True

    def _by_kind(self, kind: str) -> list[dict[str, Any]]:
        query: dict[str, Any] = {"IndexName": "byKind", "KeyConditionExpression": Key("kind").eq(kind)}
        items: list[dict[str, Any]] = []
        while True:
            with calling("dynamodb Query byKind"):
                page = self._table.query(**query)
            items += [_plain(item) for item in page["Items"]]
            if "LastEvaluatedKey" not in page:
                return items
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def _token(item: dict[str, Any]) -> Token:
    return Token(
        kind=item["jobKind"],
        name=item["jobName"],
        task_token=item["taskToken"],
        execution_arn=item["executionArn"],
        run_id=item.get("runId"),
        dataset_version=item.get("datasetVersion"),
        job_id=item.get("jobId"),
        wanted=item.get("wanted"),
        held_at=item.get("updatedAt"),
    )


def _not_fenced(fence: int) -> ConditionBase:
    """That no later holder of the deployment lock has written the item."""
    return Attr("fence").not_exists() | Attr("fence").lte(fence)


def _bounded(reasons: list[str]) -> list[str]:
    return [reason[:MAXIMUM_REASON_LENGTH] for reason in reasons[:MAXIMUM_REASONS]]


def _storable(value: Any) -> Any:
    if isinstance(value, float):
        return Decimal(str(value))
    if isinstance(value, dict):
        return {name: _storable(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_storable(inner) for inner in value]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value
