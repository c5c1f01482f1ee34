"""`python -m console.screenshots --out DIR` takes pictures of every page, light and dark, of a console that it starts.

Needs Playwright (requirements/browser.txt) and a Chromium: `make screenshots` finds one.
Exit status: 0 done, 1 a page could not be drawn, 2 a problem with the arguments.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from control.connection import Connection, in_words
from control.ledger import Ledger

WIDTH, HEIGHT = 1360, 900
DRAWN_MILLISECONDS = 4000
"""How long a page is left to read from AWS and draw its graphs."""
PAGES = ("", "runs", "gate", "history", "compare", "explore", "rules", "drills", "api")
SCHEMES = ("light", "dark")


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    top = argparse.ArgumentParser(prog="python -m console.screenshots", description=(__doc__ or "").split("\n\n")[0])
    top.add_argument("--out", type=Path, required=True, help="folder of the PNG files; made if it is missing")
    top.add_argument("--chromium", help="the browser's executable (default: Playwright's own)")
    top.add_argument("--width", type=int, default=WIDTH, help=f"width of the window in pixels (default: {WIDTH})")
    top.add_argument("--path", action="append", default=[], help="one more page, such as /explore?user=7; repeatable")
    top.add_argument("--endpoint-url", default="http://127.0.0.1:4566", help="the embedded AWS")
    top.add_argument("--stack", default="ncf-local", help="name of the stack (default: ncf-local)")
    return top


def paths(connection: Connection, more: Sequence[str]) -> list[str]:
    """The pages, those of the last run with them, and `more`. Raises what boto3 raises."""
    runs = Ledger(connection, connection.outputs["RunsTableName"]).of_kind("RUN", 1)
    of_run = [f"/runs/{str(run['pk']).removeprefix('RUN#')}" for run in runs]
    return [*(f"/{page}" for page in PAGES), *of_run, *more]


def file_name(path: str, scheme: str) -> str:
    """`/explore?user=7` → `explore-user-7-light.png`; the first page is `now`."""
    stem = re.sub(r"[^A-Za-z0-9]+", "-", path).strip("-") or "now"
    return f"{stem[:80]}-{scheme}.png"


@contextmanager
def console(stack: str, endpoint_url: str) -> Iterator[str]:
    """The link of a console that lasts as long as the block."""
    command = [sys.executable, "-m", "console", "--port", "0", "--stack", stack, "--endpoint-url", endpoint_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            link = next((line for line in process.stdout if line.startswith("console: ")), "")
            if not link:
                raise RuntimeError("the console did not start")
            yield link.removeprefix("console: ").strip()
        finally:
            process.terminate()


def take(link: str, chosen: Sequence[str], out: Path, chromium: str | None, width: int) -> list[str]:
    """Take the pictures; return what browsers complained of, page by page."""
    from playwright.sync_api import sync_playwright

    problems: list[str] = []
    base = link.partition("/?")[0]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        for scheme in SCHEMES:
            context = browser.new_context(viewport={"width": width, "height": HEIGHT}, color_scheme=scheme)
            page: Any = context.new_page()
            page.goto(link)
            for path in chosen:
                page.once("pageerror", lambda error, path=path: problems.append(f"{path}: {error}"))
                answer = page.goto(f"{base}{path}")
                if answer is not None and not answer.ok:
                    problems.append(f"{path}: HTTP {answer.status}")
                page.wait_for_timeout(DRAWN_MILLISECONDS)
                page.screenshot(path=out / file_name(path, scheme), full_page=True)
            context.close()
        browser.close()
    return problems


def main(arguments: Sequence[str] | None = None) -> int:
    """Take the pictures; the exit status."""
    given = parser().parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    connection = Connection(given.stack, endpoint_url=given.endpoint_url)
    try:
        chosen = paths(connection, given.path)
    except Exception as error:  # any error must reach the reader as words
        print(in_words(error), file=sys.stderr)
        return 2
    with console(given.stack, given.endpoint_url) as link:
        problems = take(link, chosen, given.out, given.chromium, given.width)
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{len(chosen) * len(SCHEMES)} pictures in {given.out}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
