"""The page Compare: up to eight runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nicegui import ui

from console import state
from console.frame import notice, page, read
from console.tables import AXIS, GREY, table
from control import comparisons, prices
from control.comparisons import MOST_RUNS, Side
from control.connection import in_words
from control.ledger import key_of, newest_first

NAMES = "abcdefgh"
"""The runs' names in the page's address."""
SIGNS = {
    "#0072b2": "circle",
    "#d55e00": "rect",
    "#009e73": "triangle",
    "#cc79a7": "diamond",
    "#e69f00": "pin",
    "#56b4e9": "arrow",
    "#f0e442": "roundRect",
    "#888888": "emptyCircle",
}
"""Colour and sign of each curve, so that the colour is not alone; the colours are Okabe and Ito's."""


@page("/compare", "Compare")
async def show(
    a: str = "", b: str = "", c: str = "", d: str = "", e: str = "", f: str = "", g: str = "", h: str = ""
) -> None:
    """Fill the page for the runs that are named; by default, the last two."""
    records = await read(lambda: newest_first(state.current.ledger.of_kind("RUN")))
    if records is None:
        return
    recent = [key_of(record) for record in records]
    chosen = list(dict.fromkeys(run for run in (a, b, c, d, e, f, g, h) if run)) or recent[:2]
    _choice(recent, chosen)
    if not chosen:
        notice("There is no run yet: `make demo`, or a file in the drop zone, starts one.")
        return
    found = await read(comparisons.sides, state.current.connection, chosen)
    sides: list[Side] = []
    for one in found or []:
        if isinstance(one, Exception):
            notice(in_words(one))
            continue
        sides.append(one)
        if one.missing:
            notice(f"{one.run_id} ({one.found.run.get('status', '?')}) lacks " + ", ".join(one.missing) + ".")
    for source in dict.fromkeys(side.price.source for side in sides if side.price.source):
        ui.label(f"Cost by the {source}.").classes("text-sm opacity-70")
    if sides and not any(side.price.per_hour for side in sides):
        ui.label(f"Set the stack's parameter {prices.PARAMETER} to see the cost.").classes("text-sm opacity-70")
    if sides:
        _compare(sides)


def _choice(recent: Sequence[str], chosen: Sequence[str]) -> None:
    options = list(dict.fromkeys([*chosen, *recent]))
    select = (
        ui.select(options, value=list(chosen), multiple=True, label=f"Runs, {MOST_RUNS} at most")
        .classes("w-full max-w-2xl")
        .props(f'use-chips max-values={MOST_RUNS} aria-label="Runs to compare"')
    )

    def go() -> None:
        pairs = zip(NAMES, select.value or [], strict=False)
        ui.navigate.to("/compare?" + "&".join(f"{name}={run}" for name, run in pairs))

    ui.button("Compare", on_click=go)


def _compare(sides: Sequence[Side]) -> None:
    heads = {"what": ""} | {one.run_id: one.run_id for one in sides}
    table("Figures, duration and cost", heads, comparisons.figure_rows(sides))
    curves = [one for one in sides if one.epochs]
    if curves:
        ui.label("Training loss by epoch").classes("text-lg font-bold")
        _chart([(one.run_id, [[epoch.epoch, epoch.loss] for epoch in one.epochs]) for one in curves])
    validated = [
        (
            one.run_id,
            [[epoch.epoch, epoch.validation_ndcg] for epoch in one.epochs if epoch.validation_ndcg is not None],
        )
        for one in curves
    ]
    if any(points for _, points in validated):
        ui.label("NDCG on validation by epoch").classes("text-lg font-bold")
        _chart(validated)
    for title, rows in (
        ("Hyperparameters that differ", comparisons.hyperparameter_rows(sides)),
        ("Data that differ", comparisons.data_rows(sides)),
    ):
        if rows:
            table(title, heads, rows)
        else:
            ui.label(f"{title}: none.")


def _chart(curves: Sequence[tuple[str, list[list[Any]]]]) -> None:
    options = {
        "color": list(SIGNS),
        "legend": {"type": "scroll", "top": 0, "textStyle": {"color": GREY}},
        "textStyle": {"color": GREY},
        "tooltip": {"trigger": "axis", "renderMode": "richText"},
        "grid": {"containLabel": True, "left": 8, "right": 48, "top": 40, "bottom": 8},
        "xAxis": {"type": "value", "name": "epoch", "minInterval": 1, "min": 1, **AXIS},
        "yAxis": {"type": "value", "scale": True, **AXIS},
        "series": [
            {"type": "line", "name": name, "data": points, "symbol": symbol}
            for symbol, (name, points) in zip(SIGNS.values(), curves, strict=False)
        ],
    }
    ui.echart(options).classes("w-full h-72").props('role=img aria-label="Learning curves"')
