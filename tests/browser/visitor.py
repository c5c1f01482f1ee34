"""A person at the console: opens pages, presses keys, answers the question before a change, and reads."""

from __future__ import annotations

import re
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.console_process import ConsoleProcess

PAGES = {
    "/": "Now",
    "/runs": "Runs",
    "/gate": "Gate",
    "/history": "History",
    "/compare": "Compare",
    "/explore": "Explore",
    "/rules": "Rules",
    "/drills": "Drills",
    "/api": "API",
}
TRACE = re.compile(r"Traceback|File \".*\", line \d|botocore\.|<class '")


class Visitor:
    """One tab. `errors` has what the browser's console said was wrong, and uncaught errors of scripts."""

    def __init__(self, page: Page, console: ConsoleProcess) -> None:
        self.page, self.console = page, console
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("dialog", lambda dialog: self._dialog(dialog))
        page.goto(console.link)

    def _dialog(self, dialog: Any) -> None:
        self.errors.append(f"a script opened a dialog: {dialog.message}")
        dialog.dismiss()

    def open(self, path: str) -> Page:
        """Open a page by its address and wait until its first reading is drawn."""
        self.page.goto(f"{self.console.address}{path}")
        expect(self.page.get_by_role("navigation", name="Pages")).to_be_visible()
        self.page.wait_for_function("window.did_handshake === undefined || window.did_handshake")
        expect(self.page.get_by_text("Reading from AWS…")).to_have_count(0)
        self.page.wait_for_timeout(1000)
        return self.page

    @property
    def text(self) -> str:
        """The text of the page below the navigation."""
        return str(self.page.get_by_role("main").inner_text())

    def confirm(self, name: str, reason: str) -> None:
        """Answer the question before a change: give the reason, press the button, wait until it is done."""
        dialog = self.page.get_by_role("dialog")
        dialog.get_by_label("Reason").fill(reason)
        dialog.get_by_role("button", name=name).click()
        expect(dialog).to_be_hidden()

    def serious_findings(self) -> list[str]:
        """Findings of axe that are serious or critical, with the elements."""
        found = Axe().run(self.page).response["violations"]
        return [
            f"{finding['id']} ({finding['impact']}): {finding['help']}: "
            + "; ".join(node["html"][:160] for node in finding["nodes"][:3])
            for finding in found
            if finding["impact"] in ("serious", "critical")
        ]

    def is_wider_than_window(self) -> bool:
        """True if the page as a whole has to be scrolled sideways."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > window.innerWidth + 1"))
