"""The gate's report and decision on a run, as rows, sentences and intervals for a reader."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from contracts import documents
from contracts.documents import Unfit
from contracts.values import is_number
from control.at_once import at_once
from control.connection import Clients, Connection
from control.ledger import Ledger, key_of, newest_first, reasons_of

RUNS = 10
"""Number of runs that a draft policy judges."""
LATEST = "latest"
NORMAL_95 = 1.96
"""Standard errors on each side of a mean in an interval of 95 %."""
SLICES = {
    "unknownUsers": "unknown users",
    "knownUsers": "known users",
    "newUsers": "new users",
    "heavyUsers": "heavy users",
    "headItems": "popular items",
    "tailItems": "rare items",
    "newItems": "items without interactions in train",
    "withRepeats": "with items that users had before",
}
DATA = {
    "formerUsers": "share of the serving model's users who are in the data",
    "formerItems": "share of the serving model's items that are in the data",
    "users": "users, divided by the serving model's",
    "items": "items, divided by the serving model's",
    "interactions": "interactions, divided by the serving model's",
    "itemShift": "drift of item shares (population stability index)",
    "eventShift": "drift of the event mix (population stability index)",
    "withdrawnItems": "share of the serving model's items that the data withdraw",
}
VERDICTS = {
    "ACCEPTED": "The candidate passed every check of the gate.",
    "REJECTED": "The candidate failed the gate: it is not deployed.",
    "UNCHANGED": "The candidate equals the model that serves in every figure, so there was nothing to deploy.",
}
UNCHANGED = "UNCHANGED"


class NotJudged(Exception):
    """The gate cannot answer; the message says why and what to do."""


@dataclass(frozen=True)
class Evidence:
    """One run's record, decision and report; each is empty if it does not exist."""

    run_id: str
    run: Mapping[str, Any] = field(default_factory=dict)
    decision: Mapping[str, Any] = field(default_factory=dict)
    report: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sentence:
    """A sentence of the gate; `passed` is None for a note, which is no check."""

    text: str
    passed: bool | None


@dataclass(frozen=True)
class Interval:
    """A difference candidate minus another model, with its interval of 95 %."""

    against: str
    mean: float
    lower: float
    upper: float


def judged(ledger: Ledger, limit: int = RUNS) -> list[str]:
    """The ids of the last runs that were judged, the newest first."""
    return list(verdicts(ledger, limit))


def verdicts(ledger: Ledger, limit: int = RUNS) -> dict[str, str]:
    """The gate's verdicts on the last runs that were judged, by the run's id, the newest first."""
    found: dict[str, str] = {}
    known = [key_of(run) for run in newest_first(ledger.of_kind("RUN"))]
    for first in range(0, len(known), limit):
        some = known[first : first + limit]
        decisions = at_once(functools.partial(ledger.decision, run_id, "gate") for run_id in some)
        found |= {run: str(one.get("verdict")) for run, one in zip(some, decisions, strict=True) if one}
        if len(found) >= limit:
            break
    return dict(list(found.items())[:limit])


def telling(found: Mapping[str, str]) -> str | None:
    """The newest of the judged runs whose model was accepted or rejected; the newest one if none was."""
    return next((run for run, verdict in found.items() if verdict != UNCHANGED), next(iter(found), None))


def evidence(connection: Connection, run_id: str) -> Evidence:
    """The evidence about a run; for "" and `latest` about the newest that was accepted or rejected. Raises NotJudged if
    there is none.
    """
    ledger = Ledger(connection, connection.outputs["RunsTableName"])
    if run_id in ("", LATEST):
        last = telling(verdicts(ledger))
        if last is None:
            raise NotJudged("No run has been judged yet: `make demo`, or a file in the drop zone, starts one.")
        run_id = last
    run, decision, report = at_once(
        (
            functools.partial(ledger.run, run_id),
            functools.partial(ledger.decision, run_id, "gate"),
            functools.partial(document, connection, "ArtifactsBucketName", f"runs/{run_id}/evaluation.json"),
        )
    )
    if not run:
        raise NotJudged(f"The ledger has no run {run_id[:80]}: choose one from the list of runs.")
    return Evidence(run_id, run, decision, report)


def document(connection: Connection, bucket: str, key: str) -> dict[str, Any]:
    """The JSON object `key` in the bucket that the output `bucket` names; {} if it is missing or not an object."""
    try:
        found = connection.client("s3").get_object(Bucket=connection.outputs[bucket], Key=key)
        return documents.read_object(found["Body"].read(), key)
    except Unfit:
        return {}
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            return {}
        raise


def judge_again(
    clients: Clients, outputs: Mapping[str, str], policy: Mapping[str, Any], run_ids: Sequence[str]
) -> list[dict[str, Any]]:
    """Verdicts of the deployed gate on `run_ids` by a draft policy: runId, verdict, reasons, recorded. Nothing is
    recorded. Raises NotJudged if the draft cannot be used.
    """
    function = outputs["EndpointName"].removesuffix("-recommender") + "-evaluate"
    answer = clients.client("lambda").invoke(
        FunctionName=function, Payload=json.dumps({"draft": policy, "runIds": list(run_ids)}).encode()
    )
    content = documents.read_object(answer["Payload"].read(), f"the answer of {function}")
    if "FunctionError" in answer:
        raise NotJudged(str(content.get("errorMessage")))
    runs: list[dict[str, Any]] = content["runs"]
    return runs


def verdict_of(found: Evidence) -> tuple[str, str]:
    """The verdict, and a sentence about it; the run's status and its error if the gate said nothing."""
    verdict = str(found.decision.get("verdict") or "")
    if verdict:
        return verdict, VERDICTS.get(verdict, "")
    status = str(found.run.get("status", "?"))
    why = "; ".join(reasons_of(found.run))
    return status, "The gate has not judged this run" + (f": {why}" if why else ".")


def sentences(decision: Mapping[str, Any]) -> list[Sentence]:
    """The checks, failed ones first, then the gate's other reasons. A model that equals the serving one fails no check:
    the reasons come first then, and checks that ask for a gain are notes.
    """
    is_unchanged = decision.get("verdict") == UNCHANGED
    checks = (decision.get("figures") or {}).get("checks") or []
    found = [Sentence(str(check.get("sentence") or check.get("name")), check.get("passed") is True) for check in checks]
    known = {sentence.text for sentence in found}
    notes = [Sentence(reason, None) for reason in reasons_of(decision) if reason not in known]
    if is_unchanged:
        asked = [one if one.passed else Sentence(f"not asked of the same model: {one.text}", None) for one in found]
        return notes + sorted(asked, key=lambda sentence: sentence.passed is None)
    return sorted(found, key=lambda sentence: sentence.passed is True) + notes


def models(report: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Candidate, incumbent and baselines that the report has, in this order."""
    found = [("candidate", report.get("candidate")), ("incumbent", report.get("incumbent"))]
    found += sorted((report.get("baselines") or {}).items())
    return [(name, model) for name, model in found if isinstance(model, Mapping)]


def metric_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row a model: its figures as numbers, each with its standard error; None where the report has none."""
    rows = []
    for name, model in models(report):
        row: dict[str, Any] = {"model": f"{name} ({model['runId']})" if model.get("runId") else name}
        errors = model.get("standardErrors") or {}
        for kind in ("full", "sampled"):
            for figure in ("ndcg", "hitRate"):
                key = kind + figure[0].upper() + figure[1:]
                row[key] = _number((model.get(kind) or {}).get(figure))
                row[f"{key}Error"] = _number(errors.get(key))
        rows.append(row | {name: _number(model.get(name)) for name in ("coverage", "largestExposure")})
    return rows


def intervals(report: Mapping[str, Any], figure: str = "fullNdcg") -> list[Interval]:
    """Candidate minus the incumbent (bootstrap), then minus each baseline (from the standard error)."""
    found = []
    change = (report.get("difference") or {}).get(figure) or {}
    if all(is_number(change.get(name)) for name in ("mean", "lower", "upper")):
        found.append(Interval("incumbent", change["mean"], change["lower"], change["upper"]))
    for name, baseline in sorted((report.get("baselines") or {}).items()):
        change = (baseline.get("difference") or {}).get(figure) or {}
        if is_number(change.get("mean")) and is_number(change.get("standardError")):
            reach = NORMAL_95 * change["standardError"]
            found.append(Interval(name, change["mean"], change["mean"] - reach, change["mean"] + reach))
    return found


def slice_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row a slice of the candidate: its users, and the NDCG among all items of each model by the model's name."""
    measured = models(report)
    rows = []
    for name, words in SLICES.items():
        own = ((report.get("candidate") or {}).get("slices") or {}).get(name)
        if own:
            figures = {
                model: _number((((found.get("slices") or {}).get(name) or {}).get("full") or {}).get("ndcg"))
                for model, found in measured
            }
            rows.append({"slice": words, "users": own.get("users"), **figures})
    return rows


def data_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """How the data differ from the incumbent's; [] without an incumbent."""
    data = report.get("data") or {}
    return [{"what": words, "value": _number(data[name])} for name, words in DATA.items() if name in data]


def protocol_rows(report: Mapping[str, Any]) -> list[dict[str, str]]:
    """How the models were measured, as text."""
    rows = {**(report.get("protocol") or {}), **(report.get("people") or {})}
    return [{"what": name, "value": "–" if value is None else str(value)} for name, value in rows.items()]


def _number(value: Any) -> float | None:
    return float(value) if is_number(value) else None
