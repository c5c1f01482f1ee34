"""An execution on a page, live: its picture, the chosen state, a timeline, and its events."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from nicegui import run, ui
from nicegui.events import MermaidNodeClickEventArguments

from console import state
from console.frame import COLOURS, SIGNS, csv_button, notice
from console.visit import FAINT, VisitCard
from control import diagrams, executions
from control.at_once import at_once
from control.connection import in_words
from control.diagrams import Diagram
from control.executions import Follower, StateVisit
from control.ledger import when

POLL_SECONDS = 1.0
TICKS_WHEN_OVER = 10
"""A history that is over is looked at each time so many polls have passed: it may be redriven."""
PAGE_EVENTS = 50
EXPORTED = ("id", "time", "type", "state", "what")
MOST_BARS = 200
LEGEND = ("RUNNING", "RETRIED", "SUCCEEDED", "CAUGHT", "FAILED", "ABORTED")
CONFIG = {
    "securityLevel": "strict",
    "theme": "base",
    "themeVariables": {"lineColor": "#8a8a8a", "edgeLabelBackground": "#d4d4d8", "primaryTextColor": "#27272a"},
    "themeCSS": ".edgeLabel rect { opacity: 1; fill: #d4d4d8 !important }",
    "flowchart": {"htmlLabels": False, "useMaxWidth": True},
}
"""Colours that can be read on a light page and on a dark one."""
COLUMNS = [
    {"name": name, "label": label, "field": name, "sortable": True, "align": "left"}
    for name, label in (("id", "Event"), ("time", "Time"), ("type", "Type"), ("state", "State"), ("what", "What"))
]


class ExecutionPanel:
    """One execution. `about` is the run id or dataset version that its log lines name; `chosen` a state to show first;
    `changed` is called after each change with the panel.
    """

    def __init__(
        self,
        arn: str,
        about: str,
        chosen: str = "",
        on_choice: Callable[[str], None] = lambda name: None,
        on_change: Callable[[ExecutionPanel], None] = lambda panel: None,
    ) -> None:
        self.arn, self.about, self.chosen = arn, about, chosen
        self.on_choice, self.on_change = on_choice, on_change
        self.follower = Follower(state.current.connection, arn)
        self.diagram: Diagram | None = None
        self._ticks = 0
        self._is_busy = False
        self._first_event = 0
        """How many of the newest events the table leaves out."""

    @property
    def view(self) -> executions.ExecutionView:
        return self.follower.view

    async def show(self) -> None:
        """Read the execution, draw it in the current place, and follow it."""
        try:
            self.diagram = await run.io_bound(self._read)
        except Exception as error:  # any error must reach the reader as words
            words = in_words(error)
            if "ExecutionDoesNotExist" in words:
                words = "Step Functions does not know this execution (any more: it keeps a history for 90 days)."
            notice(words)
            return
        self.chosen = self.chosen if self.chosen in (self.diagram or Diagram({}, (), {})).kinds else self._obvious()
        self._draw()
        self.on_change(self)
        ui.timer(0.05, self._fill_card, once=True)
        ui.timer(POLL_SECONDS, self._tick)

    async def _fill_card(self) -> None:
        await self.card.update(self._chosen_visits(), self._function())

    def _read(self) -> Diagram:
        states = state.current.connection.client("stepfunctions")
        _, found = at_once(
            (self.follower.poll, lambda: states.describe_state_machine_for_execution(executionArn=self.arn))
        )
        return diagrams.diagram_of(json.loads(found["definition"]))

    def _obvious(self) -> str:
        """The state that a reader asks for first: the one that failed, the one that runs, or the longest one."""
        tasks = [visit for visit in self.view.visits if visit.kind == "Task"] or self.view.visits
        bad = [visit for visit in tasks if visit.status in ("FAILED", "CAUGHT", "TIMED_OUT", "ABORTED")]
        if bad or not tasks:
            return bad[0].name if bad else ""
        if self.view.current is not None:
            return self.view.current.name
        return max(tasks, key=lambda visit: (visit.left or visit.entered) - visit.entered).name

    def _draw(self) -> None:
        with ui.row().classes("w-full gap-4 items-start"):
            with ui.card().classes("grow basis-96 min-w-0"):
                with (
                    ui.element("div")
                    .classes("w-full overflow-auto max-h-[44rem]")
                    .props(
                        'role=img aria-label="State machine of the execution; the list of states below says the same"'
                    )
                ):
                    self.picture = ui.mermaid(self._mermaid(), CONFIG, on_node_click=self._clicked).classes(
                        "w-full [&_svg]:mx-auto [&_svg]:max-h-[42rem]"
                    )
                with ui.row().classes("gap-2"):
                    for status in LEGEND:
                        _chip(status)
            with ui.column().classes("grow basis-96 min-w-0 gap-2"):
                self.choice = ui.select(
                    self._options(), value=self.chosen or None, label="State", on_change=self._selected
                ).classes("w-full")
                self.card = VisitCard(self.about)
        with ui.card().classes("w-full"):
            ui.label("Timeline").classes("font-bold")
            self.timeline = ui.echart(self._timeline()).classes("w-full").style(self._height())
        with ui.card().classes("w-full"):
            with ui.row().classes("w-full items-center"):
                ui.label("Events").classes("font-bold")
                self.shown = ui.label().classes("text-sm")
                ui.space()
                ui.button(icon="chevron_left", on_click=lambda: self._turn(-1)).props(
                    'flat dense aria-label="Newer events"'
                )
                ui.button(icon="chevron_right", on_click=lambda: self._turn(1)).props(
                    'flat dense aria-label="Older events"'
                )
                csv_button(self._all_rows, EXPORTED, "events")
            self.table = ui.table(rows=[], columns=COLUMNS, row_key="id").classes("w-full").props("dense flat")
        self._fill_events()

    # What is drawn

    def _mermaid(self) -> str:
        assert self.diagram is not None
        return diagrams.mermaid(self.diagram, self.view, COLOURS, SIGNS, self.chosen)

    def _options(self) -> dict[str, str]:
        names = list(dict.fromkeys(visit.name for visit in self.view.visits))
        return {name: diagrams.label_of(name, self.view.of(name), SIGNS) for name in names}

    def _timeline(self) -> dict[str, Any]:
        visits = self._timed()
        first = visits[0].entered if visits else 0.0
        bars = [
            {
                "value": round((visit.left or time.time()) - visit.entered, 2),
                "itemStyle": {"color": COLOURS.get(visit.status, "#7f7f7f")},
            }
            for visit in visits
        ]
        grey = {"color": "#8a8a8a"}
        return {
            "animation": False,
            "grid": {"left": 8, "right": 48, "top": 8, "bottom": 8, "containLabel": True},
            "tooltip": {"trigger": "item"},
            "xAxis": {"type": "value", "axisLabel": grey, "splitLine": FAINT},
            "yAxis": {
                "type": "category",
                "inverse": True,
                "data": [visit.name for visit in visits],
                "axisLabel": grey,
            },
            "series": [
                {
                    "type": "bar",
                    "stack": "time",
                    "silent": True,
                    "itemStyle": {"color": "transparent"},
                    "data": [round(visit.entered - first, 2) for visit in visits],
                },
                {
                    "type": "bar",
                    "stack": "time",
                    "name": "seconds",
                    "barMinHeight": 2,
                    "label": {"show": True, "position": "right", "formatter": "{c} s", **grey},
                    "data": bars,
                },
            ],
        }

    def _height(self) -> str:
        return f"height:{60 + 26 * max(len(self._timed()), 1)}px"

    def _timed(self) -> list[StateVisit]:
        timed = [visit for visit in self.view.visits if visit.kind not in ("Succeed", "Fail", "Choice")]
        return timed[-MOST_BARS:]

    def _all_rows(self) -> list[dict[str, Any]]:
        return [_row(event) for event in self.follower.events]

    def _fill_events(self) -> None:
        known = len(self.follower.events)
        newest = known - self._first_event
        page = self.follower.events[max(newest - PAGE_EVENTS, 0) : newest]
        self.table.rows = [_row(event) for event in reversed(page)]
        self.shown.text = f"{newest - len(page) + 1 if page else 0} to {newest} of {known}, the newest first"

    def _turn(self, pages: int) -> None:
        last = max(len(self.follower.events) - 1, 0) // PAGE_EVENTS * PAGE_EVENTS
        self._first_event = min(max(self._first_event + pages * PAGE_EVENTS, 0), last)
        self._fill_events()

    # What changes

    async def _clicked(self, event: MermaidNodeClickEventArguments) -> None:
        name = diagrams.name_of(self.diagram, event.node_id) if self.diagram else None
        if name is None:
            return
        if self.view.of(name):
            self.choice.set_value(name)
        else:
            ui.notify(f"{name} was not visited.")

    async def _selected(self) -> None:
        if self.choice.value and self.choice.value != self.chosen:
            self.chosen = str(self.choice.value)
            self.on_choice(self.chosen)
            self.picture.content = self._mermaid()
            await self._fill_card()

    def _chosen_visits(self) -> list[StateVisit]:
        return self.view.of(self.chosen)

    def _function(self) -> str:
        return self.diagram.functions.get(self.chosen, "") if self.diagram else ""

    async def _tick(self) -> None:
        self._ticks += 1
        is_over = self.view.status in executions.OVER
        if self._is_busy or (is_over and self._ticks % TICKS_WHEN_OVER):
            return
        self._is_busy = True
        try:
            await self._follow(is_over)
        finally:
            self._is_busy = False

    async def _follow(self, was_over: bool) -> None:
        before = self.view.current.name if self.view.current else ""
        try:
            new = await run.io_bound(self.follower.poll)
        except Exception as error:  # the next poll tries again
            self.card.trouble.text = in_words(error)
            return
        self.card.trouble.text = ""
        if new:
            self.choice.set_options(self._options())
            if self.chosen in ("", before) and self.view.visits:
                self.choice.set_value(self._obvious())  # the reader watches the state that runs
            self.picture.content = self._mermaid()
            self._fill_events()
            self.on_change(self)
        if new or not was_over:
            self.timeline.options.clear()
            self.timeline.options.update(self._timeline())
            self.timeline.style(self._height())
            self.timeline.update()
            await self._fill_card()


def _row(event: Any) -> dict[str, Any]:
    moment: datetime = event["timestamp"]
    return {**event, "timestamp": None, "time": when(moment.timestamp())}


def _chip(status: str) -> None:
    colour = COLOURS.get(status, "#7f7f7f")
    ui.label(f"{SIGNS.get(status, '·')} {status.lower()}").classes("text-xs px-2 rounded").style(
        f"background:{colour};color:{diagrams.on(colour)}"
    )
