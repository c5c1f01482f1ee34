"""Every page: by keyboard, in a narrow window, in the dark, for a screen reader, and when AWS does not answer."""

from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.console_process import ConsoleProcess
from tests.browser.local_stack import LocalStack
from tests.browser.visitor import PAGES, TRACE, Visitor

EVERY = pytest.mark.parametrize("path", PAGES)
SCHEMES = pytest.mark.parametrize("scheme", ["light", "dark"])


@pytest.fixture(scope="module")
def elsewhere(stack: LocalStack) -> Iterator[ConsoleProcess]:
    """A console for a stack that is not deployed."""
    with ConsoleProcess("--endpoint-url", stack.endpoint_url, "--stack", "no-such-stack") as console:
        yield console


def luminance(page: Page) -> float:
    """How light the page's text is, from 0 to 255: light on dark, dark on light."""
    colour = page.evaluate("getComputedStyle(document.body).color")
    red, green, blue = (float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.fixture(scope="module", params=PAGES)
def opened(request: pytest.FixtureRequest, browser: Browser, reading: ConsoleProcess) -> Iterator[Visitor]:
    """A tab with one of the pages; the tests that share it only look at it."""
    context = browser.new_context(viewport={"width": 1360, "height": 900})
    visitor = Visitor(context.new_page(), reading)
    visitor.open(request.param)
    yield visitor
    context.close()


def test_the_keyboard_alone_leads_through_all_pages(reader: Visitor) -> None:
    page = reader.open("/api")
    for path, title in PAGES.items():
        link = page.get_by_role("navigation", name="Pages").get_by_role("link", name=title, exact=True)
        for _ in range(len(PAGES) + 3):
            page.keyboard.press("Tab")
            if link.evaluate("element => element === document.activeElement"):
                break
        expect(link).to_be_focused()
        assert link.evaluate("element => getComputedStyle(element).outlineStyle") != "none", "the focus is not seen"
        page.keyboard.press("Enter")
        page.wait_for_url(f"{reader.console.address}{path}")
        here = page.get_by_role("navigation", name="Pages").locator("[aria-current=page]")
        expect(here).to_have_text(title)
        expect(page.get_by_role("heading", level=1)).to_have_text(title)


def test_the_first_key_leads_past_the_navigation(reader: Visitor) -> None:
    page = reader.open("/runs")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main a[name=content]")).to_be_focused()


def test_the_person_chooses_dark_or_light_and_the_next_page_keeps_it(browser: Browser, stack: LocalStack) -> None:
    context = browser.new_context(color_scheme="dark")
    with ConsoleProcess("--endpoint-url", stack.endpoint_url) as console:
        visitor = Visitor(context.new_page(), console)
        page = visitor.open("/")
        assert luminance(page) > 200, "the page does not follow the system"
        page.get_by_role("button", name="Dark or light").click()
        page.wait_for_function("!document.body.classList.contains('body--dark')")
        visitor.open("/runs")
        assert luminance(page) < 60
        page.get_by_role("button", name="Dark or light").click()
        page.wait_for_function("document.body.classList.contains('body--dark')")
    context.close()


def test_a_page_is_drawn_without_an_error_in_the_browser(opened: Visitor) -> None:
    assert opened.errors == []
    assert not TRACE.search(opened.text)
    title = opened.page.get_by_role("heading", level=1).inner_text()
    assert opened.text.replace(title, "").strip(), "the page is empty"


@SCHEMES
def test_axe_finds_nothing_serious(opened: Visitor, scheme: Literal["light", "dark"]) -> None:
    opened.page.emulate_media(color_scheme=scheme)
    opened.page.wait_for_function(f"document.body.classList.contains('body--{scheme}')")
    opened.page.wait_for_timeout(400)  # Quasar fades colours
    assert opened.serious_findings() == []


def test_a_narrow_window_needs_no_scrolling_sideways(opened: Visitor) -> None:
    opened.page.set_viewport_size({"width": 400, "height": 800})
    opened.page.wait_for_timeout(400)
    assert not opened.is_wider_than_window()


@EVERY
def test_a_page_says_that_aws_does_not_answer(page: Page, alone: ConsoleProcess, path: str) -> None:
    visitor = Visitor(page, alone)
    visitor.open(path)
    expect(page.get_by_role("main")).to_contain_text("AWS does not answer")
    assert "make up" in visitor.text, "it does not say what to do"
    assert not TRACE.search(visitor.text)
    assert visitor.errors == []


@EVERY
def test_a_page_says_that_the_stack_is_missing(page: Page, elsewhere: ConsoleProcess, path: str) -> None:
    visitor = Visitor(page, elsewhere)
    visitor.open(path)
    expect(page.get_by_role("main")).to_contain_text("There is no stack no-such-stack here")
    assert not TRACE.search(visitor.text)
