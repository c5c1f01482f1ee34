"""The notebook of `examples/` runs whole, and what it shows is what the repository has."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "examples" / "train_and_recommend.ipynb"
JUPYTER = ROOT / ".envs" / "notebook" / "bin" / "jupyter"
LARGEST_BYTES = 60_000


def code_cells(notebook: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(notebook.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]


def texts(cell: dict[str, Any]) -> str:
    """The printed lines of a cell, and its value."""
    return "".join(
        "".join(out.get("text", [])) + "".join(out.get("data", {}).get("text/plain", [])) for out in cell["outputs"]
    )


def kinds(cells: list[dict[str, Any]]) -> list[list[tuple[str, list[str]]]]:
    return [[(out["output_type"], sorted(out.get("data", {}))) for out in cell["outputs"]] for cell in cells]


def test_the_notebook_has_its_outputs_and_stays_small() -> None:
    cells = code_cells(NOTEBOOK)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1)), "run `make notebook`"
    assert NOTEBOOK.stat().st_size < LARGEST_BYTES


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_every_cell_runs_and_shows_what_the_committed_notebook_shows(tmp_path: Path) -> None:
    assert JUPYTER.is_file(), f"{JUPYTER} is missing: run `make .envs/notebook/.ready`"
    copy = shutil.copy2(NOTEBOOK, tmp_path)
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [JUPYTER, "execute", "--inplace", copy], env=environment, capture_output=True, text=True, timeout=540
    )
    assert done.returncode == 0, done.stderr
    found, committed = code_cells(Path(copy)), code_cells(NOTEBOOK)
    assert kinds(found) == kinds(committed), "run `make notebook`"
    # Data are the same everywhere; what a model learns differs in its last digits between machines.
    assert texts(found[2]) == texts(committed[2])
    liked, recommended = (part.splitlines()[1:] for part in texts(found[-2]).split("recommended:"))
    assert len(liked) >= 5 and len(recommended) == 5 and not set(liked) & set(recommended)
    assert any("image/png" in out.get("data", {}) for cell in found for out in cell["outputs"])
