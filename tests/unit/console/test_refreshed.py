"""Parts of a page that are filled again and again, and buttons of changes."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from nicegui import ElementFilter, ui
from nicegui.testing import user_simulation

from console import frame, glossary, state
from control.connection import Connection


def shown(root: Callable[[], Any], then: Callable[[], Any]) -> None:
    """Open a page that `root` fills, and look at it by `then`, inside its context."""

    async def visit() -> None:
        async with user_simulation(root) as user:
            await user.open("/")
            with user:
                found = then()
                if asyncio.iscoroutine(found):
                    await found

    asyncio.run(visit())


def failing() -> None:
    raise ValueError("no answer today")


def test_what_cannot_be_read_again_and_again_is_said_once_and_no_more_once_it_can() -> None:
    calls: list[Callable[[], Any]] = [failing, failing, failing]
    again: list[Callable[[], Any]] = []

    async def fill() -> None:
        await frame.read(calls[0])

    async def root() -> None:
        again.append(frame.refreshed(fill, seconds=3600))

    def notices() -> int:
        return sum("no answer today" in str(label.text) for label in ElementFilter(kind=ui.label))

    async def look() -> None:
        for _ in range(3):
            await again[0]()
        assert notices() == 1
        calls[0] = dict
        await again[0]()
        assert notices() == 0

    shown(root, look)


@pytest.mark.parametrize("may_write", [True, False])
def test_a_button_of_a_change_can_be_pressed_only_where_changes_are_allowed(may_write: bool) -> None:
    state.current = state.Console(Connection("ncf-local"), may_write)

    def root() -> None:
        frame.of_a_change(ui.button("Roll back"))
        frame.read_only_note()

    def look() -> None:
        (button,) = ElementFilter(kind=ui.button)
        assert button.enabled is may_write
        told = [str(label.text) for label in ElementFilter(kind=ui.label)]
        assert ("--write" in str(button.props.get("title"))) is not may_write
        assert any("--write" in text for text in told) is not may_write

    shown(root, look)


def test_a_term_is_explained_once_in_a_sentence_and_other_words_stay_as_they_are() -> None:
    def root() -> None:
        glossary.sentence("NDCG at 10 is 0.1 against NDCG of the baseline <b>popularity</b>")

    def look() -> None:
        told = [str(label.text) for label in ElementFilter(kind=ui.label)]
        assert told == [
            "NDCG",
            glossary.TERMS["NDCG"],
            " at 10 is 0.1 against NDCG of the ",
            "baseline",
            glossary.TERMS["baseline"],
            " <b>popularity</b>",
        ]

    shown(root, look)
