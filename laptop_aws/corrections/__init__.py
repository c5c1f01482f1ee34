"""Corrections of ministack where it differs from AWS: one module per area.

Each correction (``laptop_aws.correction``) states what AWS does, what ministack does, and its conformance test.
``python -m laptop_aws corrections`` lists them.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable

from laptop_aws import correction
from laptop_aws.correction import Correction

STEP_FUNCTIONS = ("execution", "task_state", "state_driver", "stepfunctions")
AREAS = (
    "host",
    "lambda_runtime",
    "lambda_code",
    "lambda_invocation",
    "eventbridge",
    *STEP_FUNCTIONS,
    "http_api",
    "cloudformation",
    "scheduler",
    "s3",
    "cloudwatch",
    "firehose",
)


def corrections_of(areas: Iterable[str] = AREAS) -> list[Correction]:
    """The corrections of the areas."""
    return correction.declared([importlib.import_module(f"{__name__}.{area}") for area in areas])


def apply(areas: Iterable[str] = AREAS) -> None:
    """Applies the corrections. Raises DoesNotFit if the installed ministack is not the one that they were written
    for."""
    correction.apply(corrections_of(areas))
