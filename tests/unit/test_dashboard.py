"""The dashboard is JSON once its variables are replaced, no widget covers another, and its own metrics are emitted."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def widgets() -> list[dict[str, Any]]:
    text = (ROOT / "template" / "watch.yaml").read_text("utf-8").partition("DashboardBody: !Sub |\n")[2]
    found: list[dict[str, Any]] = json.loads(re.sub(r"\$\{[A-Za-z:.]+\}", "x", text))["widgets"]
    return found


def test_no_widget_covers_another() -> None:
    def overlap(one: dict[str, Any], other: dict[str, Any], place: str, size: str) -> bool:
        return bool(one[place] < other[place] + other[size] and other[place] < one[place] + one[size])

    for one, other in combinations(widgets(), 2):
        assert not (overlap(one, other, "x", "width") and overlap(one, other, "y", "height")), (one, other)


def test_the_metrics_of_outcomes_are_emitted_with_these_dimensions() -> None:
    code = (ROOT / "functions" / "count_outcomes" / "app.py").read_text("utf-8")
    text = json.dumps([one for one in widgets() if str(one["properties"].get("title")).startswith("Recommendations")])
    for name in ("Clicks", "Impressions", "variant", "placement"):
        assert f'"{name}' in code and name in text, name
