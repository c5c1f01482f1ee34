"""The version stands in pyproject.toml alone; the newest release in the changelog is that one."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def changelog() -> str:
    return (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_newest_release_in_the_changelog_is_the_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    releases = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d{2}-\d{2}$", changelog(), re.M)
    assert releases and releases[0] == version


def test_the_changelog_has_one_short_line_per_change() -> None:
    headings = r"## \[.*|### (Added|Changed|Deprecated|Removed|Fixed|Security)"
    lines = changelog().partition("\n## ")[2].splitlines()
    wrong = [line for line in lines if line and not re.fullmatch(rf"{headings}|\[Unreleased\]|- .{{1,140}}", line)]
    assert wrong == []
