"""Values from AWS are text: a script in an id, a reason or an error is shown as it is written, and runs nowhere."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer
from playwright.sync_api import expect

from tests.browser.local_stack import LocalStack
from tests.browser.visitor import PAGES, TRACE, Visitor

SCRIPT = "<img src=x onerror=\"document.title='hacked'\"><script>document.title='hacked'</script>"
MERMAID = 'A"]; click A call alert()'
LONG = "x" * 10_000
FORMULA = '=HYPERLINK("https://elsewhere.example")'
REASONS = (SCRIPT, MERMAID, "{{ 7 * 7 }} ${7*7}", "[a link](javascript:alert(1))", LONG)
RUN = f"v20260101t000000z-deadbeef-r1{SCRIPT}"


@pytest.fixture(scope="module", autouse=True)
def hostile(stack: LocalStack) -> Iterator[None]:
    """A run whose id, reasons and error were written by an enemy."""
    client, table = stack.client("dynamodb"), stack.outputs["RunsTableName"]
    now = datetime.now(UTC).isoformat()
    records: list[dict[str, Any]] = [
        {
            "pk": f"RUN#{RUN}",
            "sk": "STATE",
            "kind": "RUN",
            "status": "REJECTED",
            "updatedAt": now,
            "runId": RUN,
            "datasetVersion": SCRIPT,
            "reasons": list(REASONS),
            "error": SCRIPT,
            "name": LONG,
        },
        {
            "pk": f"RUN#{RUN}",
            "sk": "DECISION#GATE",
            "kind": "DECISION",
            "updatedAt": now,
            "runId": RUN,
            "reasons": list(REASONS),
            "details": json.dumps({"reasons": list(REASONS)}),
        },
        {
            "pk": f"ACTION#{SCRIPT}",
            "sk": "STATE",
            "kind": "ACTION",
            "updatedAt": now,
            "status": "FAILED",
            "name": FORMULA,
            "who": SCRIPT,
            "why": LONG,
            "calls": [MERMAID],
            "facts": json.dumps({SCRIPT: SCRIPT}),
            "error": SCRIPT,
        },
    ]
    serializer = TypeSerializer()
    for record in records:
        client.put_item(TableName=table, Item={name: serializer.serialize(value) for name, value in record.items()})
    yield
    for record in records:
        client.delete_item(TableName=table, Key={"pk": {"S": record["pk"]}, "sk": {"S": record["sk"]}})


def assert_unharmed(visitor: Visitor) -> None:
    page = visitor.page
    assert "hacked" not in page.title()
    assert page.locator("main img[src=x], main script").count() == 0
    assert visitor.errors == []
    assert not TRACE.search(visitor.text)


@pytest.mark.parametrize("path", PAGES)
def test_a_hostile_record_is_text_on_every_page(reader: Visitor, path: str) -> None:
    reader.open(path)
    assert_unharmed(reader)
    reader.page.set_viewport_size({"width": 400, "height": 800})
    assert not reader.is_wider_than_window(), "a name of 10,000 characters breaks the page"


def test_the_table_of_runs_shows_the_hostile_id_as_it_is_written(reader: Visitor) -> None:
    page = reader.open("/runs")
    expect(page.get_by_role("main")).to_contain_text("<img src=x onerror")
    assert_unharmed(reader)


def test_no_table_is_exported_with_a_text_that_a_spreadsheet_would_calculate(reader: Visitor) -> None:
    page = reader.open("/history")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export as CSV: Changes by people").click()
    rows = list(csv.reader(io.StringIO(download.value.path().read_text())))
    exported = [cell for row in rows for cell in row if "HYPERLINK" in cell]
    assert exported and all(cell.startswith("'=") for cell in exported), exported


@pytest.mark.parametrize(
    "path",
    [
        "/runs/%3Cscript%3Edocument.title='hacked'%3C%2Fscript%3E",
        "/runs/no-such-run",
        "/gate?run=%3Cimg%20src%3Dx%20onerror%3Ddocument.title%3D%27hacked%27%3E",
        "/compare?runs=%3Cimg%20src%3Dx%20onerror%3Ddocument.title%3D%27hacked%27%3E",
        "/explore?user=%3Cimg%20src%3Dx%20onerror%3Ddocument.title%3D%27hacked%27%3E",
        f"/explore?user={LONG}",
        "/no-such-page",
    ],
)
def test_a_hostile_address_is_answered_in_words(reader: Visitor, path: str) -> None:
    page = reader.page
    page.goto(f"{reader.console.address}{path}")
    page.wait_for_timeout(2500)
    assert "hacked" not in page.title()
    assert page.locator("img[src=x]").count() == 0
    text = page.locator("body").inner_text()
    assert text.strip() and not TRACE.search(text)
    assert reader.errors == []
