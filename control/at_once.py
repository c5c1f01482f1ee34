"""Calls of AWS that do not need each other's answers, made at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

MOST_THREADS = 8
"""boto3 keeps ten connections for each client."""


def at_once(calls: Iterable[Callable[[], Any]]) -> list[Any]:
    """Make the calls in threads; return their answers in the given order. Raises what the first of them raises."""
    given = list(calls)
    if len(given) < 2:
        return [call() for call in given]
    with ThreadPoolExecutor(min(len(given), MOST_THREADS)) as threads:
        return [found.result() for found in [threads.submit(call) for call in given]]
