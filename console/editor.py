"""The JSON editor of the console: with a schema, in the colours of the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nicegui import ui

STYLE = """
.jse-main { max-height: 26rem; }
.jse-main .cm-gutterElement { color: #4a4a4a !important; }
.body--dark .jse-main .cm-gutterElement { color: #c8c8c8 !important; }
.body--dark .jse-main {
  --jse-background-color: #1e1e1e; --jse-text-color: #d4d4d4; --jse-panel-background: #2b2b2b;
  --jse-panel-color: #d4d4d4; --jse-panel-color-readonly: #a0a0a0; --jse-key-color: #9cdcfe;
  --jse-value-color-string: #ce9178; --jse-value-color-number: #b5cea8; --jse-value-color-boolean: #569cd6;
  --jse-delimiter-color: #a0a0a0; --jse-active-line-background-color: #2b2b2b; --jse-main-border: 1px solid #444;
  --jse-selection-background-color: #3a4a63; --jse-hover-background-color: #333;
}
"""
NAMED = """(function name(left) {
  const fields = document.querySelectorAll(".jse-main .cm-content");
  fields.forEach(field => field.setAttribute("aria-label", "The document as JSON"));
  if (left) setTimeout(() => name(left - 1), 250);
})(60)"""
"""Gives the text field of the editor, which loads late, a name for screen readers."""


def json_editor(
    document: Mapping[str, Any],
    schema: dict[str, Any],
    changed: Callable[[Any], Any] | None = None,
    *,
    is_tree: bool = False,
) -> ui.json_editor:
    """An editor of `document`, as text by default: screen readers cannot read the library's tree."""
    ui.add_css(STYLE)
    ui.timer(0.1, lambda: ui.run_javascript(NAMED), once=True)  # a timer waits until the page can run it
    bars = {"mainMenuBar": is_tree, "statusBar": is_tree, "navigationBar": is_tree}
    properties = {"content": {"json": dict(document)}, "mode": "tree" if is_tree else "text", **bars}
    return ui.json_editor(properties, on_change=changed, schema=schema).classes("w-full")
