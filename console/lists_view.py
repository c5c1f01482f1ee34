"""Draws lists of items: places, titles, reasons, pictures on request, the raw answer and the line for a shell."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from nicegui import ui

from console.tables import table
from control import lists
from control.catalogue import picture_of

LONGEST_TITLE = 200


@dataclass
class Pictures:
    """Whether the page may load pictures from other hosts: only after a click, because it calls outside. `redraw` draws
    the lists anew.
    """

    are_allowed: bool = False
    redraw: Callable[[], Awaitable[None]] | None = None


def short(text: str) -> str:
    """A text of at most LONGEST_TITLE characters."""
    return text if len(text) <= LONGEST_TITLE else f"{text[:LONGEST_TITLE]}… ({len(text):,} characters)"


def item_line(item_id: str, fields: Mapping[str, Any], link: str, note: str = "") -> None:
    """One item: its title, which leads to related items, its category, and a note."""
    title = fields.get("title")
    with ui.row().classes("w-full items-baseline gap-x-2 gap-y-0 flex-wrap"):
        ui.link(short(str(title) if title else item_id), link).classes("break-words").style("overflow-wrap:anywhere")
        category = fields.get("category")
        if category:
            ui.label(short(str(category))).classes("text-xs opacity-70")
        if note:
            ui.label(note).classes("text-xs opacity-70 ml-auto whitespace-nowrap")


def as_table(title: str, heads: Mapping[str, str], rows: Callable[[], Sequence[Mapping[str, Any]]]) -> None:
    """A closed part with the items as a table, which sorts and exports; it is made when it is opened."""
    with ui.expansion(f"{title} as a table").classes("w-full") as part:
        holder = ui.column().classes("w-full")

    def fill() -> None:
        if part.value and not holder.default_slot.children:
            with holder:
                table("", heads, rows())

    part.on_value_change(fill)


ITEM_HEADS = {"title": "title", "item": "item", "category": "category", "note": "note"}
"""The columns of items that stand in no ranked list."""


def item_rows(items: Iterable[tuple[str, Mapping[str, Any], str]]) -> list[dict[str, Any]]:
    """Items (id, fields, note) as rows with the columns ITEM_HEADS."""
    return [
        {
            "title": str(fields.get("title") or ""),
            "item": item_id,
            "category": str(fields.get("category") or ""),
            "note": note,
        }
        for item_id, fields, note in items
    ]


def score_of(entry: lists.Entry) -> str:
    """A score as text: probabilities with four digits, counts of interactions (popular items) as whole numbers."""
    return f"{entry.score:,.0f}" if entry.score > 1 else f"{entry.score:.4f}"


def draw_list(
    listed: lists.Listed,
    places: Sequence[lists.Place] | None,
    link: Callable[[str], str],
    title_of: Callable[[str], str],
    pictures: Pictures,
    choose: Callable[[str], Awaitable[None]] | None,
    reasons: Mapping[str, str],
) -> None:
    """Draw one list. `places`: where its items stood in another list. `choose`: what a visitor's click does.
    `reasons`: why the shop does not show an item, by its id.
    """
    ui.label(f"{listed.source}, by {listed.version}").classes("text-xs break-all")
    for note in listed.notes:
        ui.label(note).classes("text-xs opacity-70")
    found = [picture_of(entry.fields) for entry in listed.entries]
    hosts = sorted({urlsplit(url).netloc for url in found if url})
    if hosts and not pictures.are_allowed:
        _offer_pictures(hosts, pictures)
    for place, entry in enumerate(listed.entries):
        with ui.row().classes("w-full items-center gap-2 no-wrap"):
            ui.label(str(place + 1)).classes("w-6 shrink-0 text-right opacity-70")
            if places is not None:
                one = places[place]
                mark = ui.label(one.sign).classes("w-8 shrink-0 text-center font-mono font-bold")
                mark.props["title"] = one.words
            url = found[place]
            if url and pictures.are_allowed:
                picture = ui.element("img").classes("w-12 h-12 shrink-0 object-contain")
                picture.props["src"], picture.props["referrerpolicy"], picture.props["alt"] = url, "no-referrer", ""
            _item(entry, link, title_of, reasons.get(entry.item_id, ""))
            if choose is not None:
                ui.button(icon="ads_click", on_click=lambda item=entry.item_id: choose(item)).props(
                    'flat dense aria-label="Click as this visitor"'
                ).classes("ml-auto")
    if not listed.entries:
        ui.label("The list is empty: the filters leave nothing.")
    _raw(listed)


def _item(entry: lists.Entry, link: Callable[[str], str], title_of: Callable[[str], str], reason: str) -> None:
    with ui.column().classes("gap-0 grow min-w-0"):
        fields = entry.fields if entry.fields.get("title") else {**entry.fields, "title": title_of(entry.item_id)}
        item_line(entry.item_id, fields, link(entry.item_id), score_of(entry))
        if entry.because:
            because = "; ".join(short(title_of(item)) for item in entry.because)
            ui.label(f"because of {because}").classes("text-xs opacity-70").style("overflow-wrap:anywhere")
        if reason:
            ui.label(f"not in the shop's list: {reason}").classes("text-xs font-bold")
        if entry.is_exploration:
            ui.label("by the rule exploration: few people know it").classes("text-xs opacity-70")


def _offer_pictures(hosts: Sequence[str], pictures: Pictures) -> None:
    async def allow() -> None:
        pictures.are_allowed = True
        if pictures.redraw is not None:
            await pictures.redraw()

    ui.button(f"Load pictures from {short(', '.join(hosts[:3]))}", icon="image", on_click=allow).props(
        "flat dense no-caps"
    ).tooltip("Your browser will call this host; nothing is called before.")


def _raw(listed: lists.Listed) -> None:
    if listed.entries:
        as_table("The list", lists.HEADS, lambda: lists.as_rows(listed.entries))
    if listed.curl:
        with ui.expansion("Line for a shell").classes("w-full"):
            ui.code(listed.curl, language="bash").classes("w-full")
    if listed.raw:
        took = f", {listed.seconds * 1000:.0f} ms" if listed.seconds else ""
        with ui.expansion(f"Raw answer{took}").classes("w-full"):
            ui.code(pretty(listed.raw), language="json").classes("w-full")


def pretty(text: str) -> str:
    """JSON with indents; a text that is not JSON as it is."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text
