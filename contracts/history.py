"""Who served when, and whose model a person took back, from the ledger's items with the key SERVING. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Items = Iterable[Mapping[str, Any]]


@dataclass(frozen=True)
class TakenBack:
    """The model of `run_id` was replaced by the rollback execution named `by`, at `since` (ISO 8601), because of
    `why`.
    """

    run_id: str
    by: str
    since: str
    why: str

    def __str__(self) -> str:
        when = f"{self.since[:10]} {self.since[11:16]} UTC" if "T" in self.since else self.since
        return f"the model of {self.run_id} was taken back by rollback {self.by} on {when}: {self.why}"


def is_rollback(execution_arn: Any) -> bool:
    """True if the ARN is that of an execution of the rollback state machine, which only a person starts."""
    return str(execution_arn).split(":")[-2:][0].endswith("-rollback")


def served(items: Items) -> list[dict[str, Any]]:
    """Return who served from when on, the earliest first: `runId`, `since`, `by`, `why` and `replaced`.

    The record of who serves is one of them: it is written before its tenure is.
    """
    found = {}
    for item in items:
        if item["sk"].startswith("SINCE#"):
            found[item["since"]] = dict(item)
        elif item["sk"] == "CURRENT" and item.get("since"):
            found[item["since"]] = {**item, "replaced": (item.get("previous") or {}).get("runId")}
    return [found[since] for since in sorted(found)]


def taken_back(items: Items) -> dict[str, TakenBack]:
    """Return, by run id, the models that a person took back and that have not served since."""
    found: dict[str, TakenBack] = {}
    for one in served(items):
        found.pop(one["runId"], None)
        replaced = one.get("replaced")
        if replaced and is_rollback(one.get("by")):
            found[replaced] = TakenBack(replaced, one["by"].rpartition(":")[2], one["since"], str(one.get("why")))
    return found


def taken_back_of(items: Items, version: str) -> TakenBack | None:
    """Return the model of the dataset `version` that a person took back last, or None. Another attempt at the same data
    gives the same model again, unless something else has changed.
    """
    found = [one for one in taken_back(items).values() if one.run_id.rpartition("-r")[0] == version]
    return max(found, key=lambda one: one.since, default=None)


def before(items: Items, run_id: str) -> str | None:
    """Return the run that served last before `run_id` serves and that nobody took back, or None."""
    items = list(items)
    taken = taken_back(items)
    earlier = [one["runId"] for one in served(items) if one["runId"] != run_id and one["runId"] not in taken]
    return earlier[-1] if earlier else None
