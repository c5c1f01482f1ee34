"""The page API."""

from __future__ import annotations

from nicegui import ui

from console.frame import page


@page("/api", "API")
async def show() -> None:
    """Fill the page."""
    ui.label("API")
