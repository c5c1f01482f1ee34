"""Every line that a function logs about a run names it: a person finds all lines of a run by its id."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from tests.unit.functions.cloud import CONTEXT, ROOT, RUN, VERSION, Cloud, sample_event

ABOUT_A_RUN = sorted(
    path.stem
    for path in (ROOT / "events").glob("*.json")
    if (ROOT / "functions" / path.stem).is_dir() and sample_event(path.stem).get("runId") == RUN
)


def test_the_functions_of_a_run_are_known() -> None:
    assert {"start_training", "evaluate", "register", "deploy", "verify", "record_outcome"} <= set(ABOUT_A_RUN)


@pytest.mark.parametrize("function", ABOUT_A_RUN)
def test_each_line_names_run_and_version(
    function: str,
    load: Callable[..., ModuleType],
    cloud: Cloud,
    log: Callable[[], list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = load(function)
    monkeypatch.setattr("shared.jobs.Jobs.client", None)  # no job can be asked for
    with contextlib.suppress(Exception):  # nothing else is there: most stop, and say so
        app.handler(sample_event(function), CONTEXT)
    lines = log()
    assert lines
    assert {(line.get("run_id"), line.get("dataset_version")) for line in lines} == {(RUN, VERSION)}
