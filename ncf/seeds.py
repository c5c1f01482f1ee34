"""Independent streams of random numbers from one seed."""

from __future__ import annotations

import hashlib


def stream(seed: int, purpose: str) -> int:
    """Return the seed of the generator for `purpose`, from 0 to 2^63 - 1."""
    return int.from_bytes(hashlib.sha256(f"{seed} {purpose}".encode()).digest()[:8], "big") >> 1
