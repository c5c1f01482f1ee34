"""The dashboard is JSON once its variables are replaced, no widget covers another, and its own metrics are emitted."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def widgets() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(re.sub(r"\$\{[A-Za-z:.]+\}", "x", body()))["widgets"]
    return found


def body() -> str:
    """The dashboard of the assembled template, which ends its resources."""
    text = (ROOT / "template.yaml").read_text("utf-8").partition("DashboardBody: !Sub |\n")[2]
    return text.partition("\nOutputs:")[0]


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


def test_the_dashboard_shows_every_function_and_every_machine() -> None:
    for folder in sorted(path.parent.name for path in (ROOT / "functions").glob("*/app.py")):
        name = "".join(word.capitalize() for word in folder.split("_"))
        for metric in ("Errors", "Throttles"):
            assert f'["AWS/Lambda", "{metric}", "FunctionName", "${{{name}Function}}"]' in body(), folder
    for path in (ROOT / "statemachines").glob("*.asl.json"):
        assert f"${{{path.name.partition('.')[0].capitalize()}StateMachine}}" in body()


def test_the_metrics_of_answers_and_of_the_model_server_are_emitted() -> None:
    serving = (ROOT / "serving" / "metrics.py").read_text("utf-8")
    assert '"NcfRecommender/Serving", "QueueDepth"' in body() and '"Overloaded"' in body()
    for name in ("NcfRecommender/Serving", "QueueDepth", "Overloaded"):
        assert f'"{name}"' in serving
    recommend = (ROOT / "functions" / "recommend" / "app.py").read_text("utf-8")
    assert 'count("RecommendationServed")' in recommend and 'MetricName=\\"RecommendationServed\\"' in body()
