"""The page API: each route of the API's document with a form, a signed call, the answer and a line for a shell."""

from __future__ import annotations

import json
from typing import Any

from nicegui import ui

from console import state
from console.frame import ask, notice, page, read
from console.lists_view import pretty
from control import api, openapi
from control.actions import Action
from control.openapi import Parameter, Route

ALLOWED: list[bool] = []
"""Not empty once events by hand were allowed in this process."""


@page("/api", "API")
async def show(route: str = "") -> None:
    """Fill the page."""
    document = await read(openapi.read)
    base_url = await read(state.current.connection.api_url)
    if document is None or base_url is None:
        return
    ui.label(document.get("info", {}).get("description", "")).classes("max-w-prose")
    ui.label(base_url).classes("font-mono text-xs break-all")
    found = openapi.routes(document)
    chosen = next((one for one in found if one.name == route), found[0])
    with ui.row().classes("w-full gap-4 items-start flex-wrap"):
        with ui.column().classes("gap-1 min-w-64 flex-1").props("role=navigation aria-label=Routes"):
            for one in found:
                with ui.column().classes("gap-0"):
                    link = ui.link(one.name, f"/api?route={one.name}").classes("font-mono text-sm break-all")
                    if one is chosen:
                        link.classes("font-bold").props("aria-current=true")
                    ui.label(one.summary).classes("text-xs opacity-70")
        with ui.column().classes("min-w-72 grow-[3] basis-0"):
            _form(base_url, chosen)


def _form(base_url: str, route: Route) -> None:
    ui.label(route.name).classes("text-lg font-bold font-mono break-all")
    for text in (route.summary, route.description):
        if text:
            ui.label(text)
    fields: dict[str, Any] = {}
    for parameter in route.parameters:
        fields[parameter.name] = _field(parameter)
    body = None
    if route.body_schema is not None:
        value = json.dumps(openapi.example(route.body_schema, "42", "1"), indent=2)
        body = ui.textarea("Body (JSON)", value=value).classes("w-full font-mono").props("autogrow outlined")
        with ui.expansion("Fields of the body").classes("w-full"):
            ui.code(json.dumps(route.body_schema, indent=2, ensure_ascii=False), language="json").classes("w-full")
    holder = ui.column().classes("w-full")

    async def call(request: api.Request) -> None:
        with holder:
            answer = await read(api.call, state.current.connection, request)
            holder.clear() if answer is not None else None
            if answer is not None:
                _answer(route, request, answer)

    async def send() -> None:
        holder.clear()
        values = {name: str(field.value or "") for name, field in fields.items()}
        try:
            request = openapi.request(base_url, route, values, str(body.value or "") if body else "")
        except ValueError as error:
            with holder:
                notice(str(error))
            return
        if not route.changes_something or ALLOWED:
            await call(request)
            return

        async def allowed() -> None:
            ALLOWED.append(True)
            await call(request)

        ask(
            Action(
                name="send events",
                title="Send events to the shop?",
                consequences=(
                    f"{route.name} will be called, signed with this console's credentials.",
                    "Events count in the next answers, in popular items, in outcomes and in the next training.",
                    "You are asked once while this console runs.",
                ),
                calls=(),
            ),
            after=allowed,
        )

    ui.button("Send", icon="send", on_click=send)
    holder.move()
    with ui.expansion("Answers").classes("w-full"):
        for status, description in route.answers:
            ui.label(f"{status}: {description}")


def _field(parameter: Parameter) -> Any:
    label = parameter.name + (" (needed)" if parameter.is_needed else "")
    with ui.column().classes("w-full gap-0"):
        field: Any
        if parameter.choices:
            field = ui.select(["", *parameter.choices], value="", label=label)
        elif parameter.is_list:
            field = ui.textarea(label).props("autogrow rows=1")
        else:
            field = ui.input(label)
        field.classes("w-full max-w-xl").props("dense")
        default = f"default {parameter.default}" if parameter.default else ""
        words = "; ".join(part for part in (parameter.description, parameter.limits, default) if part)
        ui.label(words).classes("text-xs opacity-70 max-w-prose")
    return field


def _answer(route: Route, request: api.Request, answer: api.Answer) -> None:
    meaning = dict(route.answers).get(str(answer.status), "")
    ui.label(f"{answer.status} in {answer.seconds * 1000:.0f} ms" + (f": {meaning}" if meaning else "")).classes(
        "font-bold"
    )
    if not answer.is_good:
        notice(api.refusal_with_advice(answer))
    if answer.text:
        ui.code(pretty(answer.text), language="json").classes("w-full")
    ui.label("Line for a shell; the credentials are in its variables").classes("text-xs opacity-70")
    ui.code(request.curl(state.current.connection.session.region_name or ""), language="bash").classes("w-full")
