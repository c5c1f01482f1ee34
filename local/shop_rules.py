"""`rules`: show the documents in force, check a file, put one in force."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from contracts import schemas
from contracts.documents import Unfit
from control import rules
from control.rules import EVENT_TYPES, PLACEMENTS, RULES, Kind
from local.acts import act
from local.console import Show
from local.project import Problem, Project

IN_FORCE_SECONDS = 30.0
POLL_SECONDS = 0.5
KINDS = {"rules": RULES, "event-types": EVENT_TYPES, "placements": PLACEMENTS}
"""The kinds of documents by their names on the command line."""


def documents(project: Project, show: Show, action: str, what: Sequence[str], reason: str) -> None:
    """Do `action` (show, check, publish) with the kind of document and the file in `what`. Raises Problem for a file
    that cannot be used.
    """
    kind, path = parts(action, what)
    if action == "show":
        for one in [kind] if what else KINDS.values():
            _show(project, show, one)
        return
    try:
        document = rules.read_text(Path(path).read_text("utf-8", errors="replace"), path)
        schemas.check(document, kind.name, path)
        if faults := rules.faults(kind, document):
            raise Unfit(*(f"{path}: {fault}" for fault in faults))
    except Unfit as error:
        raise Problem(str(error)) from error
    show.good(f"{path} is valid: {size(document)}")
    if action == "check":
        return
    state = rules.read_state(project.connection, kind, with_versions=False)
    act(project, show, rules.publication(project.connection, kind, document, state), reason)
    _wait(project, show, kind)


def parts(action: str, what: Sequence[str]) -> tuple[Kind, str]:
    """The kind and the file among the words of the command line; business rules are the default. Raises Problem."""
    words = list(what)
    name = words.pop(0) if words and words[0] in KINDS else "rules"
    kind = KINDS[name]
    if action == "show":
        if words:
            raise Problem(f"there is no kind of document {words[0]!r}: use {', '.join(KINDS)}")
        return kind, ""
    if len(words) != 1:
        raise Problem(f"rules {action} needs one file, as `rules {action} {name} FILE`")
    return kind, words[0]


def size(document: Mapping[str, object]) -> str:
    """Return the contents of a document in words: `deny 3, boosts 1`."""
    counts = [f"{name} {len(value)}" for name, value in document.items() if isinstance(value, (list, dict))]
    return ", ".join(counts) or "it is empty"


def _show(project: Project, show: Show, kind: Kind) -> None:
    found = rules.read_state(project.connection, kind, with_versions=False).in_force
    document = found.document if found is not None else None
    if document is None:
        show.heading(f"{kind.title.lower()}: none; the defaults are in force")
        return
    show.heading(f"{kind.title.lower()} in force: {size(document)}")
    show.line(json.dumps(document, indent=2, ensure_ascii=False))


def _wait(project: Project, show: Show, kind: Kind) -> None:
    """Wait until the stack has put the document in force. Raises Problem if it refuses it or does not answer."""
    called = kind.title.lower()
    logs = "`.venv/bin/python -m local logs apply-documents`"
    with show.stage(f"put the {called} in force"):
        deadline = time.monotonic() + IN_FORCE_SECONDS
        while (status := rules.read_state(project.connection, kind, with_versions=False).status) == "WAITING":
            if time.monotonic() > deadline:
                raise Problem(f"the {called} are not in force after {IN_FORCE_SECONDS:.0f} s: {logs} says why")
            time.sleep(POLL_SECONDS)
        if status == "REFUSED":
            raise Problem(f"the stack refused the {called}; the earlier ones stay in force: {logs} says why")
