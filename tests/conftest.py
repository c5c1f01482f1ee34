"""Which tests stay together when several processes share them (`make test`): a tier that builds or deploys once for all
of its tests, and otherwise the tests of one file.
"""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent
WHOLE_TIERS = ("e2e", "infrastructure")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The longest first: the other processes share the rest meanwhile.
    items.sort(key=lambda item: _tier(item) != "e2e")
    for item in items:
        tier = _tier(item)
        item.add_marker(pytest.mark.xdist_group(tier if tier in WHOLE_TIERS else str(item.path.relative_to(TESTS))))


def _tier(item: pytest.Item) -> str:
    return item.path.relative_to(TESTS).parts[0]
