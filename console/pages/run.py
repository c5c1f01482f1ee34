"""The page of one run, and that of any other execution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from nicegui import run, ui

from console import state
from console.execution import ExecutionPanel
from console.frame import ask, badge, notice, of_a_change, page, read
from contracts import consoles
from control import approvals, runs
from control.actions import Action
from control.at_once import at_once
from control.connection import in_words
from control.executions import OVER
from control.ledger import UNFINISHED, duration, reasons_of, when

RECORD_SECONDS = 1.5
RETRY_SECONDS = 5.0
APPROVAL = "AwaitApproval"


@page("/runs/{run_id:path}", "Run")
async def show_run(run_id: str, part: str = "retraining", chosen: str = "") -> None:
    """Fill the page of a run; `latest` is the one that started last. `part` is the tab, `chosen` the state."""
    if run_id == "latest":
        found = await read(lambda: runs.latest(state.current.ledger) or "")
        if found is None:
            _try_again()
            return
        run_id = found
        if not run_id:
            notice("There is no run yet: `make demo`, or a drop with _SUCCESS, starts one.")
            return
    await RunPage(run_id).show(part, chosen)


@page("/executions/{machine}/{name:path}", "Execution")
async def show_execution(machine: str, name: str, chosen: str = "") -> None:
    """Fill the page of an execution of one of the four state machines."""
    if machine not in runs.MACHINES:
        notice(f"There is no state machine of this name. There are {', '.join(runs.MACHINES)}.")
        return
    arn = await read(lambda: runs.execution_arn(state.current.connection.outputs, machine, name))
    if arn is None:
        _try_again()
        return
    with ui.row().classes("w-full items-center gap-2"):
        ui.label(f"{machine.capitalize()} {name}").classes("text-lg font-bold break-all")
        status = ui.row()
        ui.space()
        stop = _button("Stop", "stop", lambda: runs.stop(arn))
        stop.set_visibility(False)

    def changed(panel: ExecutionPanel) -> None:
        status.clear()
        with status:
            badge(panel.view.status)
        stop.set_visibility(panel.view.status not in OVER)

    about = await run.io_bound(_subject, arn) if machine == "preparation" else ""
    await ExecutionPanel(arn, about, chosen, _remember(), changed).show()
    _aws_link(arn)


def _subject(arn: str) -> str:
    """The dataset version that a preparation writes, which its log lines name."""
    for record in state.current.ledger.of_kind("DATASET", runs.PAGE):
        if record.get("executionArn") == arn:
            return str(record["datasetVersion"])
    return arn.rpartition(":")[2]


class RunPage:
    """One run: its record, which changes, and its executions."""

    def __init__(self, run_id: str) -> None:
        self.run_id, self.version = run_id, run_id.rpartition("-r")[0]
        self.record: dict[str, Any] = {}
        self.is_waiting = False
        """True while its model waits for an approval."""
        self._followed = ""
        self._has_cost = False

    async def show(self, part: str, chosen: str) -> None:
        """Draw the page, and keep it up to date."""
        ledger = state.current.ledger
        found = await read(at_once, [lambda: ledger.run(self.run_id), lambda: ledger.dataset(self.version)])
        if found is None:
            _try_again()
            return
        self.record, dataset = found
        if not self.record:
            notice("The ledger has no run of this name. The page Runs has all of them.")
            return
        self._head()
        self._update()
        prepared = str(dataset.get("executionArn") or "")
        part = part if part in ("retraining", "preparation") else "retraining"
        with ui.tabs(value=part).props("no-caps align=left") as tabs:
            ui.tab("retraining", "Retraining")
            ui.tab("preparation", "Preparation of its data")
        with ui.tab_panels(tabs, value=part).classes("w-full bg-transparent").props("keep-alive"):
            with ui.tab_panel("retraining").classes("p-0"):
                self.retraining = ui.column().classes("w-full gap-4")
            with ui.tab_panel("preparation").classes("p-0"):
                preparation = ui.column().classes("w-full gap-4")

        async def prepare() -> None:
            with preparation:
                if not prepared:
                    notice("The ledger does not say which execution prepared these data.")
                    return
                await ExecutionPanel(prepared, self.version, chosen, _remember("preparation")).show()
                _aws_link(prepared)

        is_prepared = False

        async def turned(name: str) -> None:
            nonlocal is_prepared
            _remember(name)("")
            if name == "preparation" and not is_prepared:
                is_prepared = True
                await prepare()

        tabs.on_value_change(lambda event: turned(event.value))
        await self._follow(chosen if part == "retraining" else "")
        if part == "preparation":
            is_prepared = True
            await prepare()
        ui.timer(RECORD_SECONDS, self._refresh)
        ui.timer(0.1, self._tell_cost, once=True)

    def _head(self) -> None:
        with ui.row().classes("w-full items-center gap-2"):
            ui.label(f"Run {self.run_id[:200]}").classes("text-lg font-bold break-all")
            self.status = ui.row().classes("items-center gap-2")
            ui.space()
            self.approve = _button("Approve", "check", lambda: self._decide(True))
            self.reject = _button("Reject", "close", lambda: self._decide(False))
            self.restart = _button("Restart", "replay", lambda: self._restart(False))
            self.anew = _button("Next attempt", "fiber_new", lambda: self._restart(True))
            self.stop = _button("Stop", "stop", lambda: runs.stop(str(self.record.get("executionArn"))))
            self.report = ui.button("Report", icon="download", on_click=self._download).props("flat dense no-caps")
        self.cost = ui.label().classes("text-sm")
        self.reasons = ui.column().classes("w-full gap-1")

    def _decide(self, is_approval: bool) -> Action:
        package = runs.package_of(state.current.ledger, self.run_id)
        return approvals.approval(self.run_id, package, approvals.APPROVED if is_approval else approvals.REJECTED)

    def _restart(self, is_anew: bool) -> Action:
        return runs.restart(state.current.ledger, state.current.connection.outputs, self.run_id, is_anew)

    def _update(self) -> None:
        record, status = self.record, str(self.record.get("status", "?"))
        is_over = status not in UNFINISHED
        self.status.clear()
        with self.status:
            badge(status)
            ui.label(f"started {when(record.get('startedAt'))}")
            if is_over:
                ui.label(f"took {duration(record.get('startedAt'), record.get('endedAt'))}")
        self.restart.set_visibility(status in runs.FAILED)
        self.anew.set_visibility(is_over)
        self.stop.set_visibility(not is_over)
        self.report.set_visibility(is_over)
        self._show_approval()
        self.reasons.clear()
        with self.reasons:
            for reason in reasons_of(record)[:50]:
                ui.label(reason[: runs.LONGEST_SHOWN]).classes("break-words").style("overflow-wrap:anywhere")

    def _show_approval(self) -> None:
        for button in (self.approve, self.reject):
            button.set_visibility(self.is_waiting)

    async def _follow(self, chosen: str = "") -> None:
        arn = str(self.record.get("executionArn") or "")
        self._followed = arn
        self.retraining.clear()
        with self.retraining:
            if not arn:
                notice("The ledger does not say which execution made this run.")
                return
            await ExecutionPanel(arn, self.run_id, chosen, _remember("retraining"), self._moved).show()
            _aws_link(arn)

    def _moved(self, panel: ExecutionPanel) -> None:
        """After a change of the execution: its model may wait for a person."""
        if str(self.record.get("executionArn")) != panel.arn:
            return
        current = panel.view.current
        self.is_waiting = current is not None and current.name == APPROVAL
        self._show_approval()
        ui.timer(0.5, self._tell_cost, once=True)

    async def _refresh(self) -> None:
        try:
            record = await run.io_bound(state.current.ledger.run, self.run_id)
        except Exception as error:  # the next look tries again
            self.cost.text = in_words(error)
            return
        if not self._has_cost and self.cost.text:
            await self._tell_cost()
        if not record or record == self.record:
            return
        self.record = record
        self._update()
        await self._tell_cost()
        if str(record.get("executionArn") or "") != self._followed:
            await self._follow()

    async def _tell_cost(self) -> None:
        try:
            self.cost.text, self._has_cost = await run.io_bound(_cost, self.run_id)
        except Exception as error:  # a cost that cannot be read is told, not raised
            self.cost.text = in_words(error)

    async def _download(self) -> None:
        try:
            content = await run.io_bound(runs.report_of, state.current.connection, self.run_id)
        except Exception as error:  # any error must reach the reader as words
            ui.notify(str(error) if isinstance(error, ValueError) else in_words(error), type="warning")
            return
        ui.download.content(content, f"{self.run_id}.html", "text/html")


def _cost(run_id: str) -> tuple[str, bool]:
    """The cost of a run's training, in words, and whether it is final."""
    connection = state.current.connection
    decision = state.current.ledger.decision(run_id, "training")
    name = (decision.get("figures") or {}).get("jobName")
    job = runs.training_job(connection, str(name)) if name else None
    if job is None:
        return "", False
    return runs.cost_of(job, runs.parameters_of(connection)), "TrainingEndTime" in job


def _button(label: str, icon: str, make: Callable[[], Action]) -> ui.button:
    """A button that asks for confirmation of the action that `make` reads together."""

    async def clicked() -> None:
        try:
            action = await run.io_bound(make)
        except Exception as error:  # a refusal is a sentence
            ui.notify(str(error) if isinstance(error, ValueError) else in_words(error), type="warning")
            return
        ask(action)

    return of_a_change(ui.button(label, icon=icon, on_click=clicked).props("outline dense no-caps"))


def _remember(part: str = "") -> Callable[[str], None]:
    """A function that writes the chosen state in the address, so that the link can be sent."""

    def remember(chosen: str) -> None:
        query = {name: value for name, value in (("part", part), ("chosen", chosen)) if value}
        ui.run_javascript(f"history.replaceState(history.state, '', '?' + {urlencode(query)!r})")

    return remember


def _try_again() -> None:
    """Load the page again soon: AWS did not answer."""
    ui.timer(RETRY_SECONDS, ui.navigate.reload, once=True)


def _aws_link(arn: str) -> None:
    if not state.current.connection.is_embedded:
        ui.link("This execution in the console of AWS", consoles.execution(arn), new_tab=True)
