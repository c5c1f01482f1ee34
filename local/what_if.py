"""Show which of the last runs a draft policy of the gate would have passed, before it is in force."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contracts import documents
from contracts.documents import Unfit
from control import evaluations
from control.ledger import Ledger
from local.console import Show
from local.project import Problem, Project


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
        raise Problem("no run has been judged yet: `make demo` starts one")
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
    for reason in run["reasons"]:
        show.line(f"    {reason}")
