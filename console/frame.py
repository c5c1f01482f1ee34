"""The frame of every page: heading, navigation, dark mode, errors in words, and the question before a change."""

from __future__ import annotations

import asyncio
import csv
import inspect
import io
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from nicegui import background_tasks, run, ui

from console import glossary, state
from control import diagrams
from control.actions import Action, perform
from control.connection import in_words
from control.spreadsheet import without_formula

REFRESH_SECONDS = 1.5
BROWSER_SECONDS = 30.0
"""So long a busy browser may take to answer; NiceGUI would give up after one second, and the click would do nothing."""
READ_ONLY = 'This console only reads. One that may change something: make console ARGS="--write"'
"""What a button of a change says while nothing may be changed."""
READING = "Reading from AWS…"
"""What a page or a part of it shows until it is read."""
AT_ONCE_SECONDS = 0.05
"""What is read so soon is in the first answer; the rest follows over the websocket."""
_trouble: ContextVar[ui.element | None] = ContextVar("trouble", default=None)
"""Where a part that is filled again and again shows what could not be read."""

COLOURS = {
    "SUCCEEDED": "#0072b2",
    "DEPLOYED": "#0072b2",
    "ACCEPTED": "#0072b2",
    "RUNNING": "#56b4e9",
    "PARKED": "#e69f00",
    "CAUGHT": "#e69f00",
    "RETRIED": "#f0e442",
    "REJECTED": "#d55e00",
    "FAILED": "#d55e00",
    "ABORTED": "#cc79a7",
    "TIMED_OUT": "#d55e00",
    "UNCHANGED": "#7f7f7f",
    "PREPARING": "#56b4e9",
    "ROLLED_BACK": "#cc79a7",
    "RESTORED": "#0072b2",
    "SPLIT": "#0072b2",
    "REFUSED": "#d55e00",
    "QUARANTINED": "#d55e00",
}
"""Colours of states, told apart by people with any colour vision (Okabe and Ito 2008). A sign stands beside each."""
SIGNS = {
    "SUCCEEDED": "✓",
    "DEPLOYED": "✓",
    "ACCEPTED": "✓",
    "RUNNING": "▶",
    "PARKED": "⏸",
    "CAUGHT": "↷",
    "RETRIED": "↻",
    "REJECTED": "✗",
    "FAILED": "✗",
    "ABORTED": "■",
    "TIMED_OUT": "✗",
    "UNCHANGED": "=",
    "PREPARING": "▶",
    "ROLLED_BACK": "↶",
    "RESTORED": "✓",
    "SPLIT": "✓",
    "REFUSED": "✗",
    "QUARANTINED": "✗",
}


CSS = """
.skip { position: absolute; left: -999px; top: 4px; z-index: 10; padding: 4px 12px; border-radius: 4px }
.skip:focus { left: 8px; background: white; color: black }
/* Dark enough on white, light enough on black; over the colours that Quasar sets on the body itself. */
body { --q-primary: #0072b2 !important }
body.body--dark { --q-primary: #6cb8e8 !important }
@layer theme { .body--dark .bg-primary { color: #10222e !important } }
main a.nicegui-link:not(.text-white) { color: var(--q-primary); text-decoration: underline }
.ag-center-cols-viewport { min-height: 42px !important }
a:focus-visible, button:focus-visible, [tabindex]:focus-visible { outline: 2px solid #56b4e9; outline-offset: 1px }
"""
HEAD = """<script>
document.documentElement.lang = 'en';
/* The button beside a code has no name of its own. */
new MutationObserver(() => {
  for (const button of document.querySelectorAll('.nicegui-code-copy:not([aria-label])'))
    button.setAttribute('aria-label', 'Copy');
}).observe(document.documentElement, {childList: true, subtree: true});
</script>"""
log = logging.getLogger("console")


@dataclass(frozen=True)
class Entry:
    """An entry of the navigation."""

    path: str
    title: str
    also: tuple[str, ...] = ()
    """Beginnings of the addresses of other pages that belong to it."""

    def is_of(self, path: str) -> bool:
        """True if the page at `path` is this entry's."""
        return path == self.path or (self.path != "/" and path.startswith((self.path, *self.also)))


NAVIGATION = (
    Entry("/", "Now"),
    Entry("/runs", "Runs", ("/executions",)),
    Entry("/gate", "Gate"),
    Entry("/history", "History"),
    Entry("/compare", "Compare"),
    Entry("/explore", "Explore"),
    Entry("/rules", "Rules"),
    Entry("/drills", "Drills"),
    Entry("/api", "API"),
)


def page(path: str, title: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register `path`; the decorated function (sync or async) fills the page. Its arguments are those of the path and
    the query, as in FastAPI. The browser gets the frame at once and loads its scripts while `fill` still reads.
    """

    def register(fill: Callable[..., Any]) -> Callable[..., Any]:
        async def framed(**arguments: Any) -> None:
            _frame(path, title)
            with ui.element("div").classes("w-full max-w-screen-2xl mx-auto flex flex-col gap-4") as content:
                ui.link_target("content").props("tabindex=-1")
                with ui.element("h1").classes("sr-only"):
                    ui.label(title)
                waiting = ui.label(READING).classes("opacity-70").props("role=status")

            async def filled() -> None:
                with content:
                    try:
                        found = fill(**arguments)
                        if inspect.isawaitable(found):
                            await found
                    except Exception as error:  # as in `read`: a page never shows a stack trace, the log does
                        if content.is_deleted:
                            return  # the reader has left
                        log.exception("page %s", path)
                        notice(in_words(error), "bad")
                    if not waiting.is_deleted:
                        waiting.delete()

            task = background_tasks.create(filled(), name=f"fill {path}")
            await asyncio.wait([task], timeout=AT_ONCE_SECONDS)

        framed.__signature__ = inspect.signature(fill)  # type: ignore[attr-defined] # FastAPI reads the arguments here
        framed.__name__ = fill.__name__
        ui.page(path, title=f"{title} · {state.current.connection.stack}")(framed)
        return fill

    return register


def later(fill: Callable[[], Any]) -> None:
    """Fill a part once the page is shown: one that is large in the browser (a graph, an editor), or slow to read."""
    with ui.column().classes("w-full gap-4") as holder:
        waiting = ui.label(READING).classes("opacity-70")

    async def filled() -> None:
        with holder:
            found = fill()
            if inspect.isawaitable(found):
                await found
        if not waiting.is_deleted:
            waiting.delete()

    with holder:
        ui.timer(0.02, filled, once=True)


def _frame(path: str, title: str) -> None:
    dark = ui.dark_mode(state.current.is_dark)

    async def switch() -> None:
        # As the browser shows it: the value is None as long as the system decides.
        state.current.is_dark = not await ui.run_javascript("Quasar.Dark.isActive", timeout=BROWSER_SECONDS)
        dark.set_value(state.current.is_dark)

    ui.add_css(CSS + glossary.CSS)
    ui.add_head_html(HEAD)
    with ui.header().classes("items-center gap-1 bg-slate-800 text-white px-3 py-1"):
        ui.link("Skip to the content", "#content").classes("skip")
        ui.label(state.current.connection.stack).classes("font-bold mr-2 max-w-full truncate")
        with (
            ui.element("nav")
            .classes("flex flex-row flex-wrap max-sm:order-last max-sm:w-full")
            .props("aria-label=Pages")
        ):
            for entry in NAVIGATION:
                link = ui.link(entry.title, entry.path).classes("px-2 py-1 rounded text-white no-underline")
                if entry.is_of(path):
                    link.classes("bg-slate-600").props("aria-current=page")
        ui.space()
        with ui.element("div").classes("text-xs"):
            if state.current.may_write:
                ui.label("changes allowed")
            else:
                glossary.explained("read only", READ_ONLY).classes("term-left")
        glossary.button()
        ui.button(icon="dark_mode", on_click=switch).props('flat dense color=white aria-label="Dark or light"')


async def read(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call `function` in a thread, because boto3 blocks. An error is shown on the page in words; None then. In a part
    that is `refreshed`, the words take the place of the last ones.
    """
    try:
        return await run.io_bound(function, *arguments)
    except Exception as error:  # any error must reach the reader as words, never as a stack trace
        place = _trouble.get()
        if place is None:
            notice(in_words(error))
        elif not place.is_deleted:
            place.clear()
            with place:
                notice(in_words(error))
        return None


def notice(text: str, kind: str = "warning") -> None:
    """Show a sentence in a box, as text."""
    colour = {"warning": "border-amber-500", "bad": "border-red-600", "good": "border-sky-600"}[kind]
    with ui.card().classes(f"w-full border-l-4 {colour}").props("role=status"):
        ui.label(text).classes("whitespace-pre-wrap break-words")


def badge(status: str, shown: str = "") -> ui.element:
    """A state as a coloured badge with a sign, explained on hover and focus. `shown` are other words for it."""
    colour = COLOURS.get(status, "#7f7f7f")
    foreground = diagrams.on(colour)
    return glossary.term(status, f"{SIGNS.get(status, '·')} {shown or status}").style(
        f"background:{colour};color:{foreground};border-radius:4px;padding:1px 8px;font-size:0.8rem"
    )


def of_a_change(button: ui.button) -> ui.button:
    """The button of a change: disabled, with the way to enable it, while this console only reads."""
    if not state.current.may_write:
        button.disable()
        button.props["title"] = READ_ONLY
    return button


def read_only_note() -> None:
    """Say above buttons of changes why they are disabled, for those who do not point at them."""
    if not state.current.may_write:
        ui.label(READ_ONLY).classes("text-sm opacity-70")


def refreshed(fill: Callable[[], Awaitable[None]], seconds: float = REFRESH_SECONDS) -> Callable[[], Awaitable[None]]:
    """Fill a part of the page now and again every `seconds`, one call at a time; returns the function that fills it at
    once. `fill` reads first, then draws, so that the part never flickers.
    """
    trouble = ui.column().classes("w-full gap-4 empty:hidden")
    holder = ui.column().classes("w-full gap-4")
    is_busy = False

    async def again() -> None:
        nonlocal is_busy
        if is_busy or holder.is_deleted:
            return
        is_busy = True
        before = set(trouble)
        token = _trouble.set(trouble)
        try:
            with holder:
                await fill()
        finally:
            is_busy = False
            _trouble.reset(token)
        if set(trouble) == before and not trouble.is_deleted:
            trouble.clear()  # all was read this time

    ui.timer(seconds, again)
    return again


def ask(action: Action, after: Callable[[], Any] | None = None) -> None:
    """Show what an action will do and call, ask for a reason, and perform it once it is confirmed."""
    if not state.current.may_write:
        ui.notify(READ_ONLY, type="warning")
        return
    with ui.dialog() as dialog, ui.card().classes("w-[28rem] max-w-full"):
        ui.label(action.title).classes("text-lg font-bold")
        for sentence in action.consequences:
            ui.label(sentence)
        if action.calls:
            ui.label("It will call: " + ", ".join(str(call) for call in action.calls)).classes("text-xs")
        why = ui.input("Reason" if action.needs_reason else "Reason (optional)").classes("w-full").props("autofocus")

        async def confirm() -> None:
            yes.disable()  # a second press would do it twice
            try:
                await run.io_bound(perform, state.current.connection, action, state.current.who, str(why.value or ""))
            except ValueError as error:
                ui.notify(str(error), type="warning")
                return
            except Exception as error:  # as in `read`
                ui.notify(in_words(error), type="negative", multi_line=True)
                return
            finally:
                yes.enable()
            dialog.close()
            ui.notify(f"{action.name}: done", type="positive")
            if after is not None:
                found = after()
                if inspect.isawaitable(found):
                    await found

        with ui.row():
            yes = ui.button(action.name.capitalize(), on_click=confirm).props("color=primary")
            ui.button("Cancel", on_click=dialog.close).props("flat")
    dialog.open()


def csv_of(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """The rows as CSV with a header. A text that a spreadsheet would calculate gets an apostrophe before it."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(columns)
    for row in rows:
        values = [row.get(column) for column in columns]
        writer.writerow([without_formula(value) if isinstance(value, str) else value for value in values])
    return file.getvalue()


def csv_button(rows: Callable[[], Sequence[Mapping[str, Any]]], columns: Sequence[str], name: str) -> ui.button:
    """A button that saves what `rows` returns at that moment as `<name>.csv`."""

    def save() -> None:
        ui.download.content(csv_of(rows(), columns), f"{name}.csv", "text/csv")

    return ui.button("Save as CSV", icon="download", on_click=save).props(f'flat dense aria-label="Save {name} as CSV"')
