"""How long the console takes: its first page, the other pages, and a change until the page shows it.

Runs in .envs/browser against the stack of `make up`: `.envs/browser/bin/python -m benchmarks.console`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

from playwright.sync_api import Page, sync_playwright

from tests.browser import chromium
from tests.browser.console_process import ConsoleProcess
from tests.browser.visitor import PAGES

REPEATS = 5
LIMIT_SECONDS = 1.0


def seconds_until_drawn(page: Page, address: str) -> float:
    """From the request until the navigation and some text below it are drawn."""
    started = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.get_by_role("navigation", name="Pages").wait_for()
    page.wait_for_function("(document.querySelector('main')?.innerText || '').trim().length > 0")
    return time.perf_counter() - started


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.console", description=(__doc__ or "").split("\n")[0])
    endpoint = f"http://127.0.0.1:{os.environ.get('NCF_LOCAL_PORT', '4566')}"
    parser.add_argument("--endpoint-url", default=endpoint, help=f"the embedded AWS (default: {endpoint})")
    given = parser.parse_args()
    started = time.perf_counter()
    with ConsoleProcess("--endpoint-url", given.endpoint_url) as console, sync_playwright() as playwright:
        print(f"start of the console until its link: {time.perf_counter() - started:.2f} s\n")
        browser = playwright.chromium.launch(executable_path=chromium.find())
        context = browser.new_context()
        page = context.new_page()
        first = seconds_until_drawn(page, console.link)
        print(f"first page, nothing in the browser's cache: {first:.2f} s (at most {LIMIT_SECONDS:.0f} s)\n")
        print("| page | median, s | slowest, s |\n|---|---|---|")
        for path, title in PAGES.items():
            times = [seconds_until_drawn(page, f"{console.address}{path}") for _ in range(REPEATS)]
            print(f"| {title} | {statistics.median(times):.2f} | {max(times):.2f} |")
        context.close()
        browser.close()


if __name__ == "__main__":
    main()
