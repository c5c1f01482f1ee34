"""A length of time as text, such as 90s, 10m or 2h: what a search of hyperparameters may take."""

from __future__ import annotations

import re

LONGEST = 86_400
"""The longest one in seconds: no training job may take longer."""
FORM = "a length of time from 1s to 24h, such as 90s, 10m or 2h"
_TEXT = re.compile(r"([1-9][0-9]{0,5})([smh])")
_UNITS = {"s": 1, "m": 60, "h": 3600}


def seconds_of(text: str) -> int:
    """Return the seconds of `text`. Raises ValueError with FORM."""
    match = _TEXT.fullmatch(text)
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 1 <= seconds <= LONGEST:
        raise ValueError(f"must be {FORM}")
    return seconds
