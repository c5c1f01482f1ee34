"""The card of one state of an execution: what it got, gave and said, its job, and how its training goes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from nicegui import run, ui

from console import state
from console.frame import badge
from contracts.lines import Epoch
from control import logs, runs
from control.connection import in_words
from control.executions import StateVisit, read_json
from control.ledger import when
from control.logs import Epochs, Line, SparkSteps

TRAINING, PREPARATION = "StartTraining", "StartPreparation"
QUIET_SECONDS = 90
"""So long after a state was left its log lines are read again: CloudWatch gets them late."""
FAINT = {"lineStyle": {"color": "rgba(138,138,138,0.35)"}}
"""Lines of a chart's grid, on a light page and on a dark one."""


class VisitCard:
    """The chosen state. `about` is what its log lines name. Only what has changed is drawn anew, so that what a reader
    has opened stays open.
    """

    def __init__(self, about: str) -> None:
        self.about = about
        self.epochs: Epochs | None = None
        self.steps: SparkSteps | None = None
        self.trouble = ui.label().classes("text-sm").props("role=status")
        with ui.card().classes("w-full gap-2"):
            self.head = ui.column().classes("w-full gap-2")
            self.job = ui.column().classes("w-full gap-2")
            self.texts = ui.column().classes("w-full gap-0")
            self.lines = ui.column().classes("w-full gap-0")
        self._chart: ui.echart | None = None
        self._drawn: dict[str, Any] = {}

    async def update(self, visits: list[StateVisit], function: str) -> None:
        """Read what the card needs, and draw what has changed."""
        if not visits:
            self._draw("head", None, lambda: ui.label("The execution has not begun yet."))
            return
        visit = visits[-1]
        if self._is_final(visit, len(visits)):
            return
        self._draw("head", (visit.name, visit.status, visit.left or time.time()), lambda: _head(visits))
        self._draw("texts", (visit.name, visit.entered, visit.gave), lambda: _texts(visit))
        try:
            job = await run.io_bound(self._job, visit)
            lines = await run.io_bound(self._lines, visit, function)
        except Exception as error:  # any error must reach the reader as words
            self.trouble.text = in_words(error)
            return
        if self.head.is_deleted:
            return
        self.trouble.text = ""
        self._draw_job(job, visit)
        self._draw("lines", (visit.name, visit.entered, len(lines)), lambda: _lines(lines))
        self._drawn["final"] = (visit.name, len(visits), visit.left)

    def _is_final(self, visit: StateVisit, number: int) -> bool:
        """True if this visit is drawn, and over for so long that nothing comes any more."""
        is_drawn = self._drawn.get("final") == (visit.name, number, visit.left)
        return is_drawn and visit.left is not None and time.time() - visit.left > QUIET_SECONDS

    def _draw(self, part: str, content: Any, draw: Callable[[], Any]) -> None:
        if self._drawn.get(part, ()) == content:
            return
        self._drawn[part] = content
        box: ui.column = getattr(self, part)
        box.clear()
        with box:
            draw()

    def _draw_job(self, job: dict[str, Any], visit: StateVisit) -> None:
        name, epochs = job.get("training"), job.get("epochs") or []
        if name and epochs and self._chart is not None and self._drawn.get("job") == ("training", name):
            self._chart.options.clear()
            self._chart.options.update(curve(epochs))
            self._chart.update()
            self.epoch.text = _last_of(epochs)
            return
        if name and epochs:
            self._draw("job", ("training", name), lambda: self._begin_training(name, epochs))
        elif name:
            self._draw("job", ("waiting", name, visit.left), lambda: _waiting(name, visit))
        else:
            self._draw("job", (visit.name, str(job)), lambda: _spark(job) if job.get("spark") else None)

    def _begin_training(self, name: str, epochs: list[Epoch]) -> None:
        _job_name(name)
        self.epoch = ui.label(_last_of(epochs))
        self._chart = ui.echart(curve(epochs)).classes("w-full h-56")

    # Reading

    def _lines(self, visit: StateVisit, function: str) -> list[Line]:
        if not function:
            return []
        return logs.function_lines(state.current.connection, function, self.about, visit.entered, visit.left)

    def _job(self, visit: StateVisit) -> dict[str, Any]:
        connection = state.current.connection
        answer = visit.submitted.get("Payload", {}) if isinstance(visit.submitted, dict) else {}
        if visit.name == TRAINING and answer.get("jobName"):
            name = str(answer["jobName"])
            if self.epochs is None or self.epochs.job_name != name:
                self.epochs = Epochs(connection, name)
            return {"training": name, "epochs": self.epochs.read()}
        if visit.name == PREPARATION:
            return self._spark(visit, answer)
        return {}

    def _spark(self, visit: StateVisit, answer: dict[str, Any]) -> dict[str, Any]:
        connection = state.current.connection
        output = visit.output.get("preparation", {}) if isinstance(visit.output, dict) else {}
        version = str(answer.get("datasetVersion") or output.get("datasetVersion") or "")
        job = runs.spark_job(connection, version, str(output.get("jobRunId") or "")) if version else None
        if job is None:
            return {}
        bucket = connection.outputs["ArtifactsBucketName"]
        if self.steps is None or self.steps.job_id != job["jobRunId"]:
            self.steps = SparkSteps(connection, bucket, job)
        is_over = job["state"] in runs.SPARK_OVER
        told = {"spark": job["jobRunId"], "state": job["state"], "used": runs.spark_use(job)}
        return {**told, "steps": self.steps.read(is_over), "isLive": self.steps.is_live}


def _head(visits: list[StateVisit]) -> None:
    visit = visits[-1]
    with ui.row().classes("items-center gap-2"):
        ui.label(visit.name).classes("font-bold")
        badge(visit.status)
        ui.label(f"{(visit.left or time.time()) - visit.entered:.1f} s, since {when(visit.entered)}")
        if visit.attempts > 1:
            ui.label(f"{visit.attempts} attempts")
        if len(visits) > 1:
            ui.label(f"visit {len(visits)}; the picture counts all")
    if visit.error:
        ui.label(visit.error).classes("whitespace-pre-wrap break-words border-l-4 border-red-600 pl-2")


def _texts(visit: StateVisit) -> None:
    _text("Input", visit.given)
    if visit.gave:
        _text("Output", visit.gave)


def _lines(lines: list[Line]) -> None:
    if not lines:
        return
    many = f"the first {len(lines)}" if len(lines) == logs.MOST_LINES else str(len(lines))
    with (
        ui.expansion(f"Log lines ({many})", value=True).classes("w-full"),
        ui.column().classes("w-full gap-1 max-h-80 overflow-auto").props('tabindex=0 aria-label="Log lines"'),
    ):
        for line in lines:
            ui.label(f"{when(line.moment)[11:]} {line.level} {line.text}").classes("text-sm break-words")
            if line.fields:
                told = ", ".join(f"{name}: {_short(value)}" for name, value in line.fields.items())
                ui.label(told).classes("text-xs pl-4 break-words")


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 300 else f"{text[:300]} …"


def _text(title: str, content: str) -> None:
    told = read_json(content)
    pretty = json.dumps(told, indent=2, ensure_ascii=False) if told is not None else content
    with ui.expansion(f"{title} ({len(content):,} characters)").classes("w-full"):
        ui.label(pretty).classes("whitespace-pre font-mono text-xs overflow-auto max-h-80 w-full").props(
            f'tabindex=0 aria-label="{title}"'
        )


def _job_name(name: str) -> None:
    connection = state.current.connection
    with ui.row().classes("items-center gap-2"):
        ui.label(f"Training job {name}").classes("break-all")
        if not connection.is_embedded:
            ui.link("in the console of AWS", runs.job_link(connection, name), new_tab=True)


def _waiting(name: str, visit: StateVisit) -> None:
    _job_name(name)
    ui.label("No epoch is over yet." if visit.left is None else "Its log has no epochs (any more).").classes("text-sm")


def _last_of(epochs: list[Epoch]) -> str:
    last = epochs[-1]
    return (
        f"Epoch {last.epoch} of {last.epochs}: loss {last.loss:.4f}, {last.samples_per_second:,.0f} samples a second, "
        f"{last.seconds:.2f} s"
    )


def curve(epochs: list[Epoch]) -> dict[str, Any]:
    """The learning curve: the loss, and NDCG of the validation set where there is one, on an axis of its own."""
    grey = {"color": "#8a8a8a"}
    validated = [epoch for epoch in epochs if epoch.validation_ndcg is not None]
    series: list[dict[str, Any]] = [
        {
            "type": "line",
            "name": "training loss",
            "color": "#0072b2",
            "data": [[epoch.epoch, epoch.loss] for epoch in epochs],
        }
    ]
    axes: list[dict[str, Any]] = [
        {"type": "value", "name": "loss", "scale": True, "axisLabel": grey, "nameTextStyle": grey, "splitLine": FAINT}
    ]
    if validated:
        axes.append({"type": "value", "name": "NDCG", "scale": True, "axisLabel": grey, "nameTextStyle": grey})
        data = [[epoch.epoch, epoch.validation_ndcg] for epoch in validated]
        series.append(
            {"type": "line", "name": "validation NDCG", "color": "#d55e00", "yAxisIndex": 1, "symbol": "rect"}
            | {"data": data}
        )
    return {
        "animation": False,
        "grid": {"left": 8, "right": 16, "top": 36, "bottom": 8, "containLabel": True},
        "legend": {"textStyle": grey, "top": 0, "right": 0},
        "tooltip": {"trigger": "axis"},
        "xAxis": {
            "type": "value",
            "name": "epoch",
            "min": 1,
            "max": epochs[-1].epochs,
            "axisLabel": grey,
            "splitLine": FAINT,
        },
        "yAxis": axes,
        "series": series,
    }


def _spark(job: dict[str, Any]) -> None:
    ui.label(f"Spark job {job['spark']}: {job['state'].lower()}{job['used']}").classes("break-words")
    if not job["steps"]:
        later = "EMR writes its log to S3 when the job ends; its steps are shown then."
        ui.label("It has not said anything yet." if job["isLive"] else later).classes("text-sm")
    for step in job["steps"]:
        ui.label(step).classes("text-sm break-words")
