"""The faults in docs/faults.md and their tests: `python -m tests.faults` lists and counts them. A test names its
faults: `@pytest.mark.fault("E01", ...)`.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "faults.md"


def listed() -> dict[str, str]:
    """The case of each id in the document."""
    rows = re.findall(r"^\| ([A-Z]\d\d) \| (.*?) \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    return dict(rows)


def held() -> dict[str, list[str]]:
    """The tests of each id in a mark, as `file::test`."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for name, fault in _marks(ast.parse(path.read_text(encoding="utf-8"))):
            found.setdefault(fault, []).append(f"{path.relative_to(ROOT)}::{name}")
    return found


def _marks(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for function in tree.body:
        if not isinstance(function, ast.FunctionDef):
            continue
        for decorator in function.decorator_list:
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.fault":
                for argument in decorator.args:
                    yield function.name, ast.literal_eval(argument)


def main() -> int:
    """Prints each fault with its tests; returns 1 if a fault has no test or a mark has no fault."""
    faults, tests = listed(), held()
    for fault, case in faults.items():
        print(f"{fault}  {case}")
        for test in tests.get(fault, ["none"]):
            print(f"       {test}")
    missing, unknown = sorted(faults.keys() - tests.keys()), sorted(tests.keys() - faults.keys())
    print(f"\n{len(faults) - len(missing)} of {len(faults)} faults have a test")
    for words, ids in (("without a test", missing), ("marked, but not in docs/faults.md", unknown)):
        if ids:
            print(f"{words}: {', '.join(ids)}")
    return 1 if missing or unknown else 0


if __name__ == "__main__":
    sys.exit(main())
