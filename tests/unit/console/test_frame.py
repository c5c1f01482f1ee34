"""The helpers that pages share."""

from typing import Any

import pytest

from console.frame import NAVIGATION, csv_of


def test_a_table_is_saved_as_csv_and_no_text_becomes_a_formula() -> None:
    rows: list[dict[str, Any]] = [
        {"run": "v1-r1", "ndcg": -0.5, "why": '=HYPERLINK("x")'},
        {"run": 'a,"b"', "ndcg": None, "why": "fine"},
    ]
    assert csv_of(rows, ["run", "ndcg", "why"]) == (
        'run,ndcg,why\r\nv1-r1,-0.5,"\'=HYPERLINK(""x"")"\r\n"a,""b""",,fine\r\n'
    )


@pytest.mark.parametrize(
    ("path", "title"),
    [("/", "Now"), ("/runs/{run_id:path}", "Runs"), ("/executions/{machine}/{name:path}", "Runs"), ("/api", "API")],
)
def test_one_entry_of_the_navigation_is_that_of_the_page(path: str, title: str) -> None:
    assert [entry.title for entry in NAVIGATION if entry.is_of(path)] == [title]
