"""The page Gate: what it said of a run and why, and what a draft policy would say of the last runs."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from nicegui import ui

from console import glossary, state
from console.editor import json_editor
from console.frame import BROWSER_SECONDS, ask, badge, later, notice, of_a_change, page, read
from console.tables import AXIS, GREY, table
from contracts.documents import Unfit
from control import evaluations, policies
from control.at_once import at_once
from control.evaluations import Evidence, Interval, Sentence
from control.policies import InForce

SAME = "unchanged: same model"
FIGURES = {"Ndcg": "NDCG", "HitRate": "hit rate"}


@page("/gate", "Gate")
async def show(run: str = "") -> None:
    """Fill the page for a run; by default, the latest that was judged."""
    read_now: tuple[dict[str, str], Evidence] | None = await read(_read, run if run != evaluations.LATEST else "")
    if read_now is None:
        return
    recent, found = read_now
    _heading(found, recent)
    if found.run_id != run:
        _newer_ones(found.run_id, recent)
    _sentences(evaluations.sentences(found.decision))
    if not found.report:
        notice(f"runs/{found.run_id}/evaluation.json is missing: the run ended before its model was measured.")
    later(lambda: _large(found, list(recent)))


def _read(run_id: str) -> tuple[dict[str, str], Evidence]:
    """The last verdicts, and the evidence about a run; without one about the newest that was accepted or rejected."""
    connection, ledger = state.current.connection, state.current.ledger
    if not run_id:
        recent = evaluations.verdicts(ledger)
        return recent, evaluations.evidence(connection, evaluations.telling(recent) or "")
    recent, found = at_once(
        (lambda: evaluations.verdicts(ledger), functools.partial(evaluations.evidence, connection, run_id))
    )
    return recent, found


async def _large(found: Evidence, recent: Sequence[str]) -> None:
    if found.report:
        _report(found.report)
    current: InForce | None = await read(policies.in_force, state.current.connection)
    if current is not None:
        later(lambda: _what_if(current, recent))


def _newer_ones(run_id: str, recent: Mapping[str, str]) -> None:
    """Say what is newer than the run that is shown, which was neither accepted nor rejected."""
    for newer in itertools.takewhile(lambda one: one != run_id, recent):
        with ui.row().classes("gap-2 items-center flex-wrap"):
            badge(evaluations.UNCHANGED, SAME)
            ui.link(f"{newer}, a newer run, trained the model that serves once more", f"/gate?run={newer}")


def _heading(found: Evidence, recent: Mapping[str, str]) -> None:
    verdict, words = evaluations.verdict_of(found)
    with ui.row().classes("items-center gap-3 flex-wrap"):
        badge(verdict, SAME if verdict == evaluations.UNCHANGED else "")
        ui.label(words)
    names = dict.fromkeys([found.run_id, *recent])
    options = {name: f"{name}: {recent[name].lower()}" if name in recent else name for name in names}
    ui.select(
        options,
        value=found.run_id,
        label="Run",
        on_change=lambda event: ui.navigate.to(f"/gate?run={event.value}"),
    ).classes("w-full max-w-md").props('aria-label="Run"')
    policy = (found.decision.get("figures") or {}).get("policy") or {}
    if policy:
        ui.label(f"Judged by {policy.get('source')}, sha256 {str(policy.get('sha256'))[:12]}…").classes(
            "text-sm opacity-70"
        )


def _sentences(found: Sequence[Sentence]) -> None:
    signs = {True: ("✓", "#0072b2", "passed"), False: ("✗", "#d55e00", "failed"), None: ("·", "#7f7f7f", "note")}
    with ui.column().classes("w-full gap-1"):
        for sentence in found:
            sign, colour, words = signs[sentence.passed]
            with ui.row().classes("gap-2 no-wrap items-start"):
                ui.label(f"{sign} {words}").style(
                    f"border-left:4px solid {colour};padding-left:6px;min-width:5.5rem;font-weight:bold"
                )
                glossary.sentence(sentence.text)


def _report(report: Mapping[str, Any]) -> None:
    k = (report.get("protocol") or {}).get("k", "k")
    heads = {"model": "model"}
    for kind, words in (("full", ""), ("sampled", "sampled ")):
        for figure, name in FIGURES.items():
            heads[kind + figure] = f"{words}{name} at {k}"
            heads[f"{kind}{figure}Error"] = "± error"
    heads |= {"coverage": "coverage", "largestExposure": "largest exposure"}
    table("Models on the same test set", heads, evaluations.metric_rows(report))
    found = evaluations.intervals(report)
    if found:
        glossary.sentence(f"NDCG at {k}: candidate minus the other model, interval of 95 %").classes(
            "text-lg font-bold"
        )
        ui.echart(chart(found)).classes("w-full h-64").props('role=img aria-label="Differences with their intervals"')
    rows = evaluations.slice_rows(report)
    if rows:
        table(f"Slices: NDCG at {k} among all items", {name: name for name in rows[0]}, rows)
    if rows := evaluations.data_rows(report):
        table("Change of the data", {"what": "figure", "value": "value"}, rows)
    table("Protocol", {"what": "setting", "value": "value"}, evaluations.protocol_rows(report))


def chart(found: Sequence[Interval]) -> dict[str, Any]:
    """The options of ECharts: a horizontal bar from the lower to the upper end, with a line at the mean."""
    shown = list(reversed(found))
    return {
        "grid": {"containLabel": True, "left": 8, "right": 24, "top": 8, "bottom": 8},
        "textStyle": {"color": GREY},
        "xAxis": {"type": "value", **AXIS},
        "yAxis": {"type": "category", "data": [one.against for one in shown], **AXIS},
        "series": [
            {
                "type": "boxplot",
                "itemStyle": {"color": "#56b4e9", "borderColor": "#0072b2"},
                "data": [[one.lower, one.lower, one.mean, one.upper, one.upper] for one in shown],
                "markLine": {"symbol": "none", "silent": True, "label": {"show": False}, "data": [{"xAxis": 0}]},
            }
        ],
    }


def _what_if(current: InForce, recent: Sequence[str]) -> None:
    ui.label("What if: another policy").classes("text-lg font-bold")
    ui.label(f"In force: {current.source}. What is left out has its default. Nothing is recorded by a trial.")
    editor = json_editor(current.policy, policies.editor_schema())
    answers = ui.column().classes("w-full gap-2")

    async def draft() -> dict[str, Any] | None:
        content = await editor.run_editor_method("get", timeout=BROWSER_SECONDS)
        try:
            return policies.draft_in(content)
        except Unfit as error:
            answers.clear()
            with answers:
                notice(str(error), "bad")
            return None

    async def judge() -> None:
        policy = await draft()
        if policy is None:
            return
        connection = state.current.connection
        answers.clear()
        with answers:
            for change in policies.changes(current.policy, policy):
                ui.label(str(change)).classes("font-mono text-sm break-words")
            if not recent:
                notice("No run has been judged yet: there is nothing to judge again.")
                return
            call = functools.partial(evaluations.judge_again, connection, connection.outputs, policy)
            for run in await read(call, list(recent)) or []:
                _judged_again(run)

    async def publish() -> None:
        policy = await draft()
        if policy is not None:
            bucket = state.current.connection.outputs["ArtifactsBucketName"]
            ask(policies.publish(bucket, current, policy), after=lambda: ui.navigate.reload())

    with ui.row():
        ui.button("Judge the last runs by it", on_click=judge)
        of_a_change(ui.button("Publish…", on_click=publish).props("outline"))


def _judged_again(run: Mapping[str, Any]) -> None:
    verdict, recorded = run.get("verdict"), run.get("recorded")
    changed = "as recorded" if verdict == recorded else f"was {recorded or 'not judged'}"
    with ui.expansion(f"{run['runId']}: {verdict or 'cannot be judged'}, {changed}").classes("w-full"):
        for reason in run["reasons"]:
            ui.label(str(reason)).classes("break-words")
