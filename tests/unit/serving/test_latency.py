"""What the gate is told of the server's speed is measured on the bundle that would be served."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ncf import bundle as bundles
from serving import latency
from serving.serve import CannotServe


def test_every_golden_request_is_asked_and_the_slow_ones_count(
    bundle_directory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = iter(range(10_000))
    monkeypatch.setattr(latency, "time", SimpleNamespace(perf_counter=lambda: next(moments) / 1000))
    measured = latency.measure(bundle_directory, answers=100, seconds=10)
    # A request takes a tick of this clock, and so does each look at the deadline.
    assert measured == {"answers": 100, "p50Milliseconds": 1.0, "p99Milliseconds": 1.0}


def test_when_time_is_short_each_kind_of_request_is_asked_once(bundle_directory: Any) -> None:
    before = torch.get_num_threads()
    measured = latency.measure(bundle_directory, seconds=0)
    assert measured["answers"] == len(bundles.load(bundle_directory).golden)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(("share", "value"), [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0)])
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(share: Any, value: Any) -> None:
    assert latency._percentile([float(number) for number in range(100, 0, -1)], share) == value


def test_what_the_server_would_refuse_is_not_measured(copy: Any) -> None:
    (copy / bundles.GOLDEN).write_text("[]")
    with pytest.raises(CannotServe, match=r"is broken: golden\.json"):
        latency.measure(copy)
