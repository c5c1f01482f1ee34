"""Follow a drop to its end: preparation, the manifest's event, the retraining execution, the endpoint. Watching
changes nothing.

Everything shown comes from sources that AWS has too: execution histories, CloudWatch Logs, the ledger, S3. The watcher
polls several times a second; the deployed application never polls.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from contracts import lines
from control import progress
from control.executions import OVER, ExecutionView, StateVisit, execution_reason, read_json
from control.ledger import REFUSED, UNFINISHED, Ledger, reasons_of
from control.logs import TRAINING_LOG_GROUP, LogTail
from local.console import Activity, Show, wrapped
from local.project import Project, RunFailedError
from local.stack import Stack

POLL_SECONDS = 0.3
PATIENCE_SECONDS = 30.0
START_SECONDS = 120.0
WORK = {
    "StartPreparation": "prepare the data with Spark",
    "RecordPrepared": "record the dataset version",
    "StartTraining": "train",
    "Evaluate": "judge the candidate",
    "Register": "register the model package",
    "AwaitApproval": "wait for a person's approval",
    "Deploy": "deploy to the endpoint",
    "Verify": "verify the endpoint with golden requests",
    "RollBack": "restore the earlier configuration",
    "RecordDeployed": "record the deployment",
    "RecordRejected": "record the rejection",
    "RecordUnchanged": "record that nothing changed",
    "StartBatch": "write a list for every known user",
    "PublishBatch": "point to the lists",
    "ChooseVersion": "choose the version to restore",
    "RecordRestored": "record the restored model",
    "HandleFailure": "handle the failure",
}


@dataclass(frozen=True)
class Outcome:
    """How a drop ended: `status` is that of the run (DEPLOYED, REJECTED, UNCHANGED) or of the dataset (STALE)."""

    status: str
    run_id: str
    dataset_version: str
    reasons: list[str]
    seconds: float


@dataclass
class FileTail:
    """New whole lines of a file that another process writes."""

    path: Path
    _position: int = 0

    def lines(self) -> Iterator[str]:
        """The lines since the last call; none if the file does not exist."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._position)
                content = file.read()
        except FileNotFoundError:
            return
        whole = content[: content.rfind(b"\n") + 1]
        self._position += len(whole)
        yield from whole.decode("utf-8", errors="replace").splitlines()


class Watcher:
    """Follows one drop. `outputs` are the stack's."""

    def __init__(self, project: Project, outputs: Mapping[str, str], show: Show) -> None:
        self.project, self.outputs, self.show = project, outputs, show
        self.states = project.client("stepfunctions")
        self.logs = project.client("logs")
        self.s3 = project.client("s3")
        self.ledger = Ledger(project, outputs["RunsTableName"])
        self.name_prefix = outputs["EndpointName"].removesuffix("-recommender")
        self.started = time.monotonic()
        self.shown_reasons: list[str] = []
        self._view = ExecutionView()
        self._has_trained = False

    @property
    def elapsed(self) -> float:
        """Seconds since the drop was closed."""
        return time.monotonic() - self.started

    def known_preparations(self) -> set[str]:
        """The preparation executions that exist; call it before the drop, to recognise the drop's own later."""
        return {execution["executionArn"] for execution in self._preparations()}

    def follow(self, drop: str, before: set[str]) -> Outcome:
        """Follow the drop `raw/<drop>/`, closed just now, to its end.

        Raises RunFailedError with the reason when preparation or the run failed.
        """
        self.started = time.monotonic()
        with self.show.activity() as activity:
            activity.now("wait for the preparation to start")
            preparation = self._until(
                lambda: self._preparation_of(drop, before),
                START_SECONDS,
                f"no preparation started for raw/{drop}/: is the rule on raw/*/_SUCCESS there? See `make logs`",
                activity,
            )
            self.show.step(f"_SUCCESS event → preparation execution {preparation.rpartition(':')[2]}")
            version = self._follow_preparation(preparation, activity)
            activity.now("wait for the manifest's event to start the retraining")
            run_id, execution = self._retraining_of(version, activity)
            if execution is None:
                return self._not_retrained(version)
            self.show.step(f"manifest event → retraining execution {run_id}")
            return self._follow_retraining(version, run_id, execution, self._training_log(run_id), activity)

    def follow_run(self, run_id: str, arn: str) -> Outcome:
        """Show a retraining execution until its run ends. Raises RunFailedError with the reasons if it failed."""
        log = self._training_log(run_id)
        for _ in log.lines():
            pass  # of a job that an earlier execution of the run created
        with self.show.activity() as activity:
            return self._follow_retraining(run_id.rpartition("-r")[0], run_id, arn, log, activity)

    def follow_execution(self, arn: str) -> dict[str, Any]:
        """Show an execution's states until it ends; return its description."""
        with self.show.activity() as activity:
            for visit in self._visits(arn, activity):
                if visit is not None:
                    self._show_visit(visit, "")
        return dict(self.states.describe_execution(executionArn=arn))

    # Preparation

    def _preparations(self) -> list[dict[str, Any]]:
        arn = self.outputs["PreparationStateMachineArn"]
        executions: list[dict[str, Any]] = self.states.list_executions(stateMachineArn=arn, maxResults=100)[
            "executions"
        ]
        return executions

    def _preparation_of(self, drop: str, before: set[str]) -> str | None:
        marker = f"raw/{drop}/"
        for execution in self._preparations():
            arn: str = execution["executionArn"]
            if arn not in before and marker in self.states.describe_execution(executionArn=arn).get("input", ""):
                return arn
        return None

    def _follow_preparation(self, arn: str, activity: Activity) -> str:
        tail: FileTail | None = None
        version: str | None = None
        for visit in self._visits(arn, activity):
            if version is None and (version := self._version_prepared_by(arn)):
                self.show.step(f"dataset version {version}")
            if version is not None and tail is None:
                tail = self._preparation_log(version)
            if tail is not None:
                for line in tail.lines():
                    if step := progress.step_in(line):
                        self.show.step(wrapped(f"Spark  {step}"))
                    elif line.startswith(lines.UNITED):
                        self.show.step(line.removeprefix(lines.UNITED))
                    elif line.startswith(lines.WARNING):
                        self.show.warn(wrapped(line.removeprefix(lines.WARNING)))
            if visit is not None:
                self._show_visit(visit, "")
        execution = self.states.describe_execution(executionArn=arn)
        version = version or self._version_prepared_by(arn)
        record = self.ledger.dataset(version) if version else {}
        if execution["status"] != "SUCCEEDED" or record.get("status") in REFUSED:
            reasons = reasons_of(record) or [execution_reason(execution)]
            raise RunFailedError(_not_prepared(version, record.get("status")) + "; ".join(reasons))
        if version is None:
            raise RunFailedError(f"preparation {arn} succeeded, but the ledger names no dataset version for it")
        return version

    def _version_prepared_by(self, arn: str) -> str | None:
        for record in self.ledger.of_kind("DATASET", limit=25):
            if record.get("executionArn") == arn:
                return str(record["datasetVersion"])
        return None

    def _preparation_log(self, version: str) -> FileTail | None:
        """The log of the version's Spark job. On AWS it is in S3 after the job's end; here it can be read live."""
        application = Stack(self.project).physical_id("PreparationApplication")
        if application is None:
            return None
        jobs = self.project.client("emr-serverless").list_job_runs(applicationId=application)["jobRuns"]
        own = [job for job in jobs if job.get("name", "").startswith(f"{self.name_prefix}-{version}")]
        newest = max(own, key=lambda job: job["createdAt"], default=None)
        return FileTail(self.project.preparation_log(newest["id"])) if newest else None

    # Retraining

    def _retraining_of(self, version: str, activity: Activity) -> tuple[str, str | None]:
        """The run that the version's manifest started; no execution if the ledger says that none will start."""
        run_id = f"{version}-r1"
        arn = self.outputs["RetrainingStateMachineArn"].replace(":stateMachine:", ":execution:") + f":{run_id}"

        def started() -> str | None:
            try:
                self.states.describe_execution(executionArn=arn)
                return arn
            except ClientError as error:
                if error.response["Error"]["Code"] != "ExecutionDoesNotExist":
                    raise
            return "" if self.ledger.dataset(version).get("status") in ("STALE", *REFUSED) else None

        found = self._until(
            started,
            START_SECONDS,
            f"the manifest of {version} started no retraining: see `make status` (dead letters) and `make logs`",
            activity,
        )
        return run_id, found or None

    def _not_retrained(self, version: str) -> Outcome:
        record = self.ledger.dataset(version)
        reasons = reasons_of(record)
        if record["status"] in REFUSED:
            raise RunFailedError(f"the dataset {version} was refused: " + "; ".join(reasons or ["no reason given"]))
        return Outcome(str(record["status"]), "", version, reasons, self.elapsed)

    def _training_log(self, run_id: str) -> LogTail:
        return LogTail(self.logs, TRAINING_LOG_GROUP, f"{self.name_prefix}-{run_id}")

    def _follow_retraining(self, version: str, run_id: str, arn: str, tail: LogTail, activity: Activity) -> Outcome:
        is_asked = False
        for visit in self._visits(arn, activity):
            if not is_asked and self._view.current is not None and self._view.current.name == "AwaitApproval":
                is_asked = True
                self.show.step(f"a person decides: `.venv/bin/python -m local approve {run_id}`, or `reject`")
            if any(seen.name == "StartTraining" for seen in self._view.visits) and not self._has_trained:
                self._show_training(tail, activity)
            if visit is not None:
                self._has_trained = self._has_trained or visit.name == "StartTraining"
                self._show_visit(visit, self._detail(visit))
                if visit.name == "Evaluate":
                    self.show_gate(run_id)
        execution = self.states.describe_execution(executionArn=arn)
        record = self._settled_run(run_id)
        reasons, status = reasons_of(record), str(record.get("status", ""))
        if execution["status"] != "SUCCEEDED" or status not in ("DEPLOYED", "REJECTED", "UNCHANGED"):
            raise RunFailedError(
                f"run {run_id} ended {status or execution['status']}: "
                + "; ".join(reasons or [execution_reason(execution)])
            )
        return Outcome(status, run_id, version, reasons, self.elapsed)

    def _settled_run(self, run_id: str) -> dict[str, Any]:
        """The run's final record: after a failure, the ledger may be written shortly after the execution's end."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        record = self.ledger.run(run_id)
        while record.get("status") in (None, *UNFINISHED) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            record = self.ledger.run(run_id)
        return record

    def _show_training(self, tail: LogTail, activity: Activity) -> None:
        for line in tail.lines():
            if epoch := lines.epoch_in(line):
                activity.now("train: epoch")
                activity.advance(epoch.epoch, epoch.epochs, progress.note(epoch))
            elif figures := lines.evaluation_in(line):
                self.show.step(
                    "evaluation  " + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in figures.items())
                )

    def _detail(self, visit: StateVisit) -> str:
        output = visit.output if isinstance(visit.output, dict) else {}
        if visit.name == "Register":
            package = str(output.get("registration", {}).get("modelPackageArn", ""))
            return f"version {package.rpartition('/')[2]} of {self.outputs['ModelPackageGroupName']}" if package else ""
        if visit.name == "Deploy":
            return str(output.get("deployment", {}).get("endpointConfigName", ""))
        return ""

    def _show_visit(self, visit: StateVisit, detail: str) -> None:
        if visit.name in WORK:
            took = f"{visit.left - visit.entered:.1f} s" if visit.left is not None else ""
            ending = f": {detail}" if detail else ""
            report = self.show.bad if visit.has_failed or visit.name == "HandleFailure" else self.show.good
            report(f"{visit.name:<16} {WORK[visit.name]}{ending} ({took})")

    # The gate

    def show_gate(self, run_id: str) -> None:
        """Print the gate's figures, its verdict and its reasons."""
        decision = self.ledger.decision(run_id, "gate")
        report = self._evaluation(run_id)
        rows = gate_rows(report) if report else []
        if rows:
            k = report.get("protocol", {}).get("k", "k")
            head = ["model", f"NDCG@{k}", "± error", f"HR@{k}", "coverage", f"sampled NDCG@{k}", f"sampled HR@{k}"]
            self.show.table(head, rows, "The gate: interactions withheld from training, ranked among all items")
        verdict = str(decision.get("verdict", "no decision in the ledger"))
        report_verdict = self.show.bad if verdict == "REJECTED" else self.show.good
        report_verdict(f"gate: {verdict}")
        self.shown_reasons += reasons_of(decision)
        self.show.sentences(self.shown_reasons)

    def _evaluation(self, run_id: str) -> dict[str, Any]:
        try:
            found = self.s3.get_object(Bucket=self.outputs["ArtifactsBucketName"], Key=f"runs/{run_id}/evaluation.json")
        except ClientError:
            return {}
        content = read_json(found["Body"].read())
        return content if isinstance(content, dict) else {}

    # Waiting

    def _until(self, found: Callable[[], str | None], seconds: float, otherwise: str, activity: Activity) -> str:
        deadline = time.monotonic() + seconds
        while (value := found()) is None:
            if time.monotonic() > deadline:
                raise RunFailedError(otherwise)
            activity.now(activity.text)
            time.sleep(POLL_SECONDS)
        return value

    def _visits(self, arn: str, activity: Activity) -> Iterator[StateVisit | None]:
        """Yields each visit when it ends, and None after each poll; stops after the execution's end."""
        self._view, self._has_trained = ExecutionView(), False
        while True:
            is_over = self.states.describe_execution(executionArn=arn)["status"] in OVER
            pages = self.states.get_paginator("get_execution_history").paginate(executionArn=arn, maxResults=1000)
            for event in [event for page in pages for event in page["events"]]:
                if visit := self._view.feed(event):
                    yield visit
            if self._view.current and self._view.current.name in WORK:
                activity.now(WORK[self._view.current.name])
            yield None
            if is_over:
                return
            time.sleep(POLL_SECONDS)


def _not_prepared(version: str | None, status: Any) -> str:
    if status in REFUSED:
        return f"the drop of {version} is refused: "
    return f"preparation of {version or 'the drop'} failed: "


def gate_rows(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Rows (model, NDCG, its standard error, HR, coverage, sampled NDCG, sampled HR) of an evaluation report:
    candidate, incumbent (with the digest of its run), baselines, in this order.
    """
    models: list[tuple[str, Any]] = [("candidate", report.get("candidate")), ("incumbent", report.get("incumbent"))]
    models += sorted((report.get("baselines") or {}).items())
    rows = []
    for name, figures in models:
        if not isinstance(figures, Mapping):
            continue
        label = f"{name} {figures['runId'].partition('-')[2]}" if figures.get("runId") else name
        full, sampled = figures.get("full", {}), figures.get("sampled", {})
        error = figures.get("standardErrors", {}).get("fullNdcg")
        cells = [full.get("ndcg"), error, full.get("hitRate"), figures.get("coverage")]
        rows.append((label, *(_figure(cell) for cell in [*cells, sampled.get("ndcg"), sampled.get("hitRate")])))
    return rows


def _figure(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, (int, float)) and not isinstance(value, bool) else "–"
