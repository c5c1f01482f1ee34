"""`ncf/cores.py`: work beside other work."""

from __future__ import annotations

import subprocess
import sys
from threading import Event

import pytest
import torch

from ncf.cores import beside, cores

SECONDS = 60


def test_work_begins_at_once_on_the_cores_that_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads() + 3))
    own, begun = torch.get_num_threads(), Event()

    def work() -> tuple[int, int]:
        begun.set()
        return cores(), torch.get_num_threads()

    result = beside(work)
    assert begun.wait(SECONDS)
    assert result() == (3, 3)
    assert (cores(), torch.get_num_threads()) == (own + 3, own)


def test_without_a_free_core_work_begins_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))
    begun: list[int] = []
    result = beside(lambda: begun.append(cores()))
    assert not begun
    result()
    assert begun == [torch.get_num_threads()]


def test_an_error_of_the_work_is_raised_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads() + 1))
    result = beside(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        result()


def test_a_process_that_ends_does_not_wait_for_work_beside() -> None:
    code = (
        "import os, time\nos.environ['OMP_NUM_THREADS'] = '2'\nimport torch\ntorch.set_num_threads(1)\n"
        "from ncf.cores import beside\nfrom ncf.fitting.distributed import end\n"
        f"beside(lambda: time.sleep({2 * SECONDS}))\nprint('said')\nend(143)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=SECONDS)
    assert (ended.returncode, ended.stdout, ended.stderr) == (143, "said\n", "")
