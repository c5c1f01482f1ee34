"""A browser, a stack, and consoles that show it, for the tests in a real browser (`make browser`)."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser import chromium
from tests.browser.console_process import ConsoleProcess
from tests.browser.local_stack import LocalStack
from tests.browser.visitor import Visitor

ENDPOINT = "NCF_BROWSER_ENDPOINT"
"""A stack that runs already, for writing tests: its endpoint URL. Without it, one is deployed for the session."""

PATIENCE_MILLISECONDS = 60_000
"""How long a page may take to show what it should, on a machine that does much else."""
expect.set_options(timeout=PATIENCE_MILLISECONDS)

_missing: list[str] = []


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say it once more, and last: nobody should take skipped tests for passed ones."""
    if _missing:
        terminalreporter.section("THE CONSOLE WAS NOT TESTED IN A BROWSER", red=True, bold=True)
        terminalreporter.line(_missing[0])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    try:
        executable = chromium.find()
    except chromium.NoChromium as error:
        _missing.append(str(error))
        pytest.skip(str(error))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1360, "height": 900})
    context.set_default_timeout(PATIENCE_MILLISECONDS)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    if given := os.environ.get(ENDPOINT):
        yield LocalStack(given)
        return
    with LocalStack.deployed(Path(tmp_path_factory.mktemp("local")), free_port()) as stack:
        yield stack


@pytest.fixture(scope="session")
def reading(stack: LocalStack) -> Iterator[ConsoleProcess]:
    """A console that may not change anything."""
    with ConsoleProcess("--endpoint-url", stack.endpoint_url) as console:
        yield console


@pytest.fixture(scope="session")
def writing(stack: LocalStack) -> Iterator[ConsoleProcess]:
    """A console that may change what it shows."""
    with ConsoleProcess("--endpoint-url", stack.endpoint_url, "--write") as console:
        yield console


@pytest.fixture(scope="session")
def alone() -> Iterator[ConsoleProcess]:
    """A console whose AWS does not answer."""
    with ConsoleProcess("--endpoint-url", f"http://127.0.0.1:{free_port()}") as console:
        yield console


@pytest.fixture
def reader(page: Page, reading: ConsoleProcess) -> Visitor:
    return Visitor(page, reading)


@pytest.fixture
def operator(page: Page, writing: ConsoleProcess) -> Visitor:
    return Visitor(page, writing)
