"""Texts from outside in files that a spreadsheet opens."""

from __future__ import annotations


def without_formula(text: str) -> str:
    """The text, with an apostrophe before it if a spreadsheet would calculate it (OWASP, "CSV Injection")."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
