"""`rules`: show the documents in force, check a file, put one in force."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from contracts.documents import Unfit
from control import shop_documents
from control.ledger import Ledger
from control.shop_documents import KINDS, REFUSED, RULES, Kind
from local.acts import act
from local.console import Show
from local.project import Problem, Project

IN_FORCE_SECONDS = 30.0
POLL_SECONDS = 0.5


def documents(
    project: Project, outputs: Mapping[str, str], show: Show, action: str, what: Sequence[str], reason: str
) -> None:
    """Do `action` (show, check, publish) with the kind of document and the file in `what`. Raises Problem for a file
    that cannot be used.
    """
    kind, path = parts(action, what)
    if action == "show":
        for one in [kind] if what else KINDS.values():
            _show(project, show, one)
        return
    try:
        document = kind.checked(Path(path).read_bytes(), path)
    except Unfit as error:
        raise Problem(str(error)) from error
    show.good(f"{path} is valid: {size(document)}")
    if action == "check":
        return
    answers = act(project, show, shop_documents.publish(project.connection, kind, document), reason)
    _wait(project, outputs, show, kind, str(answers[0]["ETag"]).strip('"'))


def parts(action: str, what: Sequence[str]) -> tuple[Kind, str]:
    """The kind and the file among the words of the command line; business rules are the default. Raises Problem."""
    words = list(what)
    kind = KINDS[words.pop(0)] if words and words[0] in KINDS else RULES
    if action == "show":
        if words:
            raise Problem(f"there is no kind of document {words[0]!r}: use {', '.join(KINDS)}")
        return kind, ""
    if len(words) != 1:
        raise Problem(f"rules {action} needs one file, as `rules {action} {kind.name} FILE`")
    return kind, words[0]


def size(document: Mapping[str, object]) -> str:
    """Return the contents of a document in words: `deny 3, boosts 1`."""
    counts = [f"{name} {len(value)}" for name, value in document.items() if isinstance(value, (list, dict))]
    return ", ".join(counts) or "it is empty"


def _show(project: Project, show: Show, kind: Kind) -> None:
    document = shop_documents.in_force(project.connection, kind)
    if document is None:
        show.heading(f"{kind.called}: none; the defaults are in force")
        return
    show.heading(f"{kind.called} in force: {size(document)}")
    show.line(json.dumps(document, indent=2, ensure_ascii=False))


def _wait(project: Project, outputs: Mapping[str, str], show: Show, kind: Kind, etag: str) -> None:
    """Wait until the stack has put the document in force. Raises Problem if it refuses it or does not answer."""
    ledger = Ledger(project, outputs["RunsTableName"])
    logs = "`.venv/bin/python -m local logs apply-documents`"
    with show.stage(f"put the {kind.called} in force"):
        deadline = time.monotonic() + IN_FORCE_SECONDS
        while (outcome := shop_documents.outcome(project.connection, ledger, kind, etag)) is None:
            if time.monotonic() > deadline:
                raise Problem(f"the {kind.called} are not in force after {IN_FORCE_SECONDS:.0f} s: {logs} says why")
            time.sleep(POLL_SECONDS)
        if outcome == REFUSED:
            raise Problem(f"the stack refused the {kind.called}; the earlier ones stay in force: {logs} says why")
