"""Show which of the last runs a draft policy of the gate would have passed, before it is in force."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contracts import documents
from contracts.documents import Unfit
from control.ledger import Ledger, key_of, newest_first
from local.console import Show
from local.project import Problem, Project

RUNS = 10
"""Number of runs that are judged again."""


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
        raise Problem("no run has been judged yet: `make demo` starts one")
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
