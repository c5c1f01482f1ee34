"""The corrections of ministack: each is declared once, fits the installed version, and has a test."""

from __future__ import annotations

import ast
import asyncio
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from laptop_aws import correction, corrections
from laptop_aws.correction import Correction, DoesNotFit, digest

PACKAGE = Path(corrections.__file__).parents[1]
ALL = corrections.corrections_of()


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.target)
def test_a_correction_fits_the_installed_ministack_and_names_its_test(one: Correction) -> None:
    assert one.problem() is None
    assert one.aws and one.ministack
    tests = "\n".join(path.read_text() for path in (PACKAGE / "tests" / "conformance").glob("test_*.py"))
    assert f"def {one.test}(" in tests


def test_nothing_is_corrected_twice() -> None:
    assert len({one.target for one in ALL}) == len(ALL)


def test_ministack_is_overwritten_in_no_other_way() -> None:
    """``module.name = …`` and ``setattr(module, …)`` of an imported module of ministack."""
    for path in PACKAGE.rglob("*.py"):
        if "tests" in path.parts:
            continue
        tree = ast.parse(path.read_text())
        imported = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ministack")
            for alias in node.names
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    while isinstance(target, ast.Attribute) and isinstance(target.value, ast.Attribute):
                        target = target.value
                    if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
                        assert target.value.id not in imported, f"{path}:{node.lineno}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "setattr":
                assert path.name == "correction.py", f"{path}:{node.lineno}"


def test_the_command_lists_them() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "laptop_aws", "corrections"], cwd=PACKAGE.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{len(ALL)} corrections"
    assert all(one.target in done.stdout and one.test in done.stdout for one in ALL)


# ---- the form ----


class Worker:
    def greet(self, name: str) -> str:
        return f"hello {name}"


def answer() -> int:
    return 41


async def later(number: int) -> int:
    return number


@pytest.fixture
def stock() -> Iterator[Any]:
    """A module like those of ministack."""
    module = types.ModuleType("stock_module")
    module.__dict__.update(answer=answer, later=later, Worker=Worker, TICK=10, HANDLERS={"A::B": {"create": answer}})
    greet = Worker.greet
    sys.modules["stock_module"] = module
    yield module
    del sys.modules["stock_module"]
    Worker.greet = greet  # type: ignore[method-assign]


def declare(target: str, replacement: Any, source: str, is_value: bool = False) -> Correction:
    return Correction(f"stock_module:{target}", source, "this", "that", "test", replacement, is_value)


def test_a_function_a_method_an_entry_and_a_value_are_corrected(stock: Any) -> None:
    def one_more(stock: Any) -> int:
        return int(stock()) + 1

    async def doubled(stock: Any, number: int) -> int:
        return 2 * int(await stock(number))

    def politely(stock: Any, worker: Worker, name: str) -> str:
        return f"{stock(worker, name)}, please"

    correction.apply(
        [
            declare("answer", one_more, digest(answer)),
            declare("later", doubled, digest(later)),
            declare("Worker.greet", politely, digest(Worker.greet)),
            declare("HANDLERS[A::B][create]", lambda: 7, digest(answer)),
            declare("TICK", lambda: 1, digest(10), is_value=True),
        ]
    )
    assert stock.answer() == 42
    assert asyncio.iscoroutinefunction(stock.later) and asyncio.run(stock.later(4)) == 8
    assert Worker().greet("you") == "hello you, please"
    assert stock.HANDLERS["A::B"]["create"]() == 7
    assert stock.TICK == 1


def test_a_correction_is_applied_once(stock: Any) -> None:
    def one_more(stock: Any) -> int:
        return int(stock()) + 1

    one = declare("answer", one_more, digest(answer))
    correction.apply([one])
    correction.apply([one])
    assert stock.answer() == 42
    assert one.problem() is None


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("answer", r"stock_module:answer has changed \(now [0-9a-f]{12}\)"),
        ("TICK", r"stock_module:TICK has changed"),
        ("renamed", r"stock_module:renamed is gone"),
        ("Worker.renamed", r"stock_module:Worker\.renamed is gone"),
        ("HANDLERS[A::C][create]", r"stock_module:HANDLERS\[A::C\]\[create\] is gone"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_applied(stock: Any, target: str, said: str) -> None:
    fits = declare("later", lambda number: number, digest(later))
    with pytest.raises(DoesNotFit, match=said):
        correction.apply([fits, declare(target, lambda: 0, "000000000000")])
    assert stock.later is later


def test_everything_that_does_not_fit_is_named_at_once(stock: Any) -> None:
    wrong = [declare(name, lambda: 0, "000000000000") for name in ("answer", "renamed")]
    with pytest.raises(DoesNotFit) as caught:
        correction.apply(wrong)
    assert len(re.findall("stock_module:", str(caught.value))) == 2


def test_a_module_that_is_gone_is_named() -> None:
    one = Correction("no_such_module:name", "000000000000", "this", "that", "test", answer, False)
    assert one.problem() == "no_such_module:name is gone"
