"""Fixtures of the infrastructure tests: the template as text, as SAM and as CloudFormation, and the folder of one
real build."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from tests.infrastructure import building, templates

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def _sam_template() -> dict[str, Any]:
    return templates.load(ROOT / "template.yaml")


@pytest.fixture(scope="session")
def _cloudformation_template() -> dict[str, Any]:
    return templates.transform(templates.load(ROOT / "template.yaml"))


@pytest.fixture
def sam(_sam_template: dict[str, Any]) -> dict[str, Any]:
    """`template.yaml`, parsed; a copy, so that a test may break it."""
    return copy.deepcopy(_sam_template)


@pytest.fixture
def cloudformation(_cloudformation_template: dict[str, Any]) -> dict[str, Any]:
    """`template.yaml` after the SAM transform: what CloudFormation gets; a copy, so that a test may break it."""
    return copy.deepcopy(_cloudformation_template)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one `sam build` for Python 3.11 on x86_64, one folder per function and layer in it."""
    return building.build(ROOT, tmp_path_factory.mktemp("build"), runtime="python3.11", architecture="x86_64")
