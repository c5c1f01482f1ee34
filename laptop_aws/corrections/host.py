"""ministack's server: parts that the host of laptop-aws does itself."""

from __future__ import annotations

from typing import Any

from laptop_aws.correction import corrects


@corrects(
    "ministack.app:BANNER",
    source="e7a7b725f9e1",
    aws="nothing like it",
    ministack="prints a banner over many lines",
    test="test_the_log_has_one_line_per_thing",
    is_value=True,
)
def banner() -> str:
    return "ministack on port {port}"


@corrects(
    "ministack.app:save_all",
    source="ea253a04fd05",
    aws="nothing like it",
    ministack="saves state at a clean end only, each file in place",
    test="test_everything_is_there_again_after_a_restart",
)
def save_nothing(services: Any) -> None:
    """``state.Saver`` saves."""
