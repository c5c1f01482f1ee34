"""Decisions by hand that the console makes too: approve, reject, pause, resume. Each is kept in the ledger."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from typing import Any

from control import actions, approvals, pauses, run_names
from control.actions import LONGEST_REASON, Action, Overtaken
from control.approvals import APPROVED
from control.ledger import Ledger, key_of, newest_first, when
from local.console import Show
from local.project import Problem, Project

MOST_RUNS = 1000
"""Maximum runs among which a short form is looked for."""


def named_run(project: Project, outputs: Mapping[str, str], text: str | None) -> str | None:
    """The id of the run that a person named by a short form; None stays None. Raises Problem."""
    if text is None:
        return None
    runs = newest_first(Ledger(project, outputs["RunsTableName"]).of_kind("RUN", MOST_RUNS))
    try:
        return run_names.resolve(text, [key_of(run) for run in runs])
    except run_names.NoSuchRun as error:
        raise Problem(str(error)) from error


def act(project: Project, show: Show, action: Action, reason: str) -> list[dict[str, Any]]:
    """Make the calls of an action, with who and why in the ledger; return the answers. Raises Problem for a reason that
    is missing or too long, or if another person was first.
    """
    if len(reason) > LONGEST_REASON or (action.needs_reason and not reason.strip()):
        raise Problem(f"--reason must have 1 to {LONGEST_REASON} characters, not {len(reason.strip())}")
    for sentence in action.consequences:
        show.line(f"  {sentence}")
    try:
        return actions.perform(project.connection, action, f"{getpass.getuser()}, python -m local", reason)
    except Overtaken as error:
        raise Problem(str(error)) from error


def decide(
    project: Project, outputs: Mapping[str, str], show: Show, run_id: str | None, status: str, reason: str
) -> None:
    """Approve or reject (`status`) the model of a run that waits for a person (None: the only one). Raises Problem if
    it does not wait.
    """
    waiting = approvals.waiting(Ledger(project, outputs["RunsTableName"]))
    found = waiting if run_id is None else [one for one in waiting if one.run_id == run_id]
    if not found:
        others = "".join(f"\n  {one.run_id} does, since {when(one.since)}" for one in waiting)
        raise Problem(f"{run_id or 'no run'} waits for {'no' if run_id else 'a'} person{others}")
    if len(found) > 1:
        raise Problem("more than one run waits; name one:" + "".join(f"\n  {one.run_id}" for one in found))
    chosen = found[0]
    act(project, show, approvals.approval(chosen.run_id, chosen.package_arn, status), reason)
    word = "approved" if status == APPROVED else "rejected"
    show.good(f"the model of {chosen.run_id} is {word}: `.venv/bin/python -m local status` shows what follows")


def pause(project: Project, outputs: Mapping[str, str], show: Show, reason: str) -> None:
    """Stop new data from starting trainings. Once more changes nothing."""
    if pauses.retraining(project.connection, Ledger(project, outputs["RunsTableName"])).is_paused:
        show.line("retraining is paused already")
        return
    act(project, show, pauses.pause(project.connection), reason)
    show.good("retraining is paused: `.venv/bin/python -m local resume` ends it")


def resume(project: Project, outputs: Mapping[str, str], show: Show, reason: str, skips: bool) -> None:
    """Let new data start trainings again, beginning with the newest drop since the pause (unless `skips`). Without a
    pause it changes nothing.
    """
    found = pauses.retraining(project.connection, Ledger(project, outputs["RunsTableName"]))
    if not found.is_paused:
        show.line("retraining is not paused")
        return
    missed = pauses.markers_since(project.connection, found.since)
    announced = missed[-1] if missed and not skips else None
    act(project, show, pauses.resume(project.connection, announced), reason)
    show.good("new data start trainings again")
    if not found.since:
        show.line("  since when it was paused is not known: if a drop came meanwhile, write its _SUCCESS again")
    for key in missed if announced is None else missed[:-1]:
        show.line(f"  came meanwhile and starts nothing of its own: {key.removesuffix('_SUCCESS')}")
