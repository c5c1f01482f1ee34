"""The page Rules: the shop's documents as written and as in force, a form, the effect on some people, publication."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from nicegui import run, ui

from console import state
from console.editor import json_editor
from console.frame import ask, notice, of_a_change, page, read, read_only_note, refreshed
from console.shelf import serving_catalogue
from console.tables import table
from contracts import schemas
from contracts.documents import Unfit
from control import lists, people, rules, rules_preview
from control.catalogue import Catalogue
from control.connection import in_words
from control.rules import Form, Kind, State

WORDS = {
    "APPLIED": "✓ in force as written",
    "WAITING": "▶ written, not in force yet",
    "REFUSED": "✗ refused: the document before stays in force",
    "ABSENT": "· nothing written: the usual values hold",
}
AGAIN_SECONDS = 10.0
SHOWN_LINE = 160
"""Characters of an id, a title or a change that are shown."""
SHOWN_CHARACTERS = 20_000
"""Characters of a document that are shown; the rest is in S3."""


@page("/rules", "Rules")
async def show(doc: str = "rules", people: str = "", placement: str = "") -> None:
    """Fill the page. `people` are ids with commas between them, `placement` is a name; both are for the preview."""
    kind = rules.KINDS.get(doc)
    if kind is None:
        notice(f"There is no document “{doc[:100]}”: these are {', '.join(rules.KINDS)}.")
        return
    with ui.row().classes("gap-2 flex-wrap").props('role=navigation aria-label="Documents"'):
        for other in rules.KINDS.values():
            link = ui.link(other.title, f"/rules?doc={other.name}").classes("px-3 py-1 rounded no-underline border")
            if other is kind:
                link.classes("font-bold bg-slate-600 text-white").props("aria-current=page")
    await _Workshop(kind, people, placement).draw()


class _Workshop:
    """One document on one page: its draft, and what is known of it."""

    def __init__(self, kind: Kind, people_text: str, placement: str) -> None:
        self.kind, self.people_text, self.placement = kind, people_text, placement
        self.draft: dict[str, Any] = {}
        self.problems: list[str] = []
        self.state: State | None = None
        self.newest: State | None = None
        """What was written last by anybody; a draft replaces the one that it began from, which `state` has."""
        self.catalogue: Catalogue | None = None
        self.is_from_editor = False

    async def draw(self) -> None:
        self.state = await read(rules.read_state, state.current.connection, self.kind)
        if self.state is None:
            ui.timer(AGAIN_SECONDS, ui.navigate.reload, once=True)
            return
        written = self.state.source.document if self.state.source else None
        self.draft = dict(written or self.state.current)
        self.status = ui.column().classes("w-full gap-2")
        self.drawn: Any = None
        await refreshed(self._in_force)()
        ui.label("Draft").classes("text-lg font-bold")
        ui.label("Nothing is sent while you write. The schema is checked with every change.").classes("opacity-70")
        if self.kind is rules.RULES:
            self._form()
        with ui.expansion("As JSON", value=self.kind is not rules.RULES).classes("w-full border rounded"):
            schema = {name: value for name, value in schemas.load(self.kind.name).items() if name != "$schema"}
            self.editor = json_editor(self.draft, schema, self._editor_changed, is_tree=self.kind is rules.RULES)
        self.checked = ui.column().classes("w-full gap-2")
        read_only_note()
        with ui.row().classes("gap-2 flex-wrap"):
            self.publish = of_a_change(ui.button("Publish", on_click=self._publish).props("color=primary"))
            ui.button("Begin again from what is in force", on_click=self._reset).props("flat")
        self._show_checked()
        self._preview()
        ui.label("Versions").classes("text-lg font-bold")
        self.versions = ui.column().classes("w-full gap-1")
        self._show_versions()
        ui.timer(0.1, self._name_items, once=True)

    # What is written and what is in force

    async def _in_force(self) -> None:
        try:
            found = self.newest = await run.io_bound(rules.read_state, state.current.connection, self.kind, False)
        except Exception as error:  # any error must reach the reader as words
            found = in_words(error)
        mark = found if isinstance(found, str) else _mark(found)
        if found is None or mark == self.drawn:
            return
        self.drawn = mark
        self.status.clear()
        with self.status:
            if isinstance(found, str):
                notice(found)
                return
            ui.label(WORDS[found.status]).classes("font-bold").props("role=status")
            for reason in found.reasons:
                ui.label(reason).classes("break-words")
            with ui.row().classes("w-full gap-4 flex-wrap items-start"):
                _column(f"Written: {self.kind.source_key}", found.source)
                _column(f"In force: {self.kind.in_force_key}", found.in_force)

    # The draft

    def _form(self) -> None:
        form = rules.to_form(self.draft) if not rules.faults(self.kind, self.draft) else Form()
        with ui.row().classes("w-full gap-4 flex-wrap items-start"):
            self.deny = ui.textarea("Never recommended: one item id a line", value=form.deny)
            self.boosts = ui.textarea("Boosts: item = factor of its score, such as 42 = 1.5", value=form.boosts)
            self.caps = ui.textarea("Caps: category = most items of it in a list", value=form.caps)
            for area in (self.deny, self.boosts, self.caps):
                area.classes("grow basis-64").props("outlined autogrow").on_value_change(self._form_changed)
        with ui.row().classes("gap-4 flex-wrap items-center"):
            self.share = ui.number("Exploration: share of places, 0 to 0.5", value=form.share, step=0.05, min=0)
            self.fewer = ui.number("for items with fewer interactions than", value=form.fewer_than, step=1, min=1)
            for number in (self.share, self.fewer):
                number.classes("w-72").props("outlined dense clearable").on_value_change(self._form_changed)

    def _form_changed(self) -> None:
        if self.is_from_editor:
            return
        form = Form(
            self.deny.value or "",
            self.boosts.value or "",
            self.caps.value or "",
            self.share.value,
            None if self.fewer.value is None else int(self.fewer.value),
        )
        try:
            self.draft, self.problems = rules.read_form(form), []
        except Unfit as error:
            self.problems = error.reasons
        else:
            self.editor.properties["content"] = {"json": self.draft}
            self.editor.update()
        self._show_checked()

    def _editor_changed(self, event: Any) -> None:
        content = event.content
        try:
            text = content.get("text")
            self.draft = rules.read_text(text, "the draft") if text is not None else content.get("json")
            self.problems = []
        except Unfit as error:
            self.problems = error.reasons
        if self.kind is rules.RULES and not self.problems and not rules.faults(self.kind, self.draft):
            self._fill_form()
        self._show_checked()

    def _fill_form(self) -> None:
        form = rules.to_form(self.draft)
        self.is_from_editor = True
        try:
            self.deny.value, self.boosts.value, self.caps.value = form.deny, form.boosts, form.caps
            self.share.value, self.fewer.value = form.share, form.fewer_than
        finally:
            self.is_from_editor = False

    def _take(self, document: Mapping[str, Any]) -> None:
        """Make a document the draft, in the form and the editor."""
        self.draft, self.problems = dict(document), []
        self.editor.properties["content"] = {"json": self.draft}
        self.editor.update()
        if self.kind is rules.RULES:
            self._fill_form()
        self._show_checked()

    def _reset(self) -> None:
        self.state = self.newest or self.state
        if self.state is not None:
            self._take(self.state.current)

    def _faults(self) -> list[str]:
        return self.problems or rules.faults(self.kind, self.draft)

    def _show_checked(self) -> None:
        faults = self._faults()
        self.publish.set_enabled(not faults and state.current.may_write)
        self.checked.clear()
        with self.checked:
            if faults:
                notice("The draft cannot be published:\n" + "\n".join(faults), "bad")
                return
            current = self.state.current if self.state else {}
            lines = rules.changes(current, rules.as_in_force(self.kind, self.draft))
            ui.label("✓ The draft fits the schema. " + ("It changes:" if lines else "It changes nothing."))
            for line in lines[:30]:
                ui.label(_short(line)).classes("font-mono text-sm break-all")
            if len(lines) > 30:
                ui.label(f"and {len(lines) - 30} more")
            self._items()

    def _items(self) -> None:
        named = rules.items_of(self.draft)
        if not named:
            return
        rows = [{"item": _short(item), "title": _short(self._title(item)), "rule": what} for item, what in named]
        table(f"Items concerned: {len(named)}", {"item": "item", "title": "title", "rule": "rule"}, rows)

    def _title(self, item_id: str) -> str:
        if self.catalogue is None:
            return "…"
        if not self.catalogue.knows_item(item_id):
            return "not among the items of the model that serves"
        return self.catalogue.item(item_id).title

    async def _name_items(self) -> None:
        """Read the titles, which may take long, after the page is there."""
        self.catalogue = await read(serving_catalogue)
        if self.catalogue is not None:
            self._show_checked()

    # The effect

    def _preview(self) -> None:
        ui.label("Lists before and after").classes("text-lg font-bold")
        if self.kind is rules.EVENT_TYPES:
            ui.label(
                "Event types change what later events mean, so there is no list to compare now. The page Explore shows "
                "a visitor's list after each click."
            )
            return
        with ui.row().classes("w-full gap-2 flex-wrap items-center"):
            self.people = ui.input("People: ids with commas between them", value=self.people_text)
            self.people.classes("grow basis-64 min-w-0 max-w-lg").props(
                'outlined dense placeholder="ten examples of the model"'
            )
            if self.kind is rules.PLACEMENTS:
                self.place = ui.input("Placement", value=self.placement).props("outlined dense")
            ui.button("Compare", on_click=self._compare).props("outline")
        self.effects = ui.column().classes("w-full gap-2")

    async def _compare(self) -> None:
        if faults := self._faults():
            ui.notify(faults[0], type="warning")
            return
        self.effects.clear()
        with self.effects:
            ui.spinner()
        connection = state.current.connection
        name = str(self.place.value or "") if self.kind is rules.PLACEMENTS else ""
        in_force = {}
        for kind in (rules.RULES, rules.PLACEMENTS):
            found = await read(rules.read_state, connection, kind, False)
            if found is None:
                self.effects.clear()
                return
            in_force[kind.name] = found.current
        user_ids = [one.strip() for one in str(self.people.value or "").split(",") if one.strip()]
        address = {"doc": self.kind.name, "people": ",".join(user_ids), "placement": name}
        ui.navigate.history.replace("/rules?" + urlencode({key: value for key, value in address.items() if value}))
        user_ids = user_ids or await self._examples()
        drafted = rules_preview.draft_rules(self.kind, self.draft, in_force, name)
        self.effects.clear()
        with self.effects:
            if drafted is None:
                notice("Name a placement of the draft whose list is “recommendations”; others are not made by a model.")
                return
            if not user_ids:
                notice("No model serves, so no people are known: give ids, or deploy a model first.")
                return
            effects = await read(rules_preview.effects, connection, user_ids, *drafted)
            if effects:
                self._show_effects(effects)

    def _show_effects(self, effects: Sequence[rules_preview.Effect]) -> None:
        ui.label(rules_preview.note(effects)).classes("opacity-80")
        with ui.row().classes("items-center gap-4"):
            changed = sum(one.is_changed for one in effects)
            ui.label(f"{changed} of {len(effects)} lists change.").classes("font-bold")
            content = rules_preview.as_csv(effects).encode()
            ui.button("CSV", on_click=lambda: ui.download(content, "lists-before-and-after.csv")).props("flat dense")
        for one in effects:
            self._effect(one)

    async def _examples(self) -> list[str]:
        if self.catalogue is None:
            await self._name_items()
        if self.catalogue is None:
            return []
        forgotten = await read(people.forgotten, state.current.connection)
        if forgotten is None:
            return []
        examples = self.catalogue.examples(2 * rules_preview.PEOPLE)
        return [one for one in examples if not forgotten.digest_of(one)][: rules_preview.PEOPLE]

    def _effect(self, one: rules_preview.Effect) -> None:
        with ui.expansion(f"{one.person}: {one.summary}", value=one.is_changed).classes("w-full border rounded"):
            if one.problem:
                return
            places, gone = lists.compare(one.before, one.after)
            with ui.row().classes("w-full gap-4 flex-wrap items-start"):
                left = [
                    (f"{rank}", entry, "− gone" if entry in gone else "") for rank, entry in enumerate(one.before, 1)
                ]
                _list(f"Before ({one.source})", left)
                _list("After", [(f"{place.rank}", place.entry, _moved(place)) for place in places])

    # Publication

    async def _publish(self) -> None:
        connection = state.current.connection
        if self.state is None:
            return
        try:
            action = rules.publication(connection, self.kind, self.draft, self.state)
        except Unfit as error:
            ui.notify(str(error), type="warning")
            return
        ask(action, self._wait)

    async def _wait(self) -> None:
        """Follow the document until it is in force or refused."""
        begun = time.monotonic()
        said = ui.notification("Written. Waiting until it is in force…", spinner=True, timeout=None)
        status = "WAITING"
        while status == "WAITING" and time.monotonic() - begun < rules.WAIT_SECONDS:
            await asyncio.sleep(0.5)
            found = await read(rules.read_state, state.current.connection, self.kind)
            if found is None:
                break
            self.state, status = found, found.status
        said.dismiss()
        took = time.monotonic() - begun
        if status == "APPLIED":
            ui.notify(f"In force after {took:.0f} s. Answers follow it within {rules.WAIT_SECONDS} s.", type="positive")
        elif status == "REFUSED":
            ui.notify("Refused: the document before stays in force. The notification says why.", type="negative")
        else:
            ui.notify(
                f"Not in force after {took:.0f} s: look at the logs of the function apply-documents.", type="warning"
            )
        self._show_checked()
        self._show_versions()

    def _show_versions(self) -> None:
        self.versions.clear()
        with self.versions:
            found: Sequence[rules.Version] = self.state.versions if self.state else ()
            if not found:
                ui.label("None yet: nothing was written.")
            for version in found:
                with ui.row().classes("items-center gap-2 flex-wrap"):
                    here = " (the written one)" if version.is_latest else ""
                    ui.label(f"{version.written.astimezone():%Y-%m-%d %H:%M:%S}, {version.size:,} bytes{here}")
                    ui.button("As draft", on_click=lambda one=version: self._draft_from(one)).props("flat dense")
                    if not version.is_latest:
                        back = ui.button("Go back to it", on_click=lambda one=version: self._go_back(one))
                        of_a_change(back.props("flat dense"))

    async def _draft_from(self, version: rules.Version) -> None:
        found = await read(rules.read_version, state.current.connection, self.kind, version.version_id)
        if found is None or found.document is None:
            ui.notify("This version is gone, or no JSON object.", type="warning")
        elif faults := rules.faults(self.kind, found.document):
            ui.notify(f"This version was refused: {faults[0]}", type="warning")
        else:
            self._take(found.document)

    async def _go_back(self, version: rules.Version) -> None:
        connection = state.current.connection
        found = await read(rules.read_version, connection, self.kind, version.version_id)
        if found is None or self.state is None:
            ui.notify("This version is gone.", type="warning")
            return
        try:
            action = rules.restoration(connection, self.kind, version, found, self.state)
        except Unfit as error:
            ui.notify(f"This version would be refused: {error}", type="warning")
            return
        ask(action, self._wait)


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_LINE else f"{text[:SHOWN_LINE]}… ({len(text):,} characters)"


def _mark(found: State) -> tuple[Any, ...]:
    source, in_force = found.source, found.in_force
    return (source and source.etag, in_force and (in_force.etag, in_force.written), found.status)


def _column(title: str, found: rules.Found | None) -> None:
    with ui.column().classes("grow basis-80 min-w-0 gap-1"):
        ui.label(title).classes("font-bold break-all")
        if found is None:
            ui.label("There is none.")
            return
        ui.label(f"{found.written.astimezone():%Y-%m-%d %H:%M:%S}").classes("text-xs opacity-70")
        text = rules.to_bytes(found.document).decode() if found.document is not None else found.text
        ui.code(text[:SHOWN_CHARACTERS], language="json").classes("w-full max-h-80 overflow-auto")
        if len(text) > SHOWN_CHARACTERS:
            ui.label(f"{len(text) - SHOWN_CHARACTERS:,} more characters are in S3.").classes("text-xs")


def _moved(place: lists.Place) -> str:
    return "+ new" if place.moved is None else place.sign


def _list(title: str, rows: Sequence[tuple[str, lists.Entry, str]]) -> None:
    with ui.column().classes("grow basis-80 min-w-0 gap-0"):
        ui.label(title).classes("font-bold")
        for rank, entry, words in rows:
            text = _short(str(entry.fields.get("title") or entry.item_id))
            ui.label(f"{rank}. {text}  ·  {entry.score:.3f}  {words}").classes("text-sm break-words")
