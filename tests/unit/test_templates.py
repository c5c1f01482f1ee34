"""GitHub asks for the same as GitLab: the templates are kept once in words, twice in files."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("gitlab", "github"),
    [
        ("issue_templates/Bug.md", "ISSUE_TEMPLATE/bug.md"),
        ("issue_templates/Proposal.md", "ISSUE_TEMPLATE/proposal.md"),
        ("merge_request_templates/Default.md", "pull_request_template.md"),
    ],
)
def test_both_places_ask_the_same(gitlab: str, github: str) -> None:
    theirs = (ROOT / ".github" / github).read_text("utf-8")
    assert theirs.rpartition("---\n")[2] == (ROOT / ".gitlab" / gitlab).read_text("utf-8")
