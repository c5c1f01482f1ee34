"""The typed environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from shared import environment


@dataclass(frozen=True, kw_only=True)
class Settings(environment.Common):
    endpoint_name: str
    endpoint_instance_count: int
    training_use_spot: bool = False
    endpoint_alarm_names: tuple[str, ...] = ()
    gate_policy: dict[str, Any] = field(default_factory=dict)


WHOLE = {
    "NAME_PREFIX": "ncf",
    "RUNS_TABLE": "ncf-runs",
    "ENDPOINT_NAME": "ncf-recommender",
    "ENDPOINT_INSTANCE_COUNT": "2",
    "TRAINING_USE_SPOT": "True",
    "ENDPOINT_ALARM_NAMES": "errors, latency,",
    "GATE_POLICY": '{"minimumTestUsers": 5}',
}


def test_reads_every_kind_of_variable() -> None:
    assert environment.load(Settings, WHOLE) == Settings(
        name_prefix="ncf",
        runs_table="ncf-runs",
        endpoint_name="ncf-recommender",
        endpoint_instance_count=2,
        training_use_spot=True,
        endpoint_alarm_names=("errors", "latency"),
        gate_policy={"minimumTestUsers": 5},
    )


def test_an_empty_optional_variable_has_its_default() -> None:
    settings = environment.load(Settings, {**WHOLE, "ENDPOINT_ALARM_NAMES": "", "TRAINING_USE_SPOT": " "})
    assert settings.endpoint_alarm_names == ()
    assert settings.training_use_spot is False


def test_names_every_variable_that_is_missing_or_unreadable_at_once() -> None:
    with pytest.raises(environment.BadEnvironment) as caught:
        environment.load(
            Settings,
            {"ENDPOINT_NAME": " ", "ENDPOINT_INSTANCE_COUNT": "two", "GATE_POLICY": "[1]", "TRAINING_USE_SPOT": "yes"},
        )
    message = str(caught.value)
    assert "missing: NAME_PREFIX, RUNS_TABLE, ENDPOINT_NAME" in message
    assert "ENDPOINT_INSTANCE_COUNT must be an integer, not 'two'" in message
    assert "TRAINING_USE_SPOT must be true or false, not 'yes'" in message
    assert "GATE_POLICY must be a JSON object, not a list" in message


@pytest.mark.parametrize("text", ["\u0662", "1_0", "2.0", "\u00b2", "9" * 5000])
def test_an_integer_has_ascii_digits(text: str) -> None:
    with pytest.raises(environment.BadEnvironment, match="ENDPOINT_INSTANCE_COUNT must be an integer, not "):
        environment.load(Settings, {**WHOLE, "ENDPOINT_INSTANCE_COUNT": text})


def test_a_number_that_no_double_holds_is_named() -> None:
    policy = '{"floors": {"coverage": 1%s}}' % ("0" * 400)
    with pytest.raises(environment.BadEnvironment, match=r"GATE_POLICY: floors\.coverage must be a number within"):
        environment.load(Settings, {**WHOLE, "GATE_POLICY": policy})
