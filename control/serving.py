"""Who serves, who served before and why, and the changes of it that a person may ask for."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from contracts import history
from contracts.values import is_number
from control.actions import Action, Call
from control.at_once import at_once
from control.connection import Connection
from control.evaluations import document
from control.ledger import Ledger, key_of, moment, when


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


def periods(items: Iterable[Mapping[str, Any]], now: float = 0.0) -> list[dict[str, Any]]:
    """Rows of who served when, why and by whom, the newest first; `seconds` is how long, until `now`."""
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
                "seconds": _seconds(one, served[position + 1] if position + 1 < len(served) else None, now),
                "isRollback": history.is_rollback(one.get("by")),
            }
        )
    return rows[::-1]


def _seconds(one: Mapping[str, Any], after: Mapping[str, Any] | None, now: float) -> float:
    end = (moment(after["since"]) or 0.0) if after is not None else now
    return max(end - (moment(one["since"]) or 0.0), 0.0)


@dataclass(frozen=True)
class Former:
    """A model that has served and can serve again. `until` is when it was replaced, `taken_back` why a person took it
    back, if one did.
    """

    run_id: str
    until: str = ""
    taken_back: str = ""

    @property
    def label(self) -> str:
        """The run, and when it served last."""
        served = f", served until {self.until}" if self.until else ""
        return f"{self.run_id}{served}" + (", taken back by a person" if self.taken_back else "")


def formers(champions: Iterable[Mapping[str, Any]], items: Iterable[Mapping[str, Any]]) -> list[Former]:
    """The models that can serve again: those with a record CHAMPION (whose archive is kept), but the one that serves;
    the one that served last comes first.
    """
    items = list(items)
    served, taken = history.served(items), history.taken_back(items)
    serves = served[-1]["runId"] if served else ""
    left = {str(one["runId"]): str(after["since"]) for one, after in pairwise(served)}
    known = {key_of(record) for record in champions} - {serves}
    newest = sorted(known, key=lambda run: (left.get(run, ""), run), reverse=True)
    return [Former(run, when(left.get(run)) if run in left else "", str(taken.get(run, ""))) for run in newest]


@dataclass(frozen=True)
class Served:
    """A model that has served, as far as it is known: its figures at the gate, and the counts of its data."""

    run_id: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, Any] = field(default_factory=dict)


def read_served(connection: Connection, run_id: str) -> Served:
    """Read what a rollback is weighed by."""
    ledger = Ledger(connection, connection.outputs["RunsTableName"])
    gate, manifest = at_once(
        (
            functools.partial(ledger.decision, run_id, "gate"),
            functools.partial(
                document, connection, "DataBucketName", f"datasets/{run_id.rpartition('-r')[0]}/manifest.json"
            ),
        )
    )
    return Served(run_id, (gate.get("figures") or {}).get("candidate") or {}, manifest.get("counts") or {})


def differences(former: Former, to: Served, serves: Served) -> tuple[str, ...]:
    """Sentences that compare the model of `to` with the one that serves, as far as they are known."""
    found = []
    for name, words in (("users", "people"), ("items", "items")):
        then, now = to.counts.get(name), serves.counts.get(name)
        if is_number(then) and is_number(now):
            found.append(f"it knows {then:,} {words}; the one that serves knows {now:,}")
    then, now = to.figures.get("fullNdcg"), serves.figures.get("fullNdcg")
    if is_number(then) and is_number(now):
        found.append(f"its NDCG was {then:.4f} on its own test, {now:.4f} that of the one that serves on another test")
    if former.taken_back:
        found.append(f"{former.taken_back}: it would serve again all the same")
    return tuple(found)


def open_work(records: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Rows of what runs or is parked, in the given order."""
    return [
        {"name": key_of(one), "status": str(one["status"]), "since": when(one.get("startedAt") or one.get("updatedAt"))}
        for one in records
        if one.get("status") in ("RUNNING", "PARKED")
    ]


def roll_back(machine: str, to: str, serves: str, more: Sequence[str] = ()) -> Action:
    """The action that lets the model of the run `to` serve again, instead of that of `serves`. `more` are further
    consequences.
    """
    return Action(
        "roll back",
        f"Let the model of {to} serve again?",
        (
            f"The endpoint, the popular items and the lists move together from {serves} to {to}, once it is verified.",
            f"{serves} becomes ROLLED_BACK. Newer data stay, but the model restored does not know them.",
            "A split ends. A retraining on its way that was judged against another model fails.",
            *more,
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
