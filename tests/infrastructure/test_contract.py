"""The template gives each function the environment its code reads, and has what docs/reference/contracts.md says."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from tests.infrastructure.templates import of_type
from tests.infrastructure.test_permissions import NAMES, pascal

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = (ROOT / "docs" / "reference" / "contracts.md").read_text("utf-8")
# Lambda sets it; Powertools reads the POWERTOOLS_ ones.
OF_LAMBDA = {"AWS_REGION"}


def fields(path: Path, name: str) -> set[str]:
    """The variables that the dataclass `name` in the file at `path` reads; none if there is no such class."""
    classes = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.ClassDef)]
    return {
        field.target.id.upper()
        for node in classes
        if node.name == name
        for field in node.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
    }


def variables(template: dict[str, Any], function: str) -> set[str]:
    """The variables that the template gives to `function`."""
    return set(template["Resources"][f"{pascal(function)}Function"]["Properties"]["Environment"]["Variables"])


def test_the_template_has_a_function_for_every_folder(cloudformation: dict[str, Any]) -> None:
    functions = of_type(cloudformation, "AWS::Lambda::Function")
    assert {name: function["Handler"] for name, function in functions.items()} == {
        f"{pascal(name)}Function": f"{name}.app.handler" for name in NAMES
    }


@pytest.mark.parametrize("function", NAMES)
def test_environment_is_what_the_code_reads(function: str, cloudformation: dict[str, Any]) -> None:
    common = fields(ROOT / "functions" / "shared" / "environment.py", "Common")
    assert common == {"NAME_PREFIX", "RUNS_TABLE"}
    read = fields(ROOT / "functions" / function / "app.py", "Settings") - OF_LAMBDA
    given = {name for name in variables(cloudformation, function) if not name.startswith("POWERTOOLS_")}
    assert given == read | common


def test_the_template_has_the_logical_ids_of_the_contract(cloudformation: dict[str, Any]) -> None:
    section = CONTRACT[CONTRACT.index("## Template") :].split("\n## ")[0]
    listed = set(re.findall(r"`([A-Z]\w+)`", section.partition("Logical ids:")[2]))
    assert len(listed) > 10
    assert listed - set(cloudformation["Resources"]) == set()


@pytest.mark.parametrize("kind", ["Parameters", "Outputs"])
def test_the_page_lists_the_parameters_and_outputs_of_the_template(kind: str, cloudformation: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "reference" / "parameters.md").read_text("utf-8")
    assert set(cloudformation[kind]) - set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == set()
