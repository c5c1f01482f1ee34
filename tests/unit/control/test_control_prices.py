"""The price of an hour of training."""

import pytest

from control.prices import LIST_PRICES, PARAMETER, price_of


@pytest.mark.parametrize(
    ("parameters", "per_hour", "words"),
    [
        ({PARAMETER: "0.5"}, 0.5, "the stack's TrainingPricePerHour"),
        ({PARAMETER: "0"}, LIST_PRICES["ml.m5.large"], "list price of us-east-1"),
        ({}, LIST_PRICES["ml.m5.large"], "set the stack's TrainingPricePerHour"),
    ],
)
def test_the_stack_s_price_goes_before_the_list_price(parameters: dict[str, str], per_hour: float, words: str) -> None:
    found = price_of("ml.m5.large", parameters)
    assert found.per_hour == per_hour and words in found.source


def test_an_instance_that_the_list_lacks_has_no_price() -> None:
    assert price_of("ml.unheard-of.large", {}).per_hour == 0
