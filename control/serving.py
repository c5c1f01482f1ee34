"""Who serves, who served before and why, and the changes of it that a person may ask for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from contracts import history
from control.actions import Action, Call
from control.ledger import key_of, when


def rollback_input(reason: str, to: str | None = None, percent: int | None = None) -> dict[str, Any]:
    """The input of an execution of the rollback state machine. Raises ValueError for a percent outside 0 to 99."""
    if percent is not None and not 0 <= percent <= 99:
        raise ValueError(f"The share must be 0 to 99 percent, not {percent}.")
    found: dict[str, Any] = {"reason": reason} if reason else {}
    if to:
        found["to"] = to
    if percent is not None:
        found["percent"] = percent
    return found


def periods(items: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Rows of who served when, why and by whom, the newest first."""
    served = history.served(items)
    rows = []
    for position, one in enumerate(served):
        until = when(served[position + 1]["since"]) if position + 1 < len(served) else "serves now"
        rows.append(
            {
                "run": str(one["runId"]),
                "since": when(one["since"]),
                "until": until,
                "replaced": str(one.get("replaced") or "-"),
                "why": str(one.get("why") or "-"),
                "by": str(one.get("by") or "-").rpartition(":")[2],
            }
        )
    return rows[::-1]


def champions(items: Iterable[Mapping[str, Any]]) -> list[str]:
    """The runs whose models can serve again: those that have served, but the one that serves; the newest first."""
    served = [str(one["runId"]) for one in history.served(items)]
    return list(dict.fromkeys(run for run in reversed(served) if run != served[-1])) if served else []


def open_work(records: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Rows of what runs or is parked, in the given order."""
    return [
        {"name": key_of(one), "status": str(one["status"]), "since": when(one.get("startedAt") or one.get("updatedAt"))}
        for one in records
        if one.get("status") in ("RUNNING", "PARKED")
    ]


def roll_back(machine: str, to: str, serves: str) -> Action:
    """The action that lets the model of the run `to` serve again, instead of that of `serves`."""
    return Action(
        "roll back",
        f"Let the model of {to} serve again?",
        (
            f"The endpoint, the popular items and the lists move together from {serves} to {to}, once it is verified.",
            f"{serves} becomes ROLLED_BACK. Newer data stay, but the model restored does not know them.",
            "A split ends. A retraining on its way that was judged against another model fails.",
        ),
        tuple(_started(machine, "", to=to)),
        facts={"to": to, "serves": serves},
        with_reason=lambda why: _started(machine, why, to=to),
    )


def split(machine: str, to: str | None, percent: int) -> Action:
    """The action that lets the model of `to` answer `percent` of the people; 0 ends the split. Raises ValueError."""
    if percent == 0:
        title, sentence = "End the split?", "The model that serves answers all requests again, and its trial ends."
    else:
        title = f"Let the model of {to} answer {percent} % of the people?"
        sentence = "A second fleet starts and a trial begins; popular items and lists stay with the model that serves."
    other = to if percent else None
    return Action(
        "split" if percent else "end the split",
        title,
        (sentence,),
        tuple(_started(machine, "", other, percent)),
        facts={"percent": percent},
        with_reason=lambda why: _started(machine, why, other, percent),
    )


def _started(machine: str, reason: str, to: str | None = None, percent: int | None = None) -> list[Call]:
    execution_input = json.dumps(rollback_input(reason, to, percent))
    return [Call("stepfunctions", "start_execution", {"stateMachineArn": machine, "input": execution_input})]
