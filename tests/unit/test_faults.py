"""Every fault in docs/faults.md is held by a test."""

from __future__ import annotations

import pytest

from tests import faults


def test_every_fault_has_a_test_and_every_mark_a_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert faults.main() == 0, capsys.readouterr().out


def test_the_table_is_read_whole() -> None:
    rows = [line for line in faults.DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert len(faults.listed()) == len([row for row in rows if not row.startswith("| id")]) > 40
