"""`open` and `env`: addresses for a browser, and variables for the AWS CLI."""

from __future__ import annotations

import os
import shlex
import sys
import webbrowser
from collections.abc import Mapping

from control import own_link
from local import http
from local.console import Show
from local.operations import fetch_report
from local.project import Problem, Project
from local.project import without_aws_account as clean


def open_page(project: Project, outputs: Mapping[str, str], show: Show, page: str, run_id: str | None) -> None:
    """Print the address of a page, and open it where there is a browser. Raises Problem if there is no such page."""
    if run_id is not None and page != "report":
        raise Problem(f"a run has a report, but no {page} of its own: leave {run_id} out")
    if page == "report":
        address = fetch_report(project, outputs, run_id).as_uri()
    elif page == "api":
        address = http.api_url(project, outputs["ApiId"])
    else:
        link = own_link.of(project.connection)
        if link is None:
            raise Problem("the console is not running: `make console` starts it and prints its link")
        address = link
    show.line(address)
    if page == "api":
        show.line("  its calls are signed: `.venv/bin/python -m local recommend USER` makes one")
    elif has_browser(os.environ, sys.platform):
        webbrowser.open(address)


def has_browser(environment: Mapping[str, str], platform: str) -> bool:
    """True if a browser can show a page: not over SSH without a display, nor in CI."""
    if platform in ("darwin", "win32"):
        return True
    return any(environment.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))


def exports(project: Project, environment: Mapping[str, str]) -> list[str]:
    """Lines for a shell: the AWS CLI and each SDK then use the embedded AWS, and no variable of `environment` about
    AWS stays.
    """
    wanted = {name: value for name, value in clean({}, project.endpoint).items() if name.startswith("AWS_")}
    gone = sorted(name for name in environment if name.upper().startswith("AWS_") and name not in wanted)
    lines = [f"unset {' '.join(shlex.quote(name) for name in gone)}"] if gone else []
    return lines + [f"export {name}={shlex.quote(value)}" for name, value in sorted(wanted.items())]
