"""How a dataset is split into train and test, and which of a user's interactions at one time is the last.

The preparation splits; the reader of a dataset takes a user's last interaction in train, by the same rule.
"""

from __future__ import annotations

import hashlib

LEAVE_LAST_OUT = "leave-last-out"
"""The last interaction of each user is for testing."""
GLOBAL_TIME = "global-time"
"""All interactions at or after one moment are for testing."""
PROTOCOLS = (LEAVE_LAST_OUT, GLOBAL_TIME)
AUTO = "auto"
"""As a request: GLOBAL_TIME where the data suit it, otherwise LEAVE_LAST_OUT."""

SEED = 42
"""Seed of the draws, fixed so that the same interactions always give the same dataset."""
DRAW_DIGITS = 15
"""Hexadecimal digits of a draw: 60 bits, which fit an int64."""


def draw(seed: int, user_id: str, item_id: str) -> int:
    """Return the draw of a (user, item): of a user's interactions at one time, the one with the greatest draw is last.

    It is the start of the sha256 of seed and ids, separated by line feeds, which ids do not contain. An id or the
    order of a file would choose the same items for all users.
    """
    text = f"{seed}\n{user_id}\n{item_id}"
    return int(hashlib.sha256(text.encode()).hexdigest()[:DRAW_DIGITS], 16)
