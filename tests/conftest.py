"""Which tests stay together when several processes share them (`make test`): a tier that builds or deploys once for all
of its tests, and otherwise the tests of one file.
"""

from __future__ import annotations

from typing import Any

import pytest

WHOLE_TIERS = ("tests/e2e/", "tests/infrastructure/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The longest first: the other process has the rest meanwhile.
    items.sort(key=lambda item: not item.nodeid.startswith("tests/e2e/"))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Used with `--dist loadfile`."""
    from xdist.scheduler import LoadFileScheduling

    class ByPlace(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return next((tier for tier in WHOLE_TIERS if file.startswith(tier)), file)

    return ByPlace(config, log)
