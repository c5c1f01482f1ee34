"""Show the last verdict of the gate, and which of the last runs a draft policy would have passed; publish it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contracts import documents, schemas
from contracts.documents import Unfit
from control import evaluations, policies
from control.ledger import Ledger, when
from local.acts import act
from local.console import Show
from local.project import Problem, Project
from local.watch import Watcher


class NothingJudged(Problem):
    """No run has been judged yet."""


def show_verdict(project: Project, outputs: Mapping[str, str], show: Show, run_id: str | None) -> None:
    """Show the recorded verdict of a run (None: the last that was judged). Raises Problem if there is none."""
    ledger = Ledger(project, outputs["RunsTableName"])
    wanted = run_id or next(iter(evaluations.judged(ledger)), None)
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
        policy = documents.read_object(draft.read_bytes(), str(draft), has_schema=True)
        schemas.check(policy, "policy", str(draft))
        bucket = project.connection.outputs["ArtifactsBucketName"]
        action = policies.publish(bucket, policies.in_force(project.connection), policy)
    except Unfit as error:
        raise Problem(str(error)) from error
    act(project, show, action, reason)
    show.good("the policy is in force from the next verdict on")


def judge_again(project: Project, outputs: Mapping[str, str], show: Show, draft: Path, run_id: str | None) -> None:
    """Judge the last runs (or one) by the policy in `draft` and show what changes. Nothing is recorded.

    Raises Problem if the draft cannot be used or no run has been judged.
    """
    try:
        policy = documents.read_object(draft.read_bytes(), str(draft))
    except Unfit as error:
        raise Problem(str(error)) from error
    run_ids = [run_id] if run_id else evaluations.judged(Ledger(project, outputs["RunsTableName"]))
    if not run_ids:
        raise NothingJudged("no run has been judged yet: `make demo` starts one")
    try:
        runs = evaluations.judge_again(project, outputs, policy, run_ids)
    except evaluations.NotJudged as error:
        raise Problem(str(error)) from error
    for run in runs:
        _show(run, show)


def _show(run: Mapping[str, Any], show: Show) -> None:
    verdict, recorded = run["verdict"], run["recorded"]
    changed = "" if verdict == recorded else f", was {recorded or 'not judged'}"
    mark = show.warn if verdict is None else show.bad if verdict == "REJECTED" else show.good
    mark(f"{run['runId']}: {verdict or 'cannot be judged'}{changed}")
    show.sentences(run["reasons"])
