"""Type-check every area by itself: they are separate programs, and their top-level module names may coincide.

Exit status 1 when any area has an error; the areas are all checked first, two at a time.
"""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Area:
    """The `folders` are checked together; `sources` are the folders from which modules are imported by name."""

    name: str
    folders: tuple[str, ...]
    sources: tuple[str, ...] = (".",)

    def report(self) -> str:
        """mypy's findings; empty without any."""
        result = subprocess.run(
            [
                sys.executable,
                "-m",
                "mypy",
                "--no-error-summary",
                "--cache-dir",
                f".mypy_cache/{self.name.replace(' ', '-')}",
                *self.folders,
            ],
            cwd=PROJECT_ROOT,
            env={"MYPYPATH": ":".join(str(PROJECT_ROOT / path) for path in self.sources), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        return (result.stdout + result.stderr) if result.returncode else ""


MODEL_TESTS = ("ncf", "training", "serving", "container", "benchmarks")
AREAS = [
    Area(
        "models",
        (
            "contracts",
            "ncf",
            "training",
            "serving",
            "container",
            "benchmarks",
            *(f"tests/unit/{name}" for name in MODEL_TESTS),
        ),
    ),
    Area("functions", ("functions",), ("functions",)),
    Area(
        "tests of the functions",
        (
            "tests/unit/functions",
            "tests/unit/statemachines",
            "tests/contract",
            "tests/infrastructure",
            "tests/unit/test_dashboard.py",
            "tests/unit/test_faults.py",
            "tests/unit/test_import_rules.py",
            "tests/unit/test_pages.py",
            "tests/unit/test_samples.py",
            "tests/unit/test_templates.py",
            "tests/unit/test_version.py",
            "tests/imports.py",
            "tests/plain_words.py",
            "tests/samples.py",
            "tests/typecheck.py",
            "tests/conftest.py",
        ),
        (".", "functions"),
    ),
    Area("emr", ("emr",), ("emr",)),
    Area("tests of emr", ("tests/unit/emr",), (".", "emr")),
    Area(
        "local",
        (
            "local",
            "control",
            "console",
            "laptop_aws",
            "delivery",
            "tests/unit/delivery",
            "tests/unit/local",
            "tests/unit/control",
            "tests/unit/console",
            "tests/e2e",
            "tests/browser",
            "tests/load",
            "tests/airflow",
            "tests/unit/test_notebook.py",
        ),
    ),
]


def main() -> int:
    """Check all areas; the exit status."""
    with ThreadPoolExecutor(2) as pool:
        reports = dict(zip(AREAS, pool.map(Area.report, AREAS), strict=True))
    failed = [area.name for area, report in reports.items() if report]
    for report in reports.values():
        sys.stdout.write(report)
    print(f"type errors in: {', '.join(failed)}" if failed else f"types: {', '.join(a.name for a in AREAS)} are clean")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
