"""The server supports every model and loads no training code, and not torch's compiler."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
import json, pathlib, sys
import serving.serve
bundle, scorer = serving.serve.load(pathlib.Path(sys.argv[1]), "cpu")
print(json.dumps([name for name in sys.modules]))
"""


@pytest.mark.parametrize("model", ["neumf", "als", "ease"])
def test_the_server_loads_no_training_code(model: str, make_bundle: Callable[..., Path]) -> None:
    command = [sys.executable, "-c", PROGRAM, str(make_bundle(model))]
    completed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    loaded = json.loads(completed.stdout)
    assert {"serving.serve", "ncf.bundle", "ncf.models.neural"} <= set(loaded)
    fitting = ("training", "container", "ncf.fitting", "ncf.evaluation", "ncf.sampling", "ncf.dataset_files", "pyarrow")
    assert [name for name in loaded if name.startswith((*fitting, "torch._dynamo"))] == []
