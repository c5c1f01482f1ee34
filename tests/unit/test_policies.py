"""A finding of checkov or cfn-lint needs an exception with a reason, and an exception needs a finding."""

from __future__ import annotations

from typing import Any

import yaml

from tests import policies

FOUND = [("CKV_1", "Queue", "is open"), ("CKV_1", "Topic", "is open"), ("CKV_2", "Table", "is not kept")]
REASON = "a sentence that says why it stays so"


def test_what_has_an_exception_is_no_fault() -> None:
    exceptions = {"CKV_1": {"reason": REASON}, "CKV_2": {"reason": REASON, "resources": ["Table"]}}
    assert policies.faults(FOUND, exceptions) == []


def test_what_has_none_is_one() -> None:
    assert policies.faults(FOUND, {"CKV_1": {"reason": REASON, "resources": ["Queue"]}}) == [
        "CKV_1 Topic: is open",
        "CKV_2 Table: is not kept",
    ]


def test_an_exception_needs_a_reason_and_a_finding() -> None:
    exceptions: dict[str, dict[str, Any]] = {
        "CKV_1": {"reason": "", "resources": ["Queue", "Topic", "Gone"]},
        "CKV_2": {"reason": REASON},
        "CKV_3": {"reason": REASON},
    }
    assert policies.faults(FOUND, exceptions) == [
        "CKV_1: the exception has no reason",
        "CKV_1 Gone: the exception finds nothing any more: take it away",
        "CKV_3 of any resource: the exception finds nothing any more: take it away",
    ]


def test_the_exceptions_are_of_these_two() -> None:
    found = yaml.safe_load(policies.EXCEPTIONS.read_text("utf-8"))
    assert found and set(found) <= {"checkov", "cfn-lint"}
