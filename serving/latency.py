"""How long a model's answers take, by the server's own scorer and without HTTP. A training job measures it, so that the
gate can reject a model that is too slow before it serves.
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
SECONDS = 3.0


def measure(directory: Path, answers: int = ANSWERS, seconds: float = SECONDS) -> dict[str, Any]:
    """`{"answers", "p50Milliseconds", "p99Milliseconds"}` for the golden requests of the bundle in `directory`, asked
    in turn on one thread: `answers` of them, or as many as `seconds` allow, each golden request at least once.

    Raises `serve.CannotServe` when the server would refuse the bundle.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the server does
    try:
        bundle, scorer = load(directory)
        requests = [from_document(case["request"]) for case in bundle.golden]
        for request in requests:
            scorer.answer(request)
        taken: list[float] = []
        deadline = time.perf_counter() + seconds
        while len(taken) < len(requests) or (len(taken) < answers and time.perf_counter() < deadline):
            began = time.perf_counter()
            scorer.answer(requests[len(taken) % len(requests)])
            taken.append(1000 * (time.perf_counter() - began))
    finally:
        torch.set_num_threads(threads)
    return {
        "answers": len(taken),
        "p50Milliseconds": round(_percentile(taken, 0.5), 3),
        "p99Milliseconds": round(_percentile(taken, 0.99), 3),
    }


def _percentile(values: list[float], share: float) -> float:
    """The smallest of `values` that at least `share` of them do not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1]
