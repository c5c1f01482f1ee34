"""Where a model comes from and where it went: drop, dataset version, training job, verdict, package, endpoint."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from control.at_once import at_once
from control.connection import Connection
from control.evaluations import document
from control.ledger import Ledger, reasons_of, when
from control.runs import execution_address, execution_name, run_address

PAGE = 50
"""Decisions that are read for one page."""
SILENT = ("pin", "report")
"""Stages whose decisions only keep what was written; they have no reason for a reader."""
STAGES = {
    "training": "training",
    "gate": "gate",
    "registration": "registration",
    "deployment": "deployment",
    "verification": "verification",
    "restart": "restart",
    "acknowledgement": "acknowledgement",
}


@dataclass(frozen=True)
class Step:
    """One step from a drop to the endpoint. `status` is a state or a verdict, `link` a page of the console, if any."""

    kind: str
    name: str
    status: str = ""
    at: str = ""
    note: str = ""
    link: str = ""


def of_run(connection: Connection, run_id: str) -> list[Step]:
    """The steps of a run's model, as far as it came; [] if the ledger has no such run."""
    ledger = Ledger(connection, connection.outputs["RunsTableName"])
    version = run_id.rpartition("-r")[0]
    run, dataset, serving, champion, decisions, union = at_once(
        (
            functools.partial(ledger.run, run_id),
            functools.partial(ledger.dataset, version),
            ledger.serving,
            functools.partial(ledger.item, f"CHAMPION#{run_id}", "STATE"),
            functools.partial(ledger.decisions_of, run_id),
            functools.partial(document, connection, "DataBucketName", f"unions/{version}.json"),
        )
    )
    return steps(run_id, run, dataset, decisions, serving, champion, union) if run else []


def steps(
    run_id: str,
    run: Mapping[str, Any],
    dataset: Mapping[str, Any],
    decisions: Mapping[str, Mapping[str, Any]],
    serving: Mapping[str, Any],
    champion: Mapping[str, Any],
    union: Mapping[str, Any],
) -> list[Step]:
    """The steps, from what the ledger and the list of drops say. What is not there is left out."""
    version = run_id.rpartition("-r")[0]
    found = [Step("drop", name, at=when(dataset.get("begunAt")), note=note) for name, note in _drops(dataset, union)]
    if dataset:
        parent = dataset.get("parentVersion")
        found.append(
            Step(
                "dataset version",
                version,
                str(dataset.get("status", "")),
                when(dataset.get("begunAt")),
                f"goes on from {parent}" if parent else "the first one",
                execution_address("preparation", execution_name(dataset)),
            )
        )
    training = decisions.get("training", {})
    job = (training.get("figures") or {}).get("jobName")
    if job:
        address = run_address(run_id) + "?chosen=StartTraining"
        found.append(Step("training job", str(job), at=when(training.get("updatedAt")), link=address))
    gate = decisions.get("gate", {})
    if gate:
        reason = next(iter(reasons_of(gate)), "")
        address = f"/gate?run={run_id}"
        found.append(Step("gate", run_id, str(gate.get("verdict")), when(gate.get("updatedAt")), reason, address))
    registration = decisions.get("registration", {})
    package = (registration.get("figures") or {}).get("modelPackageArn")
    if package:
        name = str(package).partition("model-package/")[2] or str(package)
        note = f"approval: {registration.get('verdict')}"
        found.append(Step("model package", name, at=when(registration.get("updatedAt")), note=note))
    deployment = decisions.get("deployment", {})
    config = (deployment.get("figures") or {}).get("endpointConfigName") or champion.get("endpointConfigName")
    if config:
        is_now = serving.get("runId") == run_id
        note = f"serves since {when(serving.get('since'))}" if is_now else "does not serve now"
        status = "DEPLOYED" if is_now else str(run.get("status", ""))
        found.append(Step("endpoint", str(config), status, when(deployment.get("updatedAt")), note))
    return found


def _drops(dataset: Mapping[str, Any], union: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The drops of a version with their kinds: those of its union, else its own source."""
    drops = [drop for drop in union.get("drops") or () if isinstance(drop, Mapping)]
    if drops:
        named = ((f"raw/{drop['name']}/" if drop.get("name") else _short(str(drop.get("source")))) for drop in drops)
        return [(name, str(drop.get("kind", ""))) for name, drop in zip(named, drops, strict=True)]
    source = str(dataset.get("source") or "")
    return [(_short(source), "")] if source else []


def _short(source: str) -> str:
    """`s3://bucket/raw/first/` → `raw/first/`."""
    return source.partition("://")[2].partition("/")[2] if "://" in source else source


def decision_rows(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Decisions as rows, the newest first; those that only keep what was written are left out."""
    rows = []
    for record in records:
        stage, _, of = str(record.get("sk", "")).partition("#")[2].partition("#")
        if stage in SILENT:
            continue
        run_id = str(record.get("runId") or str(record.get("pk", "")).partition("#")[2])
        rows.append(
            {
                "at": when(record.get("updatedAt")),
                "run": run_id,
                "stage": f"{STAGES.get(stage, stage)} {of}".strip(),
                "verdict": str(record.get("verdict") or "–"),
                "reasons": "; ".join(reasons_of(record))[:2000],
                "link": f"/gate?run={run_id}" if stage == "gate" else run_address(run_id),
            }
        )
    return rows
