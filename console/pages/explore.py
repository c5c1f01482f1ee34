"""The page Explore: a person or a visitor, what they chose, and the lists that they get, beside each other."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from nicegui import ui

from console import explored, state
from console.frame import ask, notice, page, read
from console.lists_view import ITEM_HEADS, Pictures, as_table, draw_list, item_line, item_rows, score_of
from console.shelf import SHELF
from contracts import seen
from control import api, catalogue, lists, people
from control.actions import Action
from control.lists import Options, Person

NUMBERS = ("5", "10", "20", "50", "100")
USUAL = {"n": "10", "seen": "any", "rules": "on"}
"""Arguments that an address leaves out."""
SHOWN_EVENTS = 15
SHOWN_HISTORY = 30


class View:
    """The state of one page: the arguments of its address, and what was read of the stack."""

    def __init__(self, arguments: dict[str, str]) -> None:
        self.arguments = arguments
        self.person = Person(arguments["user"], "" if arguments["user"] else arguments["session"])
        number = arguments["n"] if arguments["n"] in NUMBERS else "10"
        kind = arguments["seen"] if arguments["seen"] in seen.KINDS else seen.ANY
        self.options = Options(
            number=int(number),
            exclude_seen=kind,
            categories=tuple(one.strip() for one in arguments["category"].split(";") if one.strip()),
            placement=arguments["placement"].strip(),
            with_rules=arguments["rules"] != "off",
        )
        self.pictures = Pictures()
        self.last_id = ""
        """`recommendationId` of the list that is shown."""
        self.before: tuple[lists.Entry, ...] | None = None
        """The first list as it was before the last click."""
        self.shown: tuple[lists.Entry, ...] = ()

    def link(self, **changes: str) -> str:
        """The address of this page with other arguments; empty ones are left out."""
        given = {name: value for name, value in {**self.arguments, **changes}.items() if value != USUAL.get(name, "")}
        return f"/explore?{urlencode(given)}" if given else "/explore"

    def go(self, **changes: str) -> None:
        ui.navigate.to(self.link(**changes))


@page("/explore", "Explore")
async def show(
    user: str = "",
    session: str = "",
    q: str = "",
    item: str = "",
    n: str = "10",
    seen: str = "any",
    category: str = "",
    placement: str = "",
    rules: str = "on",
    first: str = "",
    second: str = "",
) -> None:
    """Fill the page."""
    view = View(dict(locals()))
    _search_bar(view)
    if q:
        _later(lambda: _draw_found(view, q), "Searching; the first search reads the model's archive…")
    if view.person.user_id or view.person.session_id:
        _filters(view)
        with ui.row().classes("w-full gap-4 items-start flex-wrap"):
            with ui.column().classes("flex-1 min-w-72"):
                history = _later(lambda: _draw_history(view), "Reading what the person chose…")
            with ui.column().classes("grow-[2] basis-0 min-w-72"):

                async def again() -> None:
                    await refill()
                    await history()

                refill = _later(lambda: _draw_lists(view, again), "Asking the shop and the model…")
                view.pictures.redraw = refill
    elif not q:
        ui.label(
            "Search a person or a title, type the exact id of a person, or begin as a new visitor without a history."
        )
        _later(lambda: _draw_examples(view), "Reading the model's archive for some people to begin with…")
    if item:
        _later(lambda: _draw_related(view, item), "Asking for related items…")


def _later(fill: Callable[[], Awaitable[None]], words: str) -> Callable[[], Awaitable[None]]:
    """A part that is filled once the page is there; returns the function that fills it anew."""
    holder = ui.column().classes("w-full gap-2")

    def wait() -> ui.row:
        with holder, ui.row().classes("items-center") as row:
            ui.spinner(size="1.2em")
            ui.label(words).classes("opacity-70")
        return row

    waiting = wait()

    async def again() -> None:
        if holder.is_deleted:
            return
        with holder:
            await fill()
            if not waiting.is_deleted:  # what was read failed, and the part has the sentence that says why
                waiting.delete()
                ui.button("Try again", on_click=retry).props("flat dense")

    async def retry() -> None:
        nonlocal waiting
        holder.clear()
        waiting = wait()
        await again()

    ui.timer(0.05, again, once=True)
    return again


def _clear() -> None:
    """Empty the part that is being filled: what is read is there, so nothing flickers."""
    ui.context.slot.parent.clear()


def _search_bar(view: View) -> None:
    with ui.row().classes("w-full items-center gap-2 flex-wrap"):
        text = ui.input("Person or title", value=view.arguments["q"] or view.person.user_id).classes("grow min-w-64")
        text.props('aria-label="Person or title" clearable maxlength=256')

        def search() -> None:
            view.go(q=str(text.value or "").strip(), user="", session="", item="")

        def open_person() -> None:
            view.go(user=str(text.value or "").strip(), q="", session="", item="")

        text.on("keydown.enter", search)
        ui.button("Search", on_click=search)
        ui.button("Open as a person's id", on_click=open_person).props("outline")
        visitor = f"visitor-{secrets.token_hex(4)}"
        ui.button("New visitor", on_click=lambda: view.go(session=visitor, user="", q="", item="")).props("outline")


def _filters(view: View) -> None:
    with ui.row().classes("w-full items-end gap-3 flex-wrap"):
        ui.label(view.person.label).classes("text-xl font-bold break-all")
        ui.select(
            list(NUMBERS), value=str(view.options.number), label="Items", on_change=lambda e: view.go(n=e.value)
        ).classes("min-w-20")
        ui.select(
            {"any": "leave out all seen", "bought": "leave out bought", "none": "leave out nothing"},
            value=view.options.exclude_seen,
            label="Own items",
            on_change=lambda e: view.go(seen=e.value),
        )
        category = ui.input("Categories (with ; between)", value=view.arguments["category"]).props("maxlength=500")
        category.on("keydown.enter", lambda: view.go(category=str(category.value or "")))
        placement = ui.input("Placement", value=view.arguments["placement"]).props("maxlength=32")
        placement.on("keydown.enter", lambda: view.go(placement=str(placement.value or "")))
        ui.switch(
            "Rules in the model's lists",
            value=view.options.with_rules,
            on_change=lambda e: view.go(rules="on" if e.value else "off"),
        )
    ui.label(
        "The shop's answer always has the rules in force; the lists of the models themselves have them or not. "
        "Enter applies a category or placement."
    ).classes("text-xs opacity-70")


# What is read (in a thread), and drawn


def _read_lists(view: View) -> dict[str, Any]:
    connection, person = state.current.connection, view.person
    sources = explored.sources()
    first, second = explored.usual_pair(sources, person)
    first = view.arguments["first"] if view.arguments["first"] in sources else first
    second = view.arguments["second"] if view.arguments["second"] in sources else second
    is_gone = bool(explored.forgotten().digest_of(person.model_id))
    own = people.Recent(()) if is_gone else people.recent(connection, person)
    history = people.history_of(own.events, people.types_in_force(connection), time.time())
    rules = lists.document(connection, "serving/rules.json")
    withdrawn = lists.document(connection, "serving/withdrawn.json", 4 << 20).get("items", [])
    both = [explored.list_of(source, person, view.options, history, rules) for source in (first, second)]
    ready = SHELF.ready(str(explored.serving().get("modelDataUrl", "")))
    return {
        "sources": sources,
        "chosen": (first, second),
        "lists": both,
        "rules": rules,
        "withdrawn": withdrawn,
        "catalogue": ready,
    }


async def _draw_found(view: View, text: str) -> None:
    known = await read(explored.known_catalogue)
    gone = await read(explored.forgotten) if known else None
    _clear()
    if known is None or gone is None:
        notice("Titles cannot be searched. An exact id of a person works: Open as a person's id.")
        return
    (items, more_items), (ids, more_people) = await read(
        lambda: (known.search_items(text), known.search_people(text, gone))
    )
    with ui.row().classes("w-full gap-4 items-start flex-wrap"):
        with ui.card().classes("flex-1 min-w-72"):
            ui.label("People").classes("font-bold")
            for user_id in ids:
                with ui.row().classes("w-full items-center no-wrap"):
                    ui.link(user_id, view.link(user=user_id, q="", item="")).classes("break-all")
                    ui.label(f"{known.number_chosen(user_id):,} items").classes("text-xs opacity-70")
            _end_of_search(len(ids), more_people, "No person whose id has this is known to the model.")
        with ui.card().classes("flex-1 min-w-72"):
            ui.label("Titles, the most popular first").classes("font-bold")
            for item in items:
                item_line(item.item_id, item.fields, view.link(item=item.item_id))
            _end_of_search(len(items), more_items, "No title or id has all these words.")
            if items:
                as_table("The items", ITEM_HEADS, lambda: item_rows((one.item_id, one.fields, "") for one in items))


def _end_of_search(number: int, has_more: bool, nothing: str) -> None:
    if not number:
        ui.label(nothing)
    elif has_more:
        ui.label("There are more: add a word or letters.").classes("text-xs opacity-70")


async def _draw_examples(view: View) -> None:
    known = await read(explored.known_catalogue)
    gone = await read(explored.forgotten) if known else None
    if known is None or gone is None:
        return
    _clear()
    ui.label(f"The model knows {len(known.user_ids):,} people and {len(known.item_ids):,} items. Some people:")
    with ui.row().classes("gap-4 flex-wrap"):
        for user_id in known.examples():
            if not gone.digest_of(user_id):
                ui.link(user_id, view.link(user=user_id)).classes("break-all")


async def _draw_history(view: View) -> None:
    person = view.person
    gone = await read(explored.forgotten)
    if gone is None:
        return
    is_gone = bool(gone.digest_of(person.model_id))
    recent = people.Recent(()) if is_gone else await read(people.recent, state.current.connection, person)
    known = await read(explored.known_catalogue)
    _clear()
    if is_gone:
        notice("This person was forgotten: nothing of them is shown, and the shop answers as for a stranger.")
        return
    with ui.card().classes("w-full"):
        events = recent.events if recent is not None else ()
        ui.label(f"Recent events: {len(events)}").classes("font-bold")
        if recent is not None and recent.user_id:
            ui.link(f"logged in as {recent.user_id}", view.link(user=recent.user_id, session=""))
        for event in events[:SHOWN_EVENTS]:
            fields = known.item(event.item_id).fields if known else {}
            moment = time.strftime("%d %b %H:%M:%S", time.localtime(event.at))
            item_line(event.item_id, fields, view.link(item=event.item_id), f"{event.type} {moment}")
        if not events:
            ui.label("None is kept. Events stay for EventsKeptDays.").classes("text-xs opacity-70")
        if known is None:
            return
        number = known.number_chosen(person.model_id)
        ui.label(f"Known to the model from before: {number:,} {'item' if number == 1 else 'items'}").classes(
            "font-bold mt-2"
        )
        if not number:
            ui.label("The model has not met this person: it has their recent events, or gives popular items.")
            return
        chosen = [
            (item.item_id, item.fields, "bought" if is_bought and known.tells_purchases else "")
            for item, is_bought in known.chosen_by(person.model_id, SHOWN_HISTORY)
        ]
        for item_id, fields, mark in chosen:
            item_line(item_id, fields, view.link(item=item_id), mark)
        as_table("The history", ITEM_HEADS, lambda: item_rows(chosen))
        if number > SHOWN_HISTORY:
            ui.label(f"and {number - SHOWN_HISTORY:,} more").classes("text-xs")
        ui.label(
            "From the model's archive, the least popular first. It has no times and no ratings, "
            "so that when and how much they liked it cannot be shown."
        ).classes("text-xs opacity-70")


async def _draw_lists(view: View, again: Callable[[], Awaitable[None]]) -> None:
    found = await read(_read_lists, view)
    if found is None:
        return
    _clear()
    known: catalogue.Catalogue | None = found["catalogue"]

    def title_of(item_id: str) -> str:
        return known.item(item_id).title if known else item_id

    both: list[Any] = [one if isinstance(one, str) or known is None else _titled(one, known) for one in found["lists"]]
    first, second = both
    are_lists = not isinstance(first, str) and not isinstance(second, str)
    places, gone = lists.compare(first.entries, second.entries) if are_lists else ([], [])
    if are_lists:
        view.last_id = next((str(one.answer.get("recommendationId", "")) for one in both if one.answer), "")
        ui.label(lists.summary(places, gone)).classes("font-bold")
    new = [place.entry for place in places if place.moved is None]
    reasons = explored.reasons_of(found["chosen"], new, gone, found)
    since = None
    if not isinstance(first, str):
        view.shown = first.entries
        if view.before is not None:
            since, left = lists.compare(view.before, first.entries)
            ui.label(f"The first list since the last click: {lists.summary(since, left)}")
    choose = _chooser(view, again) if view.person.session_id else None
    with ui.row().classes("w-full gap-4 items-start flex-wrap"):
        for name, chosen, listed in zip(("first", "second"), found["chosen"], both, strict=True):
            with ui.card().classes("flex-1 min-w-72"):
                ui.select(
                    found["sources"],
                    value=chosen,
                    label=f"{name.capitalize()} list",
                    on_change=lambda e, name=name: view.go(**{name: e.value}),
                ).classes("w-full")
                if isinstance(listed, str):
                    notice(listed)
                    continue
                draw_list(
                    listed,
                    since if name == "first" else places if are_lists else None,
                    link=lambda item_id: view.link(item=item_id),
                    title_of=title_of,
                    pictures=view.pictures,
                    choose=choose,
                    reasons=reasons if name == "second" else {},
                )
                if name == "second" and gone:
                    _draw_gone(gone, reasons, title_of)
    if known is None and await read(explored.known_catalogue) is not None and view.pictures.redraw is not None:
        await view.pictures.redraw()  # now with titles of what the lists are because of


def _titled(listed: lists.Listed, known: catalogue.Catalogue) -> lists.Listed:
    fields = {entry.item_id: known.item(entry.item_id).fields for entry in listed.entries}
    return replace(listed, entries=lists.with_fields(listed.entries, fields))


def _draw_gone(gone: list[lists.Entry], reasons: dict[str, str], title_of: Callable[[str], str]) -> None:
    ui.label("Gone: in the first list alone").classes("font-bold mt-2")
    for entry in gone:
        with ui.row().classes("w-full no-wrap items-center"):
            ui.label("−").props('aria-label="gone"').classes("w-8 text-center font-mono")
            ui.label(str(entry.fields.get("title") or title_of(entry.item_id))).classes("break-all")
            if why := reasons.get(entry.item_id):
                ui.label(why).classes("text-xs opacity-70")


def _chooser(view: View, again: Callable[[], Awaitable[None]]) -> Callable[[str], Awaitable[None]]:
    """Return what a click does: it asks once for each visitor, then sends the event and reads the lists anew."""

    async def send(item_id: str) -> None:
        connection = state.current.connection
        types = await read(people.types_in_force, connection)
        if types is None:
            return
        request = people.click(connection, view.person, item_id, people.click_kind(types), view.last_id)
        answer = await read(api.call, connection, request)
        if answer is not None and not answer.is_good:
            ui.notify(api.refusal_with_advice(answer), type="negative", multi_line=True)
        view.before = view.shown
        await again()

    async def choose(item_id: str) -> None:
        if view.person.session_id in ALLOWED:
            await send(item_id)
            return

        async def allowed() -> None:
            ALLOWED.add(view.person.session_id)
            await send(item_id)

        ask(
            Action(
                name="send clicks",
                title="Click as this visitor?",
                consequences=(
                    "Each click is an event of the shop: POST /events, signed with this console's credentials.",
                    "It counts in popular items, in outcomes and in the next training, as a real visitor's.",
                    "You are asked once for this visitor.",
                ),
                calls=(),
                facts={"sessionId": view.person.session_id},
            ),
            after=allowed,
        )

    return choose


ALLOWED: set[str] = set()
"""Visitors whose clicks were allowed in this process."""


async def _draw_related(view: View, item_id: str) -> None:
    connection = state.current.connection
    request = api.Request(
        connection.api_url(),
        "GET",
        "/related",
        {"itemId": item_id, "numResults": "10", "fields": ",".join(view.options.fields)},
    )
    answer = await read(api.call, connection, request)
    if answer is None:
        return
    _clear()
    with ui.card().classes("w-full"):
        ready = await read(lambda: SHELF.ready(str(explored.serving().get("modelDataUrl", ""))))
        title = ready.item(item_id).title if ready else item_id
        ui.label(f"Related to {title}").classes("font-bold break-all")
        if not answer.is_good:
            notice(api.refusal_with_advice(answer))
            return
        if answer.body.get("source") != "related":
            ui.label("The model does not know this item well enough: these are popular items.")
        entries = lists.entries_of(answer.body.get("itemList"))
        for entry in entries:
            item_line(entry.item_id, entry.fields, view.link(item=entry.item_id), score_of(entry))
        as_table("The items", lists.HEADS, lambda: lists.as_rows(entries))
