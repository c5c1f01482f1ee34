"""`forget`: what is asked of the function, and what is said."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
import rich.console

from local.console import Show
from local.forget import forget
from local.project import Problem

OUTPUTS = {"EndpointName": "ncf-recommender"}
ANSWER = {"person": "5a" * 32, "isNew": True, "lists": 1}


class Aws:
    """A project whose function answers as told."""

    def __init__(self, answer: dict[str, Any], **more: Any) -> None:
        self.answer, self.more = answer, more
        self.called: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        assert service == "lambda"
        return self

    def invoke(self, **call: Any) -> dict[str, Any]:
        self.called = {**call, "Payload": json.loads(call["Payload"])}
        return {"Payload": io.BytesIO(json.dumps(self.answer).encode()), **self.more}


def said(aws: Any) -> str:
    out = io.StringIO()
    forget(aws, OUTPUTS, Show(rich.console.Console(file=out, width=300)), "jane", "asked for it")
    return out.getvalue()


def test_the_function_is_asked_and_its_answer_told_without_the_id() -> None:
    aws = Aws(ANSWER)
    text = said(aws)
    assert aws.called == {
        "FunctionName": "ncf-forget",
        "Payload": {"userId": "jane", "reason": "asked for it", "by": "python -m local"},
    }
    assert "the person is forgotten; the ledger has the tombstone 5a5a5a5a5a5a…" in text
    assert "1 list of batches removed" in text
    assert "jane" not in text


def test_a_second_request_says_so() -> None:
    assert "the person is already forgotten" in said(Aws({**ANSWER, "isNew": False}))


def test_a_refusal_is_told() -> None:
    with pytest.raises(Problem, match="reason must not contain the userId"):
        said(Aws({"errorMessage": "reason must not contain the userId"}, FunctionError="Unhandled"))
