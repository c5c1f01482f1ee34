"""Calls that are made at once."""

import threading

import pytest

from control.at_once import at_once


def test_calls_run_beside_each_other_and_answer_in_order() -> None:
    both = threading.Barrier(2)

    def call(answer: int) -> int:
        both.wait(timeout=10)  # alone, it would never go on
        return answer

    assert at_once([lambda: call(1), lambda: call(2)]) == [1, 2]


def test_an_error_of_one_call_is_raised() -> None:
    with pytest.raises(KeyError):
        at_once([lambda: 1, lambda: dict[str, int]()["absent"]])
