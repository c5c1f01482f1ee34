"""The page Rules."""

from __future__ import annotations

from nicegui import ui

from console.frame import page


@page("/rules", "Rules")
async def show() -> None:
    """Fill the page."""
    ui.label("Rules")
