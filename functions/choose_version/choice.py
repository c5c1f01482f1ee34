"""The input of a rollback, its validation, and its target version. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from contracts import history
from contracts.values import is_integer, shown
from shared import names
from shared.errors import InvalidInput, MissingResource, StaleVersion
from shared.records import Model, Serving

LONGEST_REASON = 500
NO_REASON = "no reason was given"


@dataclass(frozen=True)
class Request:
    """`to` is a run id, or None for the version that served before the current one. `percent` is its share of the
    requests: None is all of them, 0 ends a split. `replacing` is the run that must serve now; None: any.
    """

    to: str | None
    reason: str
    percent: int | None = None
    replacing: str | None = None


def from_event(event: Any) -> Request:
    """Read a rollback's input: `{"to"?, "percent"?, "reason"?, "from"?}`. Raises InvalidInput naming the field."""
    if not isinstance(event, dict):
        raise InvalidInput('the input of a rollback must be an object, such as {} or {"to": "<run id>"}')
    to = event.get("to")
    if to is not None:
        to = names.require_run_id(to, "to")
    reason = event.get("reason", NO_REASON)
    if not isinstance(reason, str) or not 1 <= len(reason) <= LONGEST_REASON:
        raise InvalidInput(f"reason must be a string of 1 to {LONGEST_REASON} characters, not {shown(reason)}")
    percent = event.get("percent")
    if percent is not None and not is_integer(percent, 0, 100):
        raise InvalidInput(f"percent must be an integer from 0 to 100, not {shown(percent)}")
    if percent == 0 and to is not None:
        raise InvalidInput("percent 0 ends a split: to must be left out")
    replacing = event.get("from")
    if replacing is not None:
        replacing = names.require_run_id(replacing, "from")
    return Request(to, reason, None if percent == 100 else percent, replacing)


def wanted(request: Request, serving: Serving | None, items: list[dict[str, Any]]) -> str:
    """Return the run to deploy; without a name it is the one that served last and that nobody took back. `items` are
    those of the serving record. Raises MissingResource if there is none, InvalidInput if it already serves,
    StaleVersion if another run serves than the one that it is to replace.
    """
    if serving is None:
        raise MissingResource("no model serves, so there is nothing to roll back")
    if request.replacing not in (None, serving["runId"]):
        raise StaleVersion(
            f"{serving['runId']} serves now, not {request.replacing}, which this rollback should replace"
        )
    if request.percent == 0:
        return serving["runId"]
    if request.to is None:
        previous, taken = serving.get("previous"), history.taken_back(items)
        if not previous:
            raise MissingResource(f"{serving['runId']} is the first model that served: there is no earlier one")
        if previous["runId"] not in taken:
            return previous["runId"]
        earlier = history.before(items, serving["runId"])
        if earlier is None:
            raise MissingResource(
                f"no earlier model is left: {taken[previous['runId']]}. To deploy it again, "
                f'name it: "to": "{previous["runId"]}"'
            )
        return earlier
    if request.to == serving["runId"]:
        raise InvalidInput(f"to is {request.to}, which already serves")
    return request.to


def target(champion: Model, serving: Serving, request: Request) -> dict[str, Any]:
    """Return the input of the next states, in the same form as in a retraining."""
    return {
        "runId": champion["runId"],
        "datasetVersion": champion["datasetVersion"],
        "from": serving["runId"],
        "reason": request.reason,
        "percent": request.percent,
        "registration": {
            "modelPackageArn": champion["modelPackageArn"],
            "bundleDigest": champion.get("bundleDigest"),
        },
        "training": {"modelDataUrl": champion["modelDataUrl"]},
    }
