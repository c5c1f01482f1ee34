"""Log lines as a person reads them, and as they were written."""

from __future__ import annotations

import io
import json
from datetime import datetime
from typing import Any

import pytest
import rich.console

from local import logs
from local.console import Show
from local.logs import Line, text_of

MOMENT = 1_795_961_874_342
CLOCK = datetime.fromtimestamp(MOMENT / 1000).strftime("%H:%M:%S")
RECORD = {
    "level": "INFO",
    "location": "_create:162",
    "message": "training job started",
    "timestamp": "2026-11-29 14:17:54,342+0000",
    "service": "ncf",
    "cold_start": False,
    "function_name": "ncf-start-training",
    "function_request_id": "df7baa2a",
    "run_id": "v20261129t141737z-bd5c9c47-r1",
    "dataset_version": "v20261129t141737z-bd5c9c47",
    "channels": 2,
    "reason": None,
    "xray_trace_id": "1-6b0c",
}


def line(text: str) -> Line:
    return Line(MOMENT, "ncf-start-training", text)


def test_a_function_s_line_is_time_level_source_message_and_the_fields_that_say_more() -> None:
    assert text_of(line(json.dumps(RECORD))) == (
        f"{CLOCK} INFO  ncf-start-training  training job started  run_id=v20261129t141737z-bd5c9c47-r1  channels=2"
    )


def test_an_exception_s_trace_is_below_its_line() -> None:
    record = RECORD | {"level": "ERROR", "message": "it failed", "exception": "Traceback\n  ValueError: no"}
    first, *rest = text_of(line(json.dumps(record))).splitlines()
    assert first.startswith(f"{CLOCK} ERROR ncf-start-training  it failed  run_id=")
    assert rest == ["    Traceback", "      ValueError: no"]


def test_a_long_field_is_cut_and_a_nested_one_is_json() -> None:
    said = text_of(line(json.dumps({"message": "x", "reasons": ["a", "b"], "text": "y" * 1000})))
    assert 'reasons=["a", "b"]' in said
    assert said.endswith("…") and len(said) < 300


@pytest.mark.parametrize("text", ["INFO epoch=1", "{", "[1]", '{"a": 1}', '{"a": 1, "a": 2}', "{" * 10_000])
def test_any_other_line_is_shown_as_it_is(text: str) -> None:
    assert text_of(line(text)) == f"{CLOCK}       ncf-start-training  {text}"


class Project:
    """CloudWatch Logs with one group of one function."""

    texts = ("START RequestId: 1", json.dumps(RECORD), '{"_aws":{}}', "REPORT RequestId: 1")

    def client(self, service: str) -> Any:
        return self

    def get_paginator(self, operation: str) -> Any:
        self.operation = operation
        return self

    def paginate(self, **call: Any) -> list[dict[str, Any]]:
        if self.operation == "describe_log_groups":
            return [{"logGroups": [{"logGroupName": "/aws/lambda/ncf-start-training"}]}]
        events = [
            {"eventId": str(number), "logStreamName": "s", "timestamp": MOMENT, "message": text}
            for number, text in enumerate(self.texts)
        ]
        return [{"events": events}]


def shown(is_json: bool) -> list[str]:
    out = io.StringIO()
    show = Show(rich.console.Console(file=out, width=300))
    logs.show_logs(Project(), show, "start-training", False, is_json)  # type: ignore[arg-type]  # a stub
    return out.getvalue().splitlines()


def test_lambda_s_own_lines_are_left_out_unless_all_is_wanted() -> None:
    assert [text.partition("  ")[2].partition("  ")[2][:20] for text in shown(False)] == ["training job started"]
    assert shown(True) == list(Project.texts)
