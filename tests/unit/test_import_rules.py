"""The import rules in pyproject.toml hold each function without naming it."""

import tomllib
from pathlib import Path

import pytest

from tests import imports

PROJECT_ROOT = Path(__file__).resolve().parents[2]
RULES = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
CONTRACTS = {contract["name"]: contract for contract in RULES["contracts"]}
FUNCTIONS = {path.parent.name for path in (PROJECT_ROOT / "functions").glob("*/app.py")}


@pytest.mark.parametrize(
    ("contract", "key"),
    [
        ("Lambda functions stay light", "source_modules"),
        ("Functions share only functions/shared", "modules"),
        ("What functions share knows none of them", "forbidden_modules"),
        ("A decision is a pure module: only app.py knows AWS", "source_modules"),
    ],
)
def test_every_function_is_held_by_the_rule(contract: str, key: str) -> None:
    named = {module.removesuffix(".*") for module in imports.expanded(CONTRACTS[contract][key])} - {"shared"}
    assert named == FUNCTIONS


def test_the_linter_reads_every_function() -> None:
    options = imports.Reader().read_options(str(PROJECT_ROOT / "pyproject.toml"))
    assert options is not None
    assert set(options.session_options["root_packages"]) >= FUNCTIONS
    assert not [name for contract in options.contracts_options for name in contract.get("modules", []) if "{" in name]
