"""The Mermaid pictures in the documents can be drawn."""

from __future__ import annotations

import re
from pathlib import Path

import nicegui
from playwright.sync_api import Page, Route

ROOT = Path(__file__).resolve().parents[2]
MERMAID = Path(nicegui.__file__).parent / "elements" / "mermaid" / "dist"
"""Mermaid as the console's wheel brings it."""

PARSE = """async texts => {
  const {mermaid} = await import("http://mermaid.test/index.js");
  const faults = [];
  for (const text of texts) {
    try { await mermaid.parse(text); faults.push(""); } catch (error) { faults.push(String(error)); }
  }
  return faults;
}"""


def serve(route: Route) -> None:
    name = route.request.url.rpartition("/")[2]
    if name:
        route.fulfill(path=MERMAID / name, content_type="text/javascript")
    else:
        route.fulfill(body="<!doctype html>", content_type="text/html")


def faults(page: Page, texts: list[str]) -> list[str]:
    """The fault of each picture; an empty string for one that can be drawn."""
    page.route("http://mermaid.test/**", serve)
    page.goto("http://mermaid.test/")
    found: list[str] = page.evaluate(PARSE, texts)
    return found


def test_every_picture_in_the_documents_can_be_drawn(page: Page) -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("laptop_aws/**/*.md")]
    pictures = [
        (f"{path.relative_to(ROOT)}, picture {number}", text)
        for path in sorted(pages)
        for number, text in enumerate(re.findall(r"^```mermaid\n(.*?)^```", path.read_text("utf-8"), re.M | re.S), 1)
    ]
    assert pictures
    found = faults(page, [text for _, text in pictures])
    assert [(where, fault) for (where, _), fault in zip(pictures, found, strict=True) if fault] == []


def test_a_picture_that_cannot_be_drawn_is_found(page: Page) -> None:
    good, broken = faults(page, ["flowchart TD\n  A --> B", "flowchart TD\n  A --> [B"])
    assert good == ""
    assert "Parse error" in broken
