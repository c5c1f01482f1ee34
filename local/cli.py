"""`python -m local <command>` runs the application on an embedded AWS on this machine.

Exit status: 0 done (a model that the gate rejected is a normal end), 1 a run failed, 2 a problem with this machine or
the arguments, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from contracts import schemas
from contracts.documents import Unfit
from contracts.values import integer_in
from local import demo, host, operations
from local.console import Show
from local.data import drop_name, read_drop
from local.demo import Prepared, check_deployed
from local.forget import erase, forget
from local.http import api_url
from local.logs import KINDS, show_logs
from local.project import Problem, Project, RunFailedError
from local.recommend import show_recommendations
from local.status import show_status
from local.trial import show_trial
from local.what_if import judge_again

FAILED, UNUSABLE, INTERRUPTED = 1, 2, 130
COLUMN_OPTIONS = {
    "user-column": ("userColumn", "users"),
    "item-column": ("itemColumn", "items"),
    "time-column": ("timestampColumn", "times; none: there are no times"),
    "event-column": ("eventTypeColumn", "event types"),
    "weight-column": ("weightColumn", "weights, such as ratings or quantities"),
}
"""Options that name a column: its key in `_drop.json`, and what it holds. Columns that are not named are guessed."""
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


def parser() -> argparse.ArgumentParser:
    """All commands and their arguments."""
    top = argparse.ArgumentParser(prog="python -m local", description=(__doc__ or "").partition("\n\n")[0])
    top.epilog = (
        "NCF_LOCAL_PORT chooses the port (4566), NCF_LOCAL_DIR the folder of all state (.local). "
        "Real AWS credentials and profiles are never used."
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="command")

    commands.add_parser("up", help="start the embedded AWS and deploy the application; only what changed is rebuilt")

    command = commands.add_parser(
        "demo", help="`up`, then upload interactions and follow them until recommendations are served"
    )
    _add_data(command, is_required=False)
    command.add_argument("--worse", action="store_true", help="upload random data to see the gate reject the model")

    command = commands.add_parser("run", help="upload interactions and follow the run to its end")
    _add_data(command, is_required=True)
    command.add_argument(
        "--name", metavar="DROP", help="name of the folder under raw/ (default: made from the data's name and the time)"
    )

    commands.add_parser("close-events", help="start a training with the events since the last one, and follow it")

    command = commands.add_parser("recommend", help="show recommendations for one user, from the HTTP API")
    command.add_argument("user", metavar="USER", help="user id, as in the data")
    command.add_argument(
        "-n", type=_integer, default=None, metavar="NUMBER", help="number of recommendations (default 10)"
    )
    command.add_argument("--candidates", metavar="A,B,…", help="rank these items instead of the whole catalogue")

    commands.add_parser("url", help="print the URL of the HTTP API")

    commands.add_parser("status", help="show what is running, which model serves, and the latest runs")

    command = commands.add_parser("report", help="save the report of a run as an HTML page and print its path")
    command.add_argument("run", nargs="?", metavar="RUN", help="run id (default: the latest finished run)")

    command = commands.add_parser(
        "restart", help="restart a failed run at the state that failed, or from the start with --anew"
    )
    command.add_argument("run", nargs="?", metavar="RUN", help="run id (default: the latest that failed)")
    command.add_argument("--anew", action="store_true", help="train again on the same data, as a new attempt")
    command.add_argument(
        "--acknowledge",
        metavar="REASON",
        help="why a model that a person took back may serve again; kept in the ledger, needs RUN",
    )

    command = commands.add_parser(
        "gate", help="show which of the last runs a draft policy of the gate would have passed"
    )
    command.add_argument("--policy", type=Path, required=True, metavar="FILE", help="the draft, as policy/gate.json")
    command.add_argument("--run", metavar="RUN", help="run id (default: the last ten that were judged)")

    command = commands.add_parser("rollback", help="deploy an earlier model again: the previous one, or --to RUN")
    command.add_argument("--to", metavar="RUN", help="run id of a model that has served (default: the previous one)")
    command.add_argument(
        "--percent", type=_integer, metavar="N", help="send it only this percentage of the requests; 0 ends the split"
    )
    command.add_argument(
        "--reason", metavar="TEXT", help="the reason, kept in the ledger and sent with the notification"
    )

    commands.add_parser(
        "trial", help="try the previous model beside the one that serves, with simulated customers, until one is better"
    )

    command = commands.add_parser(
        "batch", help="write a list of recommendations for every known user, with the current model"
    )

    command = commands.add_parser("forget", help="forget a person: no list, no answer and no later model has this id")
    command.add_argument("user", metavar="USER", help="user id, as in the data")
    command.add_argument(
        "--reason", required=True, metavar="TEXT", help="the reason without the id; kept in the ledger"
    )

    command = commands.add_parser("erase", help="remove what is kept of forgotten people, and show the receipt")
    command.add_argument(
        "--delete-unreadable", action="store_true", help="delete files of drops whose rows cannot be taken out"
    )

    command = commands.add_parser("logs", help="show the latest log lines of one part, or a few of each")
    command.add_argument("part", nargs="?", metavar="PART", help=f"{', '.join(KINDS)}, or a function such as evaluate")
    command.add_argument("-f", "--follow", action="store_true", help="follow the log until Ctrl-C")

    command = commands.add_parser("down", help="stop the embedded AWS and all its processes; the state is kept")
    command.add_argument(
        "--delete", action="store_true", help="also delete all local state: data, models, ledger, logs"
    )
    return top


def _integer(text: str) -> int:
    number = integer_in(text)
    if number is None:
        raise argparse.ArgumentTypeError(f"must be an integer, not {text!r}")
    return number


def _add_data(command: argparse.ArgumentParser, is_required: bool) -> None:
    command.add_argument(
        "--data",
        type=Path,
        required=is_required,
        metavar="PATH",
        help="a file with user, item and time, or a folder of such files: CSV, TSV, JSON lines, Parquet and others"
        + ("" if is_required else " (default: a generated shop, a week longer each time)"),
    )
    command.add_argument(
        "--items",
        type=Path,
        metavar="PATH",
        help="catalogue (id, title, category); default: items.*, movies.* or products.* next to the data",
    )
    for option, (_, what) in COLUMN_OPTIONS.items():
        command.add_argument(
            f"--{option}", metavar="COLUMN", help=f"name, or position from 1, of the column with the {what}"
        )
    command.add_argument(
        "--time-format", metavar="PATTERN", help="form of the times, as M/d/yyyy H:mm; epoch numbers and ISO are known"
    )
    command.add_argument(
        "--kind",
        choices=("full", "append"),
        help="append: what is new since the last full drop; full (default): the whole history",
    )
    command.add_argument(
        "--history-days", metavar="N", help="learn from the last N days of interactions (default: all)"
    )
    command.add_argument("--event-types", metavar="buy,cart", help="use only rows of these event types (default: all)")
    for option, (_, metavar, what) in WORTH_OPTIONS.items():
        kind = float if option in ("least", "half-life") else str
        command.add_argument(f"--{option}", metavar=metavar, type=kind, help=what)


WORTH_OPTIONS = {
    "weights": ("eventWeights", "buy=5,view=1", "what an event is worth, by event type (default: each 1)"),
    "least": ("leastValue", "3", "events with a lower value (weight), such as a rating, count nothing"),
    "values": ("values", "multiply", "multiply: the value, such as a quantity, multiplies the worth (default: ignore)"),
    "half-life": ("halfLifeDays", "DAYS", "the age in days at which an event is worth half (default: age is ignored)"),
    "bought": ("boughtTypes", "buy", "event types that are purchases (default: all)"),
}
"""Options of what events are worth: key of `_drop.json`, example, meaning."""


def _parameters(given: argparse.Namespace) -> dict[str, Any]:
    """Return the columns and event types that were given, by the keys of `_drop.json`. Raises Problem
    for a value that these cannot have."""
    options = {option: key for option, (key, *_) in (COLUMN_OPTIONS | WORTH_OPTIONS).items()} | {
        "event-types": "eventTypes",
        "time-format": "timestampFormat",
        "kind": "kind",
        "history-days": "historyDays",
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
        project.adopt_environment()
        _check_arguments(given)
        COMMANDS[given.command](given, project, show)
        return 0
    except Problem as problem:
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
    show_logs(project, show, given.part, given.follow)


def _down(given: argparse.Namespace, project: Project, show: Show) -> None:
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


COMMANDS: dict[str, Callable[[argparse.Namespace, Project, Show], object]] = {
    "up": _up,
    "demo": lambda given, project, show: demo.demo(
        project, show, given.data, given.items, given.worse, _parameters(given)
    ),
    "run": _run,
    "close-events": lambda given, project, show: demo.close_events(project, check_deployed(project), show),
    "recommend": _recommend,
    "url": lambda given, project, show: print(api_url(project, check_deployed(project)["ApiId"])),
    "status": lambda given, project, show: show_status(project, show),
    "report": lambda given, project, show: operations.fetch_report(project, check_deployed(project), show, given.run),
    "restart": lambda given, project, show: operations.restart(
        project, check_deployed(project), show, given.run, given.anew, given.acknowledge
    ),
    "gate": lambda given, project, show: judge_again(project, check_deployed(project), show, given.policy, given.run),
    "rollback": lambda given, project, show: operations.roll_back(
        project, check_deployed(project), show, given.to, given.percent, given.reason
    ),
    "trial": lambda given, project, show: show_trial(project, check_deployed(project), show),
    "batch": lambda given, project, show: operations.write_lists(project, check_deployed(project), show),
    "forget": lambda given, project, show: forget(project, check_deployed(project), show, given.user, given.reason),
    "erase": lambda given, project, show: erase(project, check_deployed(project), show, given.delete_unreadable),
    "logs": _logs,
    "down": _down,
}
"""The function of each command of `parser`."""
