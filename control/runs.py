"""Runs, preparations and operations in the ledger, page by page; what a run cost; and what a person may do with a run:
restart it, stop it, approve or reject its model.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from botocore.exceptions import ClientError

from contracts import consoles, history
from contracts.history import TakenBack
from control import prices
from control.actions import Action, Call
from control.connection import Clients, Connection
from control.executions import OVER
from control.ledger import UNFINISHED, Ledger, key_of, moment, reasons_of

FAILED = ("FAILED", "ABORTED", "ROLLED_BACK")
MACHINES = ("retraining", "preparation", "batch", "rollback")
STATUSES = {
    "RUN": ("RUNNING", "PARKED", "DEPLOYED", "REJECTED", "UNCHANGED", "FAILED", "ABORTED", "ROLLED_BACK"),
    "DATASET": ("PREPARING", "PREPARED", "CLAIMED", "STALE", "QUARANTINED", "REFUSED", "FAILED", "ABORTED"),
    "BATCH": ("RUNNING", *OVER),
    "ROLLBACK": ("RUNNING", *OVER),
}
"""What a table can show, with the statuses that it can be filtered by."""
SPARK_OVER = ("SUCCESS", "FAILED", "CANCELLED")
PAGE = 25
LONGEST_SHOWN = 2000
"""Characters of a record's reasons in a row."""
MOST_QUERIES = 8
"""Queries for one page, when most records have another status."""
RECORDS_A_QUERY = 200


@dataclass(frozen=True)
class Page:
    """Some records, the last updated first. `after` is where the next page begins; nothing if there is none."""

    records: list[dict[str, Any]]
    after: str = ""


def page_of(ledger: Ledger, kind: str, status: str = "", after: str = "", size: int = PAGE) -> Page:
    """A page of the records of a kind, only those with `status` if one is given. A page may be short, and yet have a
    next one, where records of this status are rare.
    """
    found: list[dict[str, Any]] = []
    for _ in range(MOST_QUERIES):
        records, more = ledger.some_of_kind(kind, status, after, RECORDS_A_QUERY if status else size)
        found += records
        if len(found) > size or (len(found) == size and more):
            found = found[:size]
            return Page(found, position_of(found[-1]))
        after = more
        if not more:
            return Page(found)
    return Page(found, after)


def position_of(record: Mapping[str, Any]) -> str:
    """Where a page after `record` begins, to be written in an address."""
    return f"{record['updatedAt']}~{record['pk']}"


def row_of(kind: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as a row of the table: times are epoch seconds, `took` is seconds, `link` the page's address."""
    started = moment(record.get("startedAt") or record.get("begunAt"))
    status = str(record.get("status", "?"))
    is_over = status not in (*UNFINISHED, "PREPARING")
    ended = moment(record.get("endedAt") or record.get("updatedAt")) if is_over else None
    if kind == "DATASET" and status in ("CLAIMED", "STALE"):
        ended = None  # it was updated later, by the run
    name = key_of(record)
    return {
        "id": f"{kind}#{name}",
        "name": name,
        "status": status,
        "started": started,
        "updated": moment(record.get("updatedAt")),
        "took": round(ended - started, 1) if started is not None and ended is not None else None,
        "reasons": "; ".join(reasons_of(record))[:LONGEST_SHOWN],
        "link": run_address(name) if kind == "RUN" else execution_address("preparation", execution_name(record)),
    }


def rows_of(
    connection: Connection, kind: str, status: str = "", after: str = "", size: int = PAGE
) -> tuple[list[dict[str, Any]], str]:
    """A page of the table of a kind (of STATUSES), and where the next one begins; nothing at the end."""
    ledger = Ledger(connection, connection.outputs["RunsTableName"])
    if kind in ("RUN", "DATASET"):
        page = page_of(ledger, kind, status, after, size)
        return [row_of(kind, record) for record in page.records], page.after
    query: dict[str, Any] = {
        "stateMachineArn": connection.outputs[f"{kind.capitalize()}StateMachineArn"],
        "maxResults": size,
    }
    query |= {"statusFilter": status} if status else {}
    query |= {"nextToken": after} if after else {}
    found = connection.client("stepfunctions").list_executions(**query)
    return [_execution_row(ledger, kind, one) for one in found["executions"]], found.get("nextToken", "")


def _execution_row(ledger: Ledger, kind: str, execution: Mapping[str, Any]) -> dict[str, Any]:
    name, started, stopped = execution["name"], execution["startDate"].timestamp(), execution.get("stopDate")
    ended = stopped.timestamp() if stopped is not None else None
    record = ledger.item(f"{kind}#{name}", "STATE") if kind == "ROLLBACK" or execution["status"] in FAILED else {}
    return {
        "id": f"{kind}#{name}",
        "name": name,
        "status": execution["status"],
        "started": started,
        "updated": ended or started,
        "took": round(ended - started, 1) if ended is not None else None,
        "reasons": "; ".join(reasons_of(record))[:LONGEST_SHOWN],
        "link": execution_address(kind.lower(), name),
    }


def run_address(run_id: str) -> str:
    """The page of a run."""
    return f"/runs/{quote(run_id, safe='')}"


def execution_address(machine: str, name: str) -> str:
    """The page of an execution."""
    return f"/executions/{machine}/{quote(name, safe='')}"


def execution_name(record: Mapping[str, Any]) -> str:
    """The name of the execution that a record tells about."""
    return str(record.get("executionArn") or "").rpartition(":")[2] or key_of(record)


def execution_arn(outputs: Mapping[str, str], machine: str, name: str) -> str:
    """The ARN of the execution `name` of one of the four state machines."""
    arn = outputs[f"{machine.capitalize()}StateMachineArn"]
    return f"{arn.replace(':stateMachine:', ':execution:')}:{name}"


def latest(ledger: Ledger) -> str | None:
    """The run that started last: names begin with the time of their data, so a new attempt at old data counts too."""
    records = ledger.of_kind("RUN", PAGE)
    return key_of(max(records, key=lambda run: moment(run.get("startedAt")) or 0.0)) if records else None


# Restart


def restart_refusal(run_id: str, status: Any, is_anew: bool) -> str | None:
    """Why a run with `status` (None: unknown) cannot be restarted; None if it can."""
    if status is None:
        return f"there is no run {run_id}"
    if status not in FAILED and not is_anew:
        return f"{run_id} is {status}, and only a failed run can be restarted"
    return None


def restartable(
    known: Sequence[Mapping[str, Any]], items: Sequence[Mapping[str, Any]], serves: str
) -> tuple[str | None, tuple[TakenBack, str] | None]:
    """The latest run that failed, whose data are not older than the serving model's (`serves`), and of whose data
    nobody took a model back; and the first one that was passed over because of that. `known` has the newest first.
    """
    passed: tuple[TakenBack, str] | None = None
    for run_id in (key_of(run) for run in known if run.get("status") in FAILED):
        version = run_id.rpartition("-r")[0]
        taken = history.taken_back_of(items, version)
        if taken is None and version >= serves:
            return run_id, passed
        if taken is not None and passed is None:
            passed = taken, run_id
    return None, passed


def next_attempt(run_id: str, known: Sequence[str]) -> str:
    """The name of the next attempt at the data of `run_id`, among the names that are known."""
    version = run_id.rpartition("-r")[0]
    attempts = [name.rpartition("-r") for name in (*known, run_id)]
    return f"{version}-r{1 + max(int(number) for data, _, number in attempts if data == version)}"


def restart_call(outputs: Mapping[str, str], run_id: str, is_anew: bool, acknowledge: str | None = None) -> Call:
    """The call that starts `run_id` again from where it failed, or the new attempt `run_id`."""
    version, _, attempt = run_id.rpartition("-r")
    manifest = {"bucket": outputs["DataBucketName"], "key": f"datasets/{version}/manifest.json"}
    given = {"runId": run_id, "datasetVersion": version, "attempt": int(attempt), "manifest": manifest}
    given |= {} if acknowledge is None else {"acknowledge": acknowledge}
    name = run_id if is_anew else f"{run_id}-restart-{time.time_ns() // 10**9}"
    machine = outputs["RetrainingStateMachineArn"]
    return Call(
        "stepfunctions", "start_execution", {"stateMachineArn": machine, "name": name, "input": json.dumps(given)}
    )


def restart(ledger: Ledger, outputs: Mapping[str, str], run_id: str, is_anew: bool) -> Action:
    """The action that restarts a run, or begins the next attempt. Raises ValueError with the reason if it cannot."""
    if refusal := restart_refusal(run_id, ledger.run(run_id).get("status"), is_anew):
        raise ValueError(f"{refusal[:1].upper()}{refusal[1:]}.")
    wanted = _next_free(ledger, run_id) if is_anew else run_id
    taken = history.taken_back_of(ledger.history(), run_id.rpartition("-r")[0])
    consequences = [
        "The model is trained again on the same data, and judged and deployed as any other."
        if is_anew
        else "What the run has done is found again: a training that is over, a package, an endpoint.",
        "If it passes the gate, its model serves, after an approval where the stack asks for one.",
    ]
    if taken is not None:
        consequences.append(f"But {taken}. Say why it may serve again: the execution gets it as acknowledgement.")

    def calls(why: str) -> list[Call]:
        return [restart_call(outputs, wanted, is_anew, why if taken is not None else None)]

    return Action(
        "start the next attempt" if is_anew else "restart",
        f"Train anew as {wanted}?" if is_anew else f"Restart {run_id} from where it failed?",
        tuple(consequences),
        tuple(calls("")),
        needs_reason=taken is not None,
        facts={"runId": wanted},
        with_reason=calls,
    )


def _next_free(ledger: Ledger, run_id: str) -> str:
    wanted = next_attempt(run_id, [])
    while ledger.run(wanted):
        wanted = next_attempt(wanted, [])
    return wanted


# Stop, approve, reject


def stop(arn: str) -> Action:
    """The action that stops an execution."""
    name = arn.rpartition(":")[2]

    def calls(why: str) -> list[Call]:
        return [
            Call("stepfunctions", "stop_execution", {"executionArn": arn, "error": "StoppedByPerson", "cause": why})
        ]

    return Action(
        "stop",
        f"Stop {name}?",
        (
            "Its job is stopped, its lock released, and it is recorded as ABORTED with a notification.",
            "The model that serves goes on serving. A stopped run can be restarted.",
        ),
        tuple(calls("")),
        needs_reason=True,
        facts={"executionArn": arn},
        with_reason=calls,
    )


def package_of(ledger: Ledger, run_id: str) -> str:
    """The model package that a run has registered. Raises ValueError if it has none."""
    arn = (ledger.decision(run_id, "registration").get("figures") or {}).get("modelPackageArn")
    if not arn:
        raise ValueError(f"The run {run_id} has registered no model package.")
    return str(arn)


# Jobs, their cost, and the report


def report_of(connection: Connection, run_id: str) -> bytes:
    """The report of a run, a page of HTML. Raises ValueError if it has none."""
    bucket, key = connection.outputs["ArtifactsBucketName"], f"runs/{run_id}/report.html"
    try:
        return bytes(connection.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("NoSuchKey", "404"):
            raise
        raise ValueError("This run has no report (yet): it is written soon after the run's end.") from error


def training_job(clients: Clients, name: str) -> dict[str, Any] | None:
    """The description of a training job, or None if there is none of this name."""
    try:
        return dict(clients.client("sagemaker").describe_training_job(TrainingJobName=name))
    except ClientError as error:
        if error.response["Error"]["Code"] in ("ValidationException", "ResourceNotFound"):
            return None
        raise


def parameters_of(connection: Connection) -> dict[str, str]:
    """The stack's parameters by name."""
    found = connection.client("cloudformation").describe_stacks(StackName=connection.stack)["Stacks"][0]
    return {one["ParameterKey"]: one.get("ParameterValue", "") for one in found.get("Parameters", [])}


def cost_of(job: Mapping[str, Any], parameters: Mapping[str, str]) -> str:
    """Duration and cost of a training job, in words, by the parameters of the stack."""
    resources = job.get("ResourceConfig", {})
    instances, kind = int(resources.get("InstanceCount", 1)), str(resources.get("InstanceType", "an instance"))
    if "TrainingEndTime" not in job:
        return f"training: it runs on {instances} × {kind}; its cost is known when it is over"
    billed = int(job.get("BillableTimeInSeconds", 0))
    told = f"training: {billed} s billed on {instances} × {kind}"
    price = prices.price_of(kind, parameters)
    if not price.per_hour:
        return f"{told}; its price is unknown: set the stack's parameter {prices.PARAMETER}"
    cost = price.per_hour * instances * billed / 3600
    return f"{told} at {price.per_hour:g} USD an hour = {cost:.4f} USD ({price.source})"


def job_link(connection: Connection, job_name: str) -> str:
    """The page of a training job in the console of AWS."""
    return consoles.page(connection.outputs["RetrainingStateMachineArn"], "sagemaker", f"#/jobs/{job_name}")


def spark_job(connection: Connection, version: str, job_id: str = "") -> dict[str, Any] | None:
    """The Spark job that prepares a dataset version, or None: by its id, or by the token that waits for it."""
    application = connection.client("cloudformation").describe_stack_resource(
        StackName=connection.stack, LogicalResourceId="PreparationApplication"
    )["StackResourceDetail"]["PhysicalResourceId"]
    if not job_id:
        ledger = Ledger(connection, connection.outputs["RunsTableName"])
        token = ledger.item(f"JOB#PREPARATION#{connection.name_prefix}-{version}", "TOKEN")
        job_id = str(token.get("jobId") or "")
    if not job_id:
        return None
    found = connection.client("emr-serverless").get_job_run(applicationId=application, jobRunId=job_id)
    return dict(found["jobRun"])


def spark_use(job: Mapping[str, Any]) -> str:
    """Duration and resources of a Spark job, as the end of a sentence; empty while nothing is known."""
    seconds = job.get("totalExecutionDurationSeconds")
    used = job.get("billedResourceUtilization") or {}
    told = [f"{seconds} s"] if seconds else []
    units = (("vCPUHour", "vCPU hours"), ("memoryGBHour", "GB hours of memory"), ("storageGBHour", "GB hours of disk"))
    told += [f"{used[name]:g} {unit} billed" for name, unit in units if used.get(name)]
    return f", {', '.join(told)}" if told else ""
