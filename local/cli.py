"""`python -m local <command>` runs the application on an embedded AWS on this machine.

Exit status: 0 done (a model that the gate rejected is a normal end), 1 a run failed, 2 a problem with this machine or
the arguments, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from contracts import schemas
from contracts.documents import Unfit
from contracts.values import integer_in
from control import approvals
from control.connection import NotReady
from local import acts, beside, demo, host, opening, operations, shop_rules, what_if
from local.console import Show
from local.data import drop_name, read_drop
from local.demo import Prepared, check_deployed
from local.forget import erase, forget
from local.http import api_url
from local.logs import show_logs
from local.parser import COLUMN_OPTIONS, WORTH_OPTIONS, parser
from local.project import Problem, Project, RunFailedError
from local.recommend import show_recommendations
from local.status import show_status
from local.trial import show_trial

FAILED, UNUSABLE, INTERRUPTED = 1, 2, 130
STATE_NAMES = (
    "state",
    "s3",
    "firehose",
    "images",
    "work",
    "logs",
    "build",
    "build-cache",
    "shop",
    "java",
    "tmp",
    "reports",
)
STATE_FILES = ("*.json", "*.lock", "*.new", "build.toml", "parameters-*.yaml")


def _parameters(given: argparse.Namespace) -> dict[str, Any]:
    """Return the columns and event types that were given, by the keys of `_drop.json`. Raises Problem
    for a value that these cannot have."""
    options = {option: key for option, (key, *_) in (COLUMN_OPTIONS | WORTH_OPTIONS).items()} | {
        "event-types": "eventTypes",
        "time-format": "timestampFormat",
        "kind": "kind",
        "history-days": "historyDays",
        "split": "split",
    }
    values = {key: getattr(given, option.replace("-", "_")) for option, key in options.items()}
    said = {key: value for key, value in values.items() if value is not None}
    if "historyDays" in said:
        days = integer_in(said["historyDays"])
        if days is None or not 1 <= days <= 1_000_000:
            raise Problem(f"--history-days must be an integer from 1 to 1000000, not {said['historyDays']!r}")
        said["historyDays"] = days
    try:
        schemas.check({"schemaVersion": "1.0", **said}, "drop", "")
    except Unfit as error:
        raise Problem(f"these options cannot be used: {error}") from error
    return said


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    given = parser().parse_args(arguments)
    show = Show()
    try:
        project = Project.from_environment()
        given.exports = opening.exports(project, os.environ)
        project.adopt_environment()
        _check_arguments(given)
        COMMANDS[given.command](given, project, show)
        return 0
    except (Problem, NotReady) as problem:
        show.bad(str(problem))
        return UNUSABLE
    except RunFailedError as failure:
        show.bad(str(failure))
        show.line("  more: .venv/bin/python -m local status, .venv/bin/python -m local logs")
        return FAILED
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except (BotoCoreError, ClientError) as error:
        show.bad(f"the embedded AWS returned an error: {error}")
        show.line(f"  its log: {project.emulator_log}")
        return UNUSABLE
    except OSError as error:
        if error.filename is None:
            raise
        show.bad(f"{error.filename}: {error.strerror}")
        show.line("  make it accessible to this user, or set NCF_LOCAL_DIR to another folder")
        return UNUSABLE
    except KeyboardInterrupt as interrupt:
        _say_interrupted(given.command, interrupt, show)
        return INTERRUPTED


def _check_arguments(given: argparse.Namespace) -> None:
    """Checks arguments before anything is started. Raises Problem."""
    if getattr(given, "items", None) is not None and given.data is None:
        raise Problem("--items is the catalogue of --data: give --data too")
    if "data" in given and given.data is None and _parameters(given):
        raise Problem("columns and event types are those of --data: give --data too")
    if getattr(given, "data", None) is not None:
        read_drop(given.data, given.items, _parameters(given))
    if getattr(given, "name", None) is not None:
        drop_name(given.name)
    if getattr(given, "candidates", None) is not None and given.n is not None:
        raise Problem("-n cannot be used with --candidates: all candidates are ranked")
    if given.command == "gate" and given.publish and given.policy is None:
        raise Problem("--publish puts a draft in force: give --policy too")
    if given.command == "rules":
        shop_rules.parts(given.action, given.what)


def _up(given: argparse.Namespace, project: Project, show: Show) -> None:
    demo.show_deployed(project, demo.up(project, show), show)


def _run(given: argparse.Namespace, project: Project, show: Show) -> None:
    outputs = check_deployed(project)
    prepared = demo.prepare_drop(project, given.data, given.items, False, _parameters(given))
    demo.run(project, outputs, Prepared(given.name or prepared.name, prepared.drop), show)


def _recommend(given: argparse.Namespace, project: Project, show: Show) -> None:
    outputs = check_deployed(project)
    candidates = None
    if given.candidates is not None:
        candidates = [item.strip() for item in given.candidates.split(",") if item.strip()]
    show_recommendations(project, outputs, show, given.user, given.n, candidates)


def _logs(given: argparse.Namespace, project: Project, show: Show) -> None:
    if given.part != "emulator":
        check_deployed(project)
    show_logs(project, show, given.part, given.follow, given.json)


def _down(given: argparse.Namespace, project: Project, show: Show) -> None:
    beside.stop(project, show)
    if not host.stop(project, show):
        show.line("the embedded AWS is not running")
    if not given.delete:
        if project.state.exists():
            show.line(f"the state is kept in {project.state}: `make up` uses it again, `down --delete` removes it")
        return
    if not project.state.exists():
        show.line(f"there is no state in {project.state}")
        return
    show.line(f"deleting all local state in {project.state}: data, models, ledger, logs")
    delete_state(project.state)


def delete_state(folder: Path) -> None:
    """Delete local mode's files in its folder, and the folder if it is then empty; other files stay."""
    for name in STATE_NAMES:
        shutil.rmtree(folder / name, ignore_errors=True)
    for pattern in STATE_FILES:
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def _say_interrupted(command: str, interrupt: KeyboardInterrupt, show: Show) -> None:
    show.line("")
    if isinstance(interrupt, demo.StoppedDeploying):
        show.warn("stopped, with everything that this command started; `make up` continues from here")
    elif command in ("demo", "run", "close-events", "restart", "rollback", "trial", "batch"):
        show.warn("stopped watching; the run continues in the background")
        show.line("  `make status` and `.venv/bin/python -m local logs -f` show it; `make down` stops it")


def _named(given: str | None, project: Project, outputs: Mapping[str, str]) -> str | None:
    return acts.named_run(project, outputs, given)


def _decide(given: argparse.Namespace, project: Project, show: Show) -> None:
    outputs = check_deployed(project)
    status = approvals.APPROVED if given.command == "approve" else approvals.REJECTED
    acts.decide(project, outputs, show, _named(given.run, project, outputs), status, given.reason)


def _gate(given: argparse.Namespace, project: Project, show: Show) -> None:
    outputs = check_deployed(project)
    run_id = _named(given.run, project, outputs)
    if given.policy is None:
        what_if.show_verdict(project, outputs, show, run_id)
        return
    try:
        what_if.judge_again(project, outputs, show, given.policy, run_id)
    except what_if.NothingJudged:
        if not given.publish:
            raise
    if given.publish:
        what_if.publish(project, show, given.policy, given.reason)


def _report(given: argparse.Namespace, project: Project, show: Show) -> None:
    outputs = check_deployed(project)
    show.line(str(operations.fetch_report(project, outputs, _named(given.run, project, outputs))))


def _restart(given: argparse.Namespace, project: Project, show: Show) -> None:
    outputs = check_deployed(project)
    run_id = _named(given.run, project, outputs)
    operations.restart(project, outputs, show, run_id, given.anew, given.acknowledge)


def _roll_back(given: argparse.Namespace, project: Project, show: Show) -> None:
    outputs = check_deployed(project)
    operations.roll_back(project, outputs, show, _named(given.to, project, outputs), given.percent, given.reason)


def _open(given: argparse.Namespace, project: Project, show: Show) -> None:
    outputs = check_deployed(project)
    opening.open_page(project, outputs, show, given.page, _named(given.run, project, outputs))


def _env(given: argparse.Namespace, project: Project, show: Show) -> None:
    print("\n".join(given.exports))


def _rules(given: argparse.Namespace, project: Project, show: Show) -> None:
    check_deployed(project)
    shop_rules.documents(project, show, given.action, given.what, given.reason)


COMMANDS: dict[str, Callable[[argparse.Namespace, Project, Show], object]] = {
    "up": _up,
    "demo": lambda given, project, show: demo.demo(
        project, show, given.data, given.items, given.worse, _parameters(given)
    ),
    "run": _run,
    "close-events": lambda given, project, show: demo.close_events(project, check_deployed(project), show),
    "recommend": _recommend,
    "url": lambda given, project, show: print(api_url(project, check_deployed(project)["ApiId"])),
    "open": _open,
    "status": lambda given, project, show: show_status(project, show, given.json),
    "report": _report,
    "logs": _logs,
    "env": _env,
    "approve": _decide,
    "reject": _decide,
    "rules": _rules,
    "gate": _gate,
    "pause": lambda given, project, show: acts.pause(project, check_deployed(project), show, given.reason),
    "resume": lambda given, project, show: acts.resume(
        project, check_deployed(project), show, given.reason, given.skip
    ),
    "restart": _restart,
    "rollback": _roll_back,
    "trial": lambda given, project, show: show_trial(project, check_deployed(project), show),
    "batch": lambda given, project, show: operations.write_lists(project, check_deployed(project), show),
    "forget": lambda given, project, show: forget(project, check_deployed(project), show, given.user, given.reason),
    "erase": lambda given, project, show: erase(project, check_deployed(project), show, given.delete_unreadable),
    "down": _down,
}
"""The function of each command of `parser`."""
