"""Shows that the next answer knows the last clicks: the lists before and after three of them, of a customer and of a
visitor whom no model has met.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from local.catalogue import Dataset
from local.console import Show
from local.project import Project, RunFailedError
from local.recommend import TITLE_WIDTH, answered

SHOWN = 5
CLICKS = 3
ASKED = 10
"""Items of the first list; the last of them is what the customer clicks first, with two that are related to it."""
SETTLED_SECONDS = 2.0
"""How long an answer may take to know the clicks."""


def show_clicks(project: Project, outputs: Mapping[str, str], dataset: Dataset, user_id: str, show: Show) -> None:
    """Click three items as `user_id` and as a new visitor, and show both lists before and after. Raises RunFailedError
    if the API does not answer, or an answer does not know the clicks in time.
    """
    visitor = f"visitor-{time.time_ns()}"
    clicked = _something_else(project, outputs, user_id)
    if len(clicked) < CLICKS:
        return
    for words, who in ((f"{user_id} clicks", {"userId": user_id}), ("A new visitor clicks", {"sessionId": visitor})):
        before = _list(project, outputs, who)
        _click(project, outputs, who, clicked)
        after, seconds = _settled(project, outputs, who, clicked)
        show.heading(f"{words} " + "; ".join(dataset.item(item).label for item in clicked))
        show.table(
            ["", f"before ({before['source']})", f"after {seconds:.2f} s ({after['source']})"],
            [
                (str(place), _label(dataset, before, place), _label(dataset, after, place))
                for place in range(1, SHOWN + 1)
            ],
        )


def _something_else(project: Project, outputs: Mapping[str, str], user_id: str) -> list[str]:
    """The item at the end of the customer's list, and two that are related to it."""
    listed = answered(project, outputs, "GET", "/recommendations", {"userId": user_id, "numResults": str(ASKED)})
    last: str = listed["itemList"][-1]["itemId"]
    query = {"itemId": last, "numResults": str(CLICKS - 1)}
    related = answered(project, outputs, "GET", "/related", query)
    return [last, *(entry["itemId"] for entry in related["itemList"])]


def _list(project: Project, outputs: Mapping[str, str], who: Mapping[str, str]) -> dict[str, Any]:
    return answered(project, outputs, "GET", "/recommendations", {**who, "numResults": str(SHOWN)})


def _click(project: Project, outputs: Mapping[str, str], who: Mapping[str, str], items: list[str]) -> None:
    events = [{"eventType": "view", "itemId": item, "sentAt": time.time()} for item in items]
    answer = answered(project, outputs, "POST", "/events", body={**who, "eventList": events})
    if answer["refused"]:
        raise RunFailedError(f"events were refused: {answer['refused']}")


def _settled(
    project: Project, outputs: Mapping[str, str], who: Mapping[str, str], clicked: list[str]
) -> tuple[dict[str, Any], float]:
    """The first list without the clicked items, and the seconds since they were accepted."""
    started = time.monotonic()
    while True:
        found = _list(project, outputs, who)
        seconds = time.monotonic() - started
        if found["source"] != "popular" and not {entry["itemId"] for entry in found["itemList"]}.intersection(clicked):
            return found, seconds
        if seconds > SETTLED_SECONDS:
            raise RunFailedError(f"{seconds:.1f} s after three clicks, the list does not know them")


def _label(dataset: Dataset, answer: Mapping[str, Any], place: int) -> str:
    items = answer["itemList"]
    label = dataset.item(items[place - 1]["itemId"]).label if place <= len(items) else ""
    return label if len(label) <= TITLE_WIDTH else f"{label[: TITLE_WIDTH - 1]}…"
