"""Tables of the commands, from their parsers, and of the hyperparameters, from their declarations.

These modules are imported by name, when the pages are made: importing them at the top would ask for torch and rich of
every program in `delivery`, which runs without the product's packages.
"""

from __future__ import annotations

import argparse
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from delivery.assembly import pages

PARSERS = ("local.parser", "delivery.command", "console.__main__", "laptop_aws.__main__", "emr.arguments")
TARGET = re.compile(r"^([a-z0-9_ -]+):.*?## (.*)$", re.MULTILINE)
VARIABLE = re.compile(r"^\t@printf '(?:\\n)?  ([A-Z].*?)  +(.*?)\\n'", re.MULTILINE)
HEAD = ("argument", "value", "meaning")


def targets(root: Path) -> str:
    """The targets of the Makefile that `make help` shows."""
    found = TARGET.findall((root / "Makefile").read_text("utf-8"))
    return pages.table(
        ("command", "what it does"), ((pages.code(f"make {names.strip()}"), text) for names, text in found)
    )


def variables(root: Path) -> str:
    """The variables of the Makefile that `make help` shows."""
    found = VARIABLE.findall((root / "Makefile").read_text("utf-8"))
    return pages.table(("variable", "meaning"), ((pages.code(one), text.partition(" (now")[0]) for one, text in found))


def programs() -> str:
    """A section for each program with arguments."""
    sections = [program(importlib.import_module(module).parser()) for module in PARSERS]
    launch = importlib.import_module("training.launch").parser()
    return "\n".join([*sections, program(launch, without="hyperparameters")])


def program(parser: argparse.ArgumentParser, without: str = "") -> str:
    """The section of a program: its arguments, and those of each of its commands."""
    parts = [f"## {parser.prog}", *_about(parser, parser.description or "", without)]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, command in action.choices.items():
                parts += [f"### {parser.prog} {name}", *_about(command, helps[name])]
    return "\n\n".join(parts) + "\n"


def _about(parser: argparse.ArgumentParser, words: str, without: str = "") -> Iterator[str]:
    """The description of a program or command, its example and its arguments."""
    if words:
        yield pages.wrapped(pages.cell(f"{words[0].upper()}{words[1:].rstrip('.')}."))
    epilog = parser.epilog or ""
    if epilog.startswith("example:"):
        yield "```sh\n" + "\n".join(line.strip() for line in epilog.splitlines()[1:]) + "\n```"
    elif epilog:
        yield pages.wrapped(pages.cell(epilog))
    rows = [
        _row(action, parser)
        for group in parser._action_groups
        for action in group._group_actions
        if group.title != without and not isinstance(action, (argparse._HelpAction, argparse._SubParsersAction))
    ]
    if rows:
        yield pages.table(HEAD, rows).strip()


def _row(action: argparse.Action, parser: argparse.ArgumentParser) -> tuple[str, str, str]:
    text = (action.help or "") % {**vars(action), "prog": parser.prog}
    default = action.default
    if default not in (None, False, "", argparse.SUPPRESS, (), {}, []) and "default" not in text:
        text += f" (default: {default})"
    if action.option_strings:
        needed = ", required" if action.required else ""
        return ", ".join(map(pages.code, action.option_strings)) + needed, _value(action), text.strip()
    return pages.code(action.metavar or action.dest), _value(action) if action.choices else "", text.strip()


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if action.choices is not None:
        return ", ".join(pages.code(choice) for choice in action.choices)
    return pages.code(action.metavar or action.dest.upper())


# --- Hyperparameters --------------------------------------------------------------------------------------------------


def hyperparameters() -> str:
    """Every hyperparameter, as its model declares it."""
    declared = importlib.import_module("training.hyperparameters").known()
    kinds = importlib.import_module("ncf.registry").kinds()
    text_of = importlib.import_module("ncf.parameters").text_of
    rows = []
    for name, one in declared.items():
        users = sorted(kind for kind, model in kinds.items() if name in model.parameters.__dataclass_fields__)
        of_all = not users or len(users) == len(kinds)
        rows.append(
            (
                pages.code(name),
                "required" if "MISSING" in repr(one.default) else pages.code(text_of(one.default)),
                one.metadata["meaning"],
                "every training" if of_all else ", ".join(users),
                _searched(one.metadata["search"]),
            )
        )
    return pages.table(("hyperparameter", "default", "meaning and range", "used by", "a search tries"), rows)


def _searched(search: Any) -> str:
    if search is None:
        return ""
    if hasattr(search, "values"):
        return ", ".join(map(str, search.values))
    return f"{search.low} to {search.high}{', by its logarithm' if search.log else ''}"
