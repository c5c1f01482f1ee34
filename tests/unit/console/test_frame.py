"""The helpers that pages share."""

from typing import Any

from console.frame import csv_of


def test_a_table_is_saved_as_csv_and_no_text_becomes_a_formula() -> None:
    rows: list[dict[str, Any]] = [
        {"run": "v1-r1", "ndcg": -0.5, "why": '=HYPERLINK("x")'},
        {"run": 'a,"b"', "ndcg": None, "why": "fine"},
    ]
    assert csv_of(rows, ["run", "ndcg", "why"]) == (
        'run,ndcg,why\r\nv1-r1,-0.5,"\'=HYPERLINK(""x"")"\r\n"a,""b""",,fine\r\n'
    )
