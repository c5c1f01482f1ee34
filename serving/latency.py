"""The latency of a model's answers, measured with the server's own scorer and without HTTP. A training job measures it,
so that the gate can reject a model that is too slow before it is deployed.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import torch

from serving.invocation import from_document
from serving.serve import load

ANSWERS = 600
"""Default number of answers that are measured."""
SECONDS = 3.0
"""Default maximum time of a measurement."""


def measure(directory: Path, answers: int = ANSWERS, seconds: float = SECONDS) -> dict[str, Any]:
    """`{"answers", "p50Milliseconds", "p99Milliseconds"}` for the golden requests of the bundle in `directory`,
    answered in turn on one thread: `answers` requests, or fewer if `seconds` have passed, but each golden request at
    least once.

    Raises `serve.CannotServe` when the server would refuse the bundle.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the server does
    try:
        bundle, scorer = load(directory)
        requests = [from_document(case["request"]) for case in bundle.golden]
        for request in requests:
            scorer.answer(request)
        milliseconds: list[float] = []
        deadline = time.perf_counter() + seconds
        while len(milliseconds) < len(requests) or (len(milliseconds) < answers and time.perf_counter() < deadline):
            began = time.perf_counter()
            scorer.answer(requests[len(milliseconds) % len(requests)])
            milliseconds.append(1000 * (time.perf_counter() - began))
    finally:
        torch.set_num_threads(threads)
    return {
        "answers": len(milliseconds),
        "p50Milliseconds": round(_percentile(milliseconds, 0.5), 3),
        "p99Milliseconds": round(_percentile(milliseconds, 0.99), 3),
    }


def _percentile(values: list[float], share: float) -> float:
    """The smallest of `values` that at least `share` of them do not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1]
