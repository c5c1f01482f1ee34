"""Texts from outside in files that a spreadsheet opens."""

from __future__ import annotations

import json

STARTS = ("=", "+", "-", "@", "\t", "\r")
"""First characters of a text that a spreadsheet would calculate (OWASP, "CSV Injection")."""
IN_SCRIPT = (
    f'p => typeof p.value === "string" && {json.dumps(STARTS)}.includes(p.value[0]) ? "\'" + p.value : p.value ?? ""'
)
"""The same rule as a function of JavaScript, for the value of a cell that AG Grid exports."""


def without_formula(text: str) -> str:
    """The text, with an apostrophe before it if a spreadsheet would calculate it."""
    return f"'{text}" if text[:1] in STARTS else text
