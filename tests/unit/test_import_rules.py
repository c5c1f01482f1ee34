"""The import rules in pyproject.toml name each function: one that is new must be named there, or no rule holds it."""

import tomllib
from pathlib import Path

import pytest

PROJECT_ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = {
    contract["name"]: contract
    for contract in tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}
FUNCTIONS = {path.parent.name for path in (PROJECT_ROOT / "functions").glob("*/app.py")}


@pytest.mark.parametrize(
    ("contract", "key"),
    [
        ("Lambda functions stay light", "source_modules"),
        ("Functions share only functions/shared", "modules"),
        ("What functions share knows none of them", "forbidden_modules"),
        ("A decision is a pure module: only app.py, and recommend's two clients, know AWS", "source_modules"),
    ],
)
def test_every_function_is_held_by_the_rule(contract: str, key: str) -> None:
    named = {module.removesuffix(".*") for module in CONTRACTS[contract][key]} - {"shared"}
    assert named == FUNCTIONS
