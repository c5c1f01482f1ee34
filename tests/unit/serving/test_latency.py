"""The latency in the evaluation report is measured on the bundle that would be served."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ncf import bundle as bundles
from serving import latency
from serving.serve import CannotServe


def test_golden_requests_are_measured_in_turn(bundle_directory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter(range(10_000))
    monkeypatch.setattr(latency, "time", SimpleNamespace(perf_counter=lambda: next(moments) / 1000))
    measured = latency.measure(bundle_directory, answers=100, seconds=10)
    # Each reading of this clock adds 1 ms, so each request takes 1 ms.
    assert measured == {"answers": 100, "p50Milliseconds": 1.0, "p99Milliseconds": 1.0}


def test_without_time_each_golden_request_is_measured_once(bundle_directory: Any) -> None:
    before = torch.get_num_threads()
    measured = latency.measure(bundle_directory, seconds=0)
    assert measured["answers"] == len(bundles.load(bundle_directory).golden)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(("share", "value"), [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0)])
def test_a_percentile_is_the_smallest_value_that_the_share_does_not_exceed(share: Any, value: Any) -> None:
    assert latency._percentile([float(number) for number in range(100, 0, -1)], share) == value


def test_a_bundle_that_the_server_would_refuse_is_not_measured(copy: Any) -> None:
    (copy / bundles.GOLDEN).write_text("[]")
    with pytest.raises(CannotServe, match=r"is broken: golden\.json"):
        latency.measure(copy)
