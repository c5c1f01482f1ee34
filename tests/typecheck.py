"""Type-check every area by itself: they are separate programs, and their top-level module names may coincide.

Exit status 1 when any area has an error; the areas are all checked first.
"""

import subprocess
import sys
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parent.parent
# Area → the folders whose modules it may import besides the installed packages.
AREAS = {
    "contracts": ["."],
    "functions": ["functions"],
    "ncf": ["."],
    "training": ["."],
    "serving": ["."],
    "container": ["."],
    "emr": ["emr"],
    "laptop_aws": ["."],
    "local": ["."],
    "delivery": ["."],
}


def check(area: str, import_paths: list[str]) -> bool:
    """Run mypy on one area; True when it is clean."""
    arguments = ["--no-error-summary", "--cache-dir", f".mypy_cache/{area}", "--config-file", "pyproject.toml", area]
    environment_path = ":".join(str(PROJECT_ROOT / path) for path in import_paths)
    result = subprocess.run(
        [sys.executable, "-m", "mypy", *arguments],
        cwd=PROJECT_ROOT,
        env={"MYPYPATH": environment_path, "PATH": "/usr/bin:/bin"},
        check=False,
    )
    return result.returncode == 0


if __name__ == "__main__":
    failed = [area for area, import_paths in AREAS.items() if not check(area, import_paths)]
    if failed:
        sys.exit(f"type errors in: {', '.join(failed)}")
    print(f"types: {', '.join(AREAS)} are clean")
