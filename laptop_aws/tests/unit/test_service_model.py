"""Requests are checked against AWS's service models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.model import ListShape, MapShape, Shape, StructureShape

from laptop_aws.application_autoscaling import OPERATIONS as SCALING_OPERATIONS
from laptop_aws.emr_serverless.api import OPERATIONS as EMR_OPERATIONS
from laptop_aws.sagemaker.api import OPERATIONS as SAGEMAKER_OPERATIONS
from laptop_aws.service_model import ServiceError, accept, compile_pattern, operation, page


def shapes(shape: Shape | None, seen: set[str]) -> Iterator[Shape]:
    if shape is None or shape.name in seen:
        return
    seen.add(shape.name)
    yield shape
    inner: list[Shape] = []
    if isinstance(shape, StructureShape):
        inner = list(shape.members.values())
    elif isinstance(shape, ListShape):
        inner = [shape.member]
    elif isinstance(shape, MapShape):
        inner = [shape.key, shape.value]
    for part in inner:
        yield from shapes(part, seen)


@pytest.mark.parametrize(
    ("service", "names"),
    [
        ("sagemaker", SAGEMAKER_OPERATIONS),
        ("emr-serverless", EMR_OPERATIONS),
        ("application-autoscaling", SCALING_OPERATIONS),
    ],
)
def test_every_operation_is_of_the_model_and_every_pattern_can_be_checked(service: str, names: dict[str, Any]) -> None:
    checked = 0
    for name in names:
        model = operation(service, name)
        assert model is not None, name
        for shape in shapes(model.input_shape, set()):
            if pattern := shape.metadata.get("pattern"):
                compile_pattern(pattern)
                checked += 1
    assert checked > 20


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        (r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)", "Ünïcode 東京 9 @", True),
        (r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)", "semi;colon", False),
        (r"([\p{L}\p{Z}\p{N}_.:\/=+\-@]*)${1,128}", "key", True),
        (r"arn:[\p{Alnum}\-]+:lambda:x", "arn:aws-cn:lambda:x", True),
        (r"\p{ASCII}*", "a\tb", True),
        (r"\p{ASCII}*", "é", False),
        (r"\A\S[\p{Print}]*\z", "id 1", True),
        (r"\A\S[\p{Print}]*\z", " id", False),
    ],
)
def test_java_patterns_mean_what_they_mean_in_java(pattern: str, text: str, fits: bool) -> None:
    assert (compile_pattern(pattern).fullmatch(text) is not None) is fits


def test_unknown_members_are_ignored_and_null_is_absence() -> None:
    model = operation("sagemaker", "DescribeTrainingJob")
    assert model is not None
    assert accept(model.input_shape, {"TrainingJobName": "job", "Other": 1}) == {"TrainingJobName": "job"}
    with pytest.raises(ServiceError, match="Value null at 'trainingJobName'"):
        accept(model.input_shape, {"TrainingJobName": None})


@pytest.mark.parametrize("value", ["2026-11-23T15:13:00Z", "2026-11-23T15:13:00", 1795446780, 1795446780.0])
def test_timestamps_become_seconds(value: Any) -> None:
    model = operation("sagemaker", "ListTrainingJobs")
    assert model is not None
    assert accept(model.input_shape, {"CreationTimeAfter": value}) == {"CreationTimeAfter": 1795446780.0}


def test_pages_neither_repeat_nor_hide_rows_when_others_come_and_go() -> None:
    first, token = page(["a", "b", "c", "d"], None, 2, str)
    second, end = page(["0", "a", "b", "c", "d"], token, 2, str)
    assert (first, second, end) == (["a", "b"], ["c", "d"], None)
    with pytest.raises(ServiceError, match="Invalid NextToken"):
        page(["a"], "not a token", 2, str)
