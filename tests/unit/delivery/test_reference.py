"""The reference, docs/reference/, follows its sources, and what is missing in one of them is refused."""

from __future__ import annotations

import argparse
import ast
import json
import re
from pathlib import Path

import pytest

from delivery.assembly import __main__ as assembly
from delivery.assembly import commands, files, meanings, pages, reference, sources
from delivery.assembly.files import SourceError
from shared import events
from tests.unit.delivery.test_assembly import copy, replace

__all__ = ["copy"]  # fixture

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
REFERENCE = ROOT / "docs" / "reference"

CHANGES = [
    ("template/parameters.yaml", "MaxValue: 900", "MaxValue: 901", "parameters.md"),
    ("samconfig.toml", "LogRetentionDays=7", "LogRetentionDays=14", "parameters.md"),
    ("template.yaml", "Description: Queue of events and calls", "Description: Queue of calls", "parameters.md"),
    ("template.yaml", "Threshold: 0.2", "Threshold: 0.3", "alarms.md"),
    ("template.yaml", "wildcard: raw/*/_SUCCESS", "wildcard: raw/*/_DONE", "events.md"),
    ("functions/shared/events.py", '"TrainingCompleted"', '"TrainingEnded"', "events.md"),
    ("functions/recommend/app.py", 'add_dimension(name="list"', 'add_dimension(name="which"', "metrics.md"),
    ("serving/metrics.py", '"QueueDepth": "Count"', '"QueueDepth": "None"', "metrics.md"),
    ("functions/shared/records.py", "trainingAttempt: NotRequired[int]", "tries: NotRequired[int]", "ledger.md"),
    ("docs/reference/openapi.json", '"maximum number of items"', '"how many"', "api.md"),
    ("docs/reference/examples.json", '"source": "related"', '"source": "popular"', "api.md"),
    ("Makefile", "## format the code", "## format", "cli.md"),
]


@pytest.mark.parametrize(("source", "old", "new", "page"), CHANGES, ids=[f"{one[0]}-{one[3]}" for one in CHANGES])
def test_a_changed_source_changes_its_page(copy: Path, source: str, old: str, new: str, page: str) -> None:
    assert files.outdated(copy, reference.page(copy, page)) == []
    replace(copy / source, old, new)
    assert files.outdated(copy, reference.page(copy, page)) == [f"docs/reference/{page}"]


def test_check_names_the_page_and_a_sentence_by_hand_stays(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replace(copy / "Makefile", "## format the code", "## format all code")
    replace(copy / "docs/reference/cli.md", "# Commands\n", "# All commands\n")
    assert assembly.main(["--check"], copy) == 1
    assert capsys.readouterr().err == "docs/reference/cli.md is not current: run `make assemble`\n"
    assert assembly.main([], copy) == 0
    page = (copy / "docs/reference/cli.md").read_text("utf-8")
    assert page.startswith("# All commands\n")
    assert "| `make format` | format all code |\n" in page


def test_a_metric_needs_a_meaning_and_a_meaning_its_metric(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = copy / "functions/write_report/app.py"
    replace(app, '"ReportWritten"', '"PageWritten"')
    with pytest.raises(
        SourceError, match=r"^functions/write_report/app.py: METRICS in meanings.py has no PageWritten$"
    ):
        sources.metrics(copy)
    monkeypatch.setitem(meanings.METRICS, "PageWritten", "A page was written")
    with pytest.raises(SourceError, match=r"^no function sends ReportWritten, which METRICS in meanings.py has$"):
        sources.metrics(copy)
    monkeypatch.delitem(meanings.METRICS, "ReportWritten")
    assert "| `PageWritten` |  | `write_report` | A page was written |\n" in sources.metrics(copy)


def test_a_program_has_its_arguments_and_those_of_its_commands() -> None:
    top = argparse.ArgumentParser(prog="python -m shop", description="sell things")
    added = top.add_subparsers()
    command = added.add_parser("sell", help="sell an item", epilog="example:\n  python -m shop sell 7")
    command.add_argument("item", metavar="ITEM", help="its id")
    command.add_argument("-p", "--price", type=float, default=2.5, help="in euros")
    command.add_argument("--to", choices=["north", "south"], required=True, help="region of <ITEM> | none")
    command.add_argument("--gift", action="store_true", help="wrap it")
    assert commands.program(top).splitlines() == [
        "## python -m shop",
        "",
        "Sell things.",
        "",
        "### python -m shop sell",
        "",
        "Sell an item.",
        "",
        "```sh",
        "python -m shop sell 7",
        "```",
        "",
        "| argument | value | meaning |",
        "|---|---|---|",
        "| `ITEM` |  | its id |",
        "| `-p`, `--price` | `PRICE` | in euros (default: 2.5) |",
        "| `--to`, required | `north`, `south` | region of &lt;ITEM> \\| none |",
        "| `--gift` |  | wrap it |",
    ]


def test_a_place_without_a_table_and_a_table_without_a_place_are_refused(tmp_path: Path) -> None:
    page = tmp_path / "docs/reference/shop.md"
    page.parent.mkdir(parents=True)
    page.write_text("# Shop\n\n<!-- table: items -->\nold\n<!-- end -->\n\nThe end.\n", "utf-8")
    assert pages.filled(tmp_path, "shop.md", {"items": "new\n"}) == {
        "docs/reference/shop.md": "# Shop\n\n<!-- table: items -->\n\nnew\n\n<!-- end -->\n\nThe end.\n"
    }
    for tables in ({}, {"items": "new", "people": "none"}):
        with pytest.raises(SourceError, match=r"^docs/reference/shop.md has places for items; the tables are "):
            pages.filled(tmp_path, "shop.md", tables)


def test_the_index_has_every_page() -> None:
    index = (REFERENCE / "index.md").read_text("utf-8")
    missing = {path.name for path in REFERENCE.glob("*.md")} - {"index.md"} - set(re.findall(r"\]\(([^)]+)\)", index))
    assert missing == set()


def test_the_page_has_the_fields_of_the_events_that_the_application_sends() -> None:
    page = (REFERENCE / "events.md").read_text("utf-8")
    table = page.partition("| field of `detail` |")[2].partition("\n\n")[0]
    sent = json.loads(events.entry("ncf", events.RUN_FAILED, "r", "v", ["why"])["Detail"])
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(sent)


def test_every_attribute_that_the_ledger_writes_is_in_a_record() -> None:
    described = set(re.findall(r"^\| `(\w+)` \|", sources.ledger(ROOT), re.MULTILINE)) | {"kind"}
    written = {
        keyword.arg
        for path in (ROOT / "functions" / "shared").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("_update", "_replace")
        for keyword in node.keywords
        if keyword.arg
    }
    assert len(written) > 30
    assert written - described == set()
