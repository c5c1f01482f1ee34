"""What a rollback was asked for, and whether it can be. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from contracts.values import is_integer, shown
from shared import names
from shared.errors import InvalidInput, MissingResource
from shared.records import Model, Serving

LONGEST_REASON = 500
NO_REASON = "no reason was given"


@dataclass(frozen=True)
class Request:
    """`to` is a run id, or None: the version that served before the one that serves now. `percent` of the requests are
    to be its; None is all of them, 0 takes a split back.
    """

    to: str | None
    reason: str
    percent: int | None = None


def from_event(event: Any) -> Request:
    """The input of a rollback execution: `{"to"?, "percent"?, "reason"?}`. Raises InvalidInput naming the field."""
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
    return Request(to, reason, None if percent == 100 else percent)


def wanted(request: Request, serving: Serving | None) -> str:
    """The run to go back to. Raises MissingResource when nothing served before, InvalidInput when it serves already."""
    if serving is None:
        raise MissingResource("no model serves, so there is nothing to roll back")
    if request.percent == 0:
        return serving["runId"]
    if request.to is None:
        previous = serving.get("previous")
        if not previous:
            raise MissingResource(f"{serving['runId']} is the first model that served: there is no earlier one")
        return previous["runId"]
    if request.to == serving["runId"]:
        raise InvalidInput(f"to is {request.to}, which already serves")
    return request.to


def target(champion: Model, serving: Serving, request: Request) -> dict[str, Any]:
    """What the states after this one need to know, as a retraining's states would have said it."""
    return {
        "runId": champion["runId"],
        "datasetVersion": champion["datasetVersion"],
        "from": serving["runId"],
        "reason": request.reason,
        "percent": request.percent,
        "registration": {"modelPackageArn": champion["modelPackageArn"]},
        "training": {"modelDataUrl": champion["modelDataUrl"]},
    }
