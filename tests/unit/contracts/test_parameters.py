"""Combinations of parameters that cannot work are refused with a sentence; what samconfig.toml has, is not."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from contracts import devices, parameters
from delivery.preflight import settings

ROOT = Path(__file__).resolve().parents[3]
REGION = "eu-west-1"
KEY = "arn:aws:kms:{}:123456789012:key/0a1b2c3d"
DEFAULTS = dict(settings.read(ROOT, "default").values)


@pytest.mark.parametrize(
    "environment", [name for name in tomllib.loads((ROOT / "samconfig.toml").read_text()) if name != "version"]
)
def test_every_environment_goes_together(environment: str) -> None:
    assert list(parameters.faults(settings.read(ROOT, environment).values, REGION)) == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"EndpointInstanceType": "ml.c5.large"},
            "is a host image for GPUs, and EndpointInstanceType ml.c5.large has none",
        ),
        ({"BatchInstanceType": "ml.g4dn.xlarge"}, "Batch Transform has no host image for CUDA 13"),
        ({"TrainingInstanceType": "ml.g5g.xlarge"}, "TrainingInstanceType ml.g5g.xlarge has an ARM processor"),
        ({"BatchInstanceType": "ml.m6g.xlarge"}, "BatchInstanceType ml.m6g.xlarge has an ARM processor"),
        (
            {"EndpointInstanceCount": "3", "EndpointMaximumInstances": "2"},
            "EndpointMaximumInstances is 2, below EndpointInstanceCount, 3",
        ),
        ({"Hyperparameters": '{"epochs": 20,}'}, "Hyperparameters is not JSON"),
        ({"PreparationParameters": '{"split": "time" "x": 1}'}, "PreparationParameters is not JSON"),
        ({"GatePolicy": "{floors}"}, "GatePolicy is not JSON"),
        ({"TrialLimits": '{"minimumDays": 3, "minimumDays": 4}'}, "TrialLimits"),
        (
            {"RequestBudgetMilliseconds": "5000", "RecentEventsMilliseconds": "1000"},
            "are 10000 ms together, more than 8000 ms",
        ),
        ({"KmsKeyArn": KEY.format("us-east-1")}, "KmsKeyArn is a key of us-east-1, and the stack is in eu-west-1"),
    ],
)
def test_what_cannot_work_is_refused_with_its_reason(values: dict[str, str], words: str) -> None:
    [found] = parameters.faults(DEFAULTS | values, REGION)
    assert words in found


@pytest.mark.parametrize(
    "values",
    [
        {"EndpointInstanceType": "ml.c5.large", "EndpointInferenceAmiVersion": ""},
        {"EndpointInstanceType": "ml.g6e.xlarge"},
        {"EndpointInstanceType": "ml.gr6.4xlarge"},
        {"EndpointInstanceCount": "2", "EndpointMaximumInstances": "2"},
        {"EndpointInstanceCount": "2", "EndpointMaximumInstances": "0"},
        {"KmsKeyArn": KEY.format(REGION)},
        {"EndpointHours": "FRI-MON 20-06"},
    ],
)
def test_what_works_is_not_refused(values: dict[str, str]) -> None:
    assert list(parameters.faults(DEFAULTS | values, REGION)) == []


@pytest.mark.parametrize(
    ("kind", "has_gpu", "is_arm"),
    [
        ("ml.m5.large", False, False),
        ("ml.c7gn.xlarge", False, True),
        ("ml.r8gd.2xlarge", False, True),
        ("ml.g4dn.xlarge", True, False),
        ("ml.p6-b200.48xlarge", True, False),
        ("ml.inf2.xlarge", False, False),
    ],
)
def test_a_machine_is_known_by_its_type(kind: str, has_gpu: bool, is_arm: bool) -> None:
    assert (devices.has_gpu(kind), devices.is_arm(kind)) == (has_gpu, is_arm)
