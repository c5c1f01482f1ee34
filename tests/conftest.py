"""Groups tests for several processes (`make test`): one group for each tier that builds, deploys or starts Spark once,
otherwise one for each file. What the modules hold is left out of Python's search for garbage.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Before torch is imported. Matrices here are small, and threads that wait for each other, in two processes on two
# cores, take a fifth of all processor time.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Time depends on the machine and on what else it does: no test may fail for it.
settings.register_profile("product", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("product")

# The console has an environment of its own; `make browser`, which `make test` calls, runs these.
collect_ignore = [] if importlib.util.find_spec("nicegui") else ["browser", "unit/console"]

WHOLE_TIERS = ("tests/e2e/", "tests/unit/emr/", "tests/infrastructure/")
OF_THEIR_OWN = ("tests/e2e/test_live.py", "tests/e2e/test_smoke.py")
"""Files of a tier that share nothing with its others: each has a stack of its own, one after the other, because four
stacks at once wait for each other.
"""
LONGEST = (*OF_THEIR_OWN, *WHOLE_TIERS, "laptop_aws/tests/conformance/")


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the test's thread would have slept. Other threads sleep as always: one that was left by an
    earlier test and waits in a loop would spin, and count.
    """
    mine, sleep, seconds = threading.get_ident(), time.sleep, list[float]()
    monkeypatch.setattr(time, "sleep", lambda wait: (seconds.append if threading.get_ident() == mine else sleep)(wait))
    return seconds


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The longest first, so that no process works alone at the end.
    items.sort(
        key=lambda item: next((n for n, tier in enumerate(LONGEST) if item.nodeid.startswith(tier)), len(LONGEST))
    )


def pytest_collection_finish() -> None:
    """The modules, moto's and AWS's models among them, are a large heap that stays: looking through it again and again
    takes up to a third of the processor time of the functions' tests.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Used with `--dist loadfile`."""
    from xdist.scheduler import LoadFileScheduling

    class ByPlace(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            tier = next((tier for tier in WHOLE_TIERS if file.startswith(tier)), file)
            return OF_THEIR_OWN[0] if file in OF_THEIR_OWN else tier

    return ByPlace(config, log)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: Any) -> Iterator[None]:
    """Prints at the end what this machine could not test."""
    yield
    reasons = {
        str(report.longrepr[2]).removeprefix("Skipped: ") for report in terminalreporter.stats.get("skipped", [])
    }
    for reason in sorted(reason for reason in reasons if reason.startswith("NOT TESTED")):
        terminalreporter.write_sep("!", red=True, bold=True)
        terminalreporter.write_line(reason, red=True, bold=True)
