"""The commands of `python -m local` and their arguments."""

from __future__ import annotations

import argparse
from pathlib import Path

from contracts import splits
from contracts.values import integer_in
from local.logs import KINDS as PARTS
from local.shop_rules import KINDS as DOCUMENTS

PROGRAM = ".venv/bin/python -m local"
COLUMN_OPTIONS = {
    "user-column": ("userColumn", "users"),
    "item-column": ("itemColumn", "items"),
    "time-column": ("timestampColumn", "times; none: there are no times"),
    "event-column": ("eventTypeColumn", "event types"),
    "weight-column": ("weightColumn", "weights, such as ratings or quantities"),
}
"""Options that name a column: its key in `_drop.json`, and what it holds. Columns that are not named are guessed."""
WORTH_OPTIONS = {
    "weights": ("eventWeights", "buy=5,view=1", "what an event is worth, by event type (default: each 1)"),
    "least": ("leastValue", "3", "events with a lower value (weight), such as a rating, count nothing"),
    "values": ("values", "multiply", "multiply: the value, such as a quantity, multiplies the worth (default: ignore)"),
    "half-life": ("halfLifeDays", "DAYS", "the age in days at which an event is worth half (default: age is ignored)"),
    "bought": ("boughtTypes", "buy", "event types that are purchases (default: all)"),
}
"""Options of what events are worth: key of `_drop.json`, example, meaning."""
RUN_HELP = "run id, the beginning of one, its digest (11946262), or `latest`"
PAGES = ("report", "console", "api")


class Commands:
    """Adds the commands to a parser, each with an example."""

    def __init__(self, top: argparse.ArgumentParser) -> None:
        self._added = top.add_subparsers(dest="command", required=True, metavar="command")

    def add(self, name: str, words: str, example: str = "") -> argparse.ArgumentParser:
        """A command whose example is what follows its name, one a line."""
        lines = [f"  {PROGRAM} {name} {line}".rstrip() for line in example.split("\n")]
        return self._added.add_parser(
            name,
            help=words,
            description=f"{words[0].upper()}{words[1:]}.",
            epilog="example:\n" + "\n".join(lines),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )


def parser() -> argparse.ArgumentParser:
    """All commands and their arguments."""
    top = argparse.ArgumentParser(
        prog=PROGRAM, description=f"`{PROGRAM} <command>` runs the application on an embedded AWS."
    )
    top.epilog = (
        "NCF_LOCAL_PORT chooses the port (4566), NCF_LOCAL_DIR the folder of all state (.local). "
        "Real AWS credentials and profiles are never used. A run is named by its id, the beginning of one, "
        "its digest, or `latest`."
    )
    commands = Commands(top)
    _add_loop(commands)
    _add_questions(commands)
    _add_decisions(commands)
    _add_models(commands)
    _add_people(commands)
    _add_host(commands)
    return top


def _add_loop(commands: Commands) -> None:
    commands.add("up", "start the embedded AWS and deploy the application; only what changed is rebuilt")

    command = commands.add(
        "demo", "`up`, then upload interactions and follow them until recommendations are served", "--data ratings.csv"
    )
    _add_data(command, is_required=False)
    command.add_argument("--worse", action="store_true", help="upload random data to see the gate reject the model")

    command = commands.add(
        "run", "upload interactions and follow the run to its end", "--data orders/ --user-column customer"
    )
    _add_data(command, is_required=True)
    command.add_argument(
        "--name", metavar="DROP", help="name of the folder under raw/ (default: made from the data's name and the time)"
    )

    commands.add("close-events", "start a training with the events since the last one, and follow it")


def _add_questions(commands: Commands) -> None:
    command = commands.add(
        "recommend", "show recommendations for one user, from the HTTP API", "42 -n 5\n42 --candidates 1,50,260"
    )
    command.add_argument("user", metavar="USER", help="user id, as in the data")
    command.add_argument(
        "-n", type=_integer, default=None, metavar="NUMBER", help="number of recommendations (default 10)"
    )
    command.add_argument("--candidates", metavar="A,B,…", help="rank these items instead of the whole catalogue")

    commands.add("url", "print the URL of the HTTP API")

    command = commands.add("open", "print the address of a page and, where there is a browser, open it", "report")
    command.add_argument(
        "page", nargs="?", choices=PAGES, default="report", help="report of a run (default), console, or HTTP API"
    )
    command.add_argument(
        "run", nargs="?", metavar="RUN", help=f"of the report: {RUN_HELP} (default: latest that is over)"
    )

    command = commands.add(
        "status", "show who serves, what runs or waits and for what, the latest runs and refusals", "--json"
    )
    command.add_argument("--json", action="store_true", help="print one JSON object instead of text")

    command = commands.add("report", "save the report of a run as an HTML page and print its path", "latest")
    command.add_argument("run", nargs="?", metavar="RUN", help=f"{RUN_HELP} (default: the latest that is over)")

    command = commands.add(
        "logs", "show the latest log lines of one part, or a few of each", "evaluate\ntraining --follow"
    )
    command.add_argument("part", nargs="?", metavar="PART", help=f"{', '.join(PARTS)}, or a function such as evaluate")
    command.add_argument("-f", "--follow", action="store_true", help="follow the log until Ctrl-C")
    command.add_argument("--json", action="store_true", help="print the lines as they were written, with all fields")

    command = commands.add(
        "env", "print the variables that direct the AWS CLI to the embedded AWS, for a shell", "> aws.sh && . ./aws.sh"
    )
    command.epilog = f'example:\n  eval "$({PROGRAM} env)"\n  aws s3 ls'


def _add_decisions(commands: Commands) -> None:
    command = commands.add("approve", "let the model of a run that waits for a person be deployed", "latest")
    command.add_argument("run", nargs="?", metavar="RUN", help=f"{RUN_HELP} (default: the only one that waits)")
    command.add_argument("--reason", default="", metavar="TEXT", help="the reason, kept in the ledger and the registry")

    command = commands.add(
        "reject", "reject the model of a run that waits for a person", '11946262 --reason "before the sale"'
    )
    command.add_argument("run", metavar="RUN", help=RUN_HELP)
    command.add_argument(
        "--reason", required=True, metavar="TEXT", help="the reason, kept in the ledger and the registry"
    )

    command = commands.add(
        "rules",
        "show the business rules in force, check a file, or put one in force",
        "\nshow placements\ncheck rules.json\npublish event-types types.json --reason agreed",
    )
    command.add_argument(
        "action", nargs="?", choices=("show", "check", "publish"), default="show", help="what to do (default: show)"
    )
    command.add_argument(
        "what",
        nargs="*",
        metavar="KIND FILE",
        help=f"kind of document ({', '.join(DOCUMENTS)}; default: rules), and the file to check or publish",
    )
    command.add_argument("--reason", default="", metavar="TEXT", help="the reason, kept in the ledger")

    command = commands.add(
        "gate",
        "show the last verdict or, with --policy, which of the last runs a draft would have passed",
        "\n--policy draft.json\n--policy draft.json --publish --reason stricter",
    )
    command.add_argument("--policy", type=Path, metavar="FILE", help="a draft, as policy/gate.json")
    command.add_argument("--run", metavar="RUN", help=f"{RUN_HELP} (default: the last; with --policy, the last ten)")
    command.add_argument("--publish", action="store_true", help="put the draft in force, from the next verdict on")
    command.add_argument("--reason", default="", metavar="TEXT", help="the reason, kept in the ledger")

    command = commands.add(
        "pause", "stop new data from starting a training; what has begun goes on", '--reason "the data team moves"'
    )
    command.add_argument("--reason", default="", metavar="TEXT", help="the reason, kept in the ledger")
    command = commands.add("resume", "let new data start trainings again, beginning with the newest drop since `pause`")
    command.add_argument("--reason", default="", metavar="TEXT", help="the reason, kept in the ledger")
    command.add_argument("--skip", action="store_true", help="leave drops that came meanwhile until the next one")


def _add_models(commands: Commands) -> None:
    command = commands.add(
        "restart",
        "restart a failed run at the state that failed, or from the start with --anew",
        "\n--anew 11946262",
    )
    command.add_argument("run", nargs="?", metavar="RUN", help=f"{RUN_HELP} (default: the latest that failed)")
    command.add_argument("--anew", action="store_true", help="train again on the same data, as a new attempt")
    command.add_argument(
        "--acknowledge",
        metavar="REASON",
        help="why a model that a person took back may serve again; kept in the ledger, needs RUN",
    )

    command = commands.add(
        "rollback",
        "deploy an earlier model again: the previous one, or --to RUN",
        '--reason "customers complain"\n--percent 50',
    )
    command.add_argument("--to", metavar="RUN", help=f"a model that has served: {RUN_HELP} (default: the previous one)")
    command.add_argument(
        "--percent", type=_integer, metavar="N", help="send it only this percentage of the requests; 0 ends the split"
    )
    command.add_argument(
        "--reason", metavar="TEXT", help="the reason, kept in the ledger and sent with the notification"
    )

    commands.add(
        "trial", "try the previous model beside the one that serves, with simulated customers, until one is better"
    )
    commands.add("batch", "write a list of recommendations for every known user, with the current model")


def _add_people(commands: Commands) -> None:
    command = commands.add(
        "forget", "forget a person: no list, no answer and no later model has this id", '42 --reason "asked for it"'
    )
    command.add_argument("user", metavar="USER", help="user id, as in the data")
    command.add_argument(
        "--reason", required=True, metavar="TEXT", help="the reason without the id; kept in the ledger"
    )

    command = commands.add("erase", "remove what is kept of forgotten people, and show the receipt")
    command.add_argument(
        "--delete-unreadable", action="store_true", help="delete files of drops whose rows cannot be taken out"
    )


def _add_host(commands: Commands) -> None:
    command = commands.add("down", "stop the embedded AWS and all its processes; the state is kept", "\n--delete")
    command.add_argument(
        "--delete", action="store_true", help="also delete all local state: data, models, ledger, logs"
    )


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
    command.add_argument(
        "--split",
        choices=(splits.AUTO, *splits.PROTOCOLS),
        help="what is for testing: each user's last interaction, or all after one moment (default: auto)",
    )
    command.add_argument("--event-types", metavar="buy,cart", help="use only rows of these event types (default: all)")
    for option, (_, metavar, what) in WORTH_OPTIONS.items():
        kind = float if option in ("least", "half-life") else str
        command.add_argument(f"--{option}", metavar=metavar, type=kind, help=what)
