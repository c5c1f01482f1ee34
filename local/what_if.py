"""Show the last verdict of the gate, and which of the last runs a draft policy would have passed; publish it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contracts import documents
from contracts.documents import Unfit
from control import shop_documents
from control.ledger import Ledger, key_of, newest_first, when
from local.acts import act
from local.console import Show
from local.project import Problem, Project
from local.watch import Watcher

RUNS = 10
"""Number of runs that are judged again."""


class NothingJudged(Problem):
    """No run has been judged yet."""


def show_verdict(project: Project, outputs: Mapping[str, str], show: Show, run_id: str | None) -> None:
    """Show the recorded verdict of a run (None: the last that was judged). Raises Problem if there is none."""
    ledger = Ledger(project, outputs["RunsTableName"])
    wanted = run_id or next(iter(_judged(ledger)), None)
    decision = ledger.decision(wanted, "gate") if wanted else {}
    if wanted is None or not decision:
        raise Problem(f"{wanted} was not judged" if wanted else "no run has been judged yet: `make demo` starts one")
    source = (decision.get("figures") or {}).get("policy") or {}
    show.heading(f"{wanted}, judged {when(decision.get('updatedAt'))}")
    Watcher(project, outputs, show).show_gate(wanted)
    if isinstance(source, Mapping) and source.get("source"):
        show.line(f"  by {source['source']}")


def publish(project: Project, show: Show, draft: Path, reason: str) -> None:
    """Put the policy in `draft` in force. Raises Problem if it cannot be used."""
    try:
        policy = shop_documents.POLICY.checked(draft.read_bytes(), str(draft))
    except Unfit as error:
        raise Problem(str(error)) from error
    act(project, show, shop_documents.publish(project.connection, shop_documents.POLICY, policy), reason)
    show.good("the policy is in force from the next verdict on")


def judge_again(project: Project, outputs: Mapping[str, str], show: Show, draft: Path, run_id: str | None) -> None:
    """Judge the last runs (or one) by the policy in `draft` and show what changes. Nothing is recorded.

    Raises Problem if the draft cannot be used or no run has been judged.
    """
    try:
        policy = documents.read_object(draft.read_bytes(), str(draft))
    except Unfit as error:
        raise Problem(str(error)) from error
    run_ids = [run_id] if run_id else _judged(Ledger(project, outputs["RunsTableName"]))
    if not run_ids:
        raise NothingJudged("no run has been judged yet: `make demo` starts one")
    function = outputs["EndpointName"].removesuffix("-recommender") + "-evaluate"
    answer = project.client("lambda").invoke(
        FunctionName=function, Payload=json.dumps({"draft": policy, "runIds": run_ids}).encode()
    )
    content = documents.read_object(answer["Payload"].read(), f"the answer of {function}")
    if "FunctionError" in answer:
        raise Problem(str(content.get("errorMessage")))
    for run in content["runs"]:
        _show(run, show)


def _judged(ledger: Ledger) -> list[str]:
    runs = [key_of(run) for run in newest_first(ledger.of_kind("RUN"))]
    return [run_id for run_id in runs if ledger.decision(run_id, "gate")][:RUNS]


def _show(run: Mapping[str, Any], show: Show) -> None:
    verdict, recorded = run["verdict"], run["recorded"]
    changed = "" if verdict == recorded else f", was {recorded or 'not judged'}"
    mark = show.warn if verdict is None else show.bad if verdict == "REJECTED" else show.good
    mark(f"{run['runId']}: {verdict or 'cannot be judged'}{changed}")
    for reason in run["reasons"]:
        show.line(f"    {reason}")
