"""How long the console takes: its first page, the other pages, and the page of a run, with the processor time of each.

Runs in .envs/browser against the stack of `make up`: `.envs/browser/bin/python -m benchmarks.console`. On a busy
machine the processor time tells more than the wall time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.browser import chromium
from tests.browser.console_process import ConsoleProcess
from tests.browser.visitor import PAGES

REPEATS = 5
LIMIT_SECONDS = 1.0
READY_SECONDS = 3.0
"""How long a person takes to open the link; the console makes its clients of AWS in this time."""
DRAWN = """() => {
  const text = (document.querySelector('main')?.innerText || '').replaceAll('Reading from AWS…', '').trim();
  return text.split('\\n').length > 1;
}"""
TICKS = os.sysconf("SC_CLK_TCK")


def processor_seconds(pid: int) -> float:
    """Seconds that a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def seconds_until_drawn(page: Page, address: str) -> float:
    """From the request until the navigation and what was read of AWS are drawn."""
    started = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.get_by_role("navigation", name="Pages").wait_for()
    page.wait_for_function(DRAWN)
    return time.perf_counter() - started


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.console", description=(__doc__ or "").split("\n")[0])
    endpoint = f"http://127.0.0.1:{os.environ.get('NCF_LOCAL_PORT', '4566')}"
    parser.add_argument("--endpoint-url", default=endpoint, help=f"the embedded AWS (default: {endpoint})")
    given = parser.parse_args()
    executable = chromium.find()
    started = time.perf_counter()
    with ConsoleProcess("--endpoint-url", given.endpoint_url) as console, sync_playwright() as playwright:
        print(f"start of the console until its link: {time.perf_counter() - started:.2f} s\n")
        browser = playwright.chromium.launch(executable_path=executable)
        context = browser.new_context()
        page = context.new_page()
        time.sleep(READY_SECONDS)
        before = processor_seconds(console.process.pid)
        first = seconds_until_drawn(page, console.link)
        used = processor_seconds(console.process.pid) - before
        print(f"first page, nothing in the browser's cache: {first:.2f} s (at most {LIMIT_SECONDS:.0f} s), ", end="")
        print(f"{used:.2f} s of the console's processor time\n")
        print("| page | median, s | slowest, s | processor time of the console, s |\n|---|---|---|---|")
        for path, title in {**PAGES, "/runs/latest": "a run"}.items():
            before = processor_seconds(console.process.pid)
            times = [seconds_until_drawn(page, f"{console.address}{path}") for _ in range(REPEATS)]
            used = (processor_seconds(console.process.pid) - before) / REPEATS
            print(f"| {title} | {statistics.median(times):.2f} | {max(times):.2f} | {used:.2f} |")
        context.close()
        browser.close()


if __name__ == "__main__":
    main()
