"""Forget a person, and show what that changed."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from contracts import documents
from local.console import Show
from local.project import Problem, Project

PAUSE_SECONDS = 1.0


def forget(project: Project, outputs: Mapping[str, str], show: Show, user_id: str, reason: str) -> None:
    """Write the tombstone of a person. Raises Problem if the request is refused."""
    answer = call(project, outputs, "forget", {"userId": user_id, "reason": reason, "by": "python -m local"})
    known = "" if answer["isNew"] else " already"
    show.good(f"the person is{known} forgotten; the ledger has the tombstone {answer['person'][:12]}…")
    lists = f"{answer['lists']} lists" if answer["lists"] != 1 else "1 list"
    show.line(f"  {lists} of batches removed; within 10 s the API answers as for a stranger")
    show.line("  the next version of the data leaves the rows and the id out; `erase` removes what is kept")


def erase(project: Project, outputs: Mapping[str, str], show: Show, is_unreadable_deleted: bool = False) -> None:
    """Remove what is kept of all forgotten people, and show what was removed and what must stay. Raises Problem if that
    fails.
    """
    request: dict[str, Any] = {"now": True, "unreadable": "delete" if is_unreadable_deleted else "keep"}
    with show.activity() as activity:
        activity.now("search all that is kept for forgotten people")
        answer = call(project, outputs, "erase", request)
        while answer["status"] == "GOING_ON":
            activity.now("a Spark job writes Parquet and zstd again, without them")
            time.sleep(PAUSE_SECONDS)
            answer = call(project, outputs, "erase", request)
    if answer["status"] == "NOTHING_TO_DO":
        show.line("nobody is forgotten")
        return
    for kind, number in sorted(answer["removed"].items()):
        show.line(f"  removed {number} {kind}")
    if not answer["remaining"]:
        show.good(f"nothing is kept of {answer['people']} people and sessions; the ledger has the receipt")
        return
    show.warn("something must stay for now; the next search looks again")
    for sentence in answer["remaining"]:
        show.line(f"  {sentence}")


def call(project: Project, outputs: Mapping[str, str], function: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Call a function and return its answer. Raises Problem with the function's error."""
    name = f"{outputs['EndpointName'].removesuffix('-recommender')}-{function}"
    answer = project.client("lambda").invoke(FunctionName=name, Payload=json.dumps(request).encode())
    content = documents.read_object(answer["Payload"].read(), f"the answer of {name}")
    if "FunctionError" in answer:
        raise Problem(str(content.get("errorMessage")))
    return content
