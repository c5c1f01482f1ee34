"""The pages in docs/reference/documents/ describe every field of the schemas; a new field appears by itself."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from delivery.assembly import documents, pages
from delivery.assembly.fields import HEAD

ROOT = Path(__file__).resolve().parents[3]
SCHEMA: dict[str, Any] = {
    "title": "basket.json: what a customer bought",
    "type": "object",
    "required": ["buyer", "items"],
    "properties": {
        "buyer": {"description": "Who paid.", "type": ["string", "null"], "pattern": "^(a|b)$"},
        "items": {
            "description": "all of them",
            "type": "array",
            "minItems": 1,
            "items": {"type": "object", "properties": {"price": {"$ref": "#/$defs/price"}}},
        },
        "tags": {"description": "free words", "type": "array", "items": {"type": "string", "minLength": 1}},
        "gift": {"description": "wrap it", "type": "boolean", "default": False},
        "shops": {
            "description": "by name",
            "type": "object",
            "propertyNames": {"enum": ["north", "south"]},
            "required": ["north"],
            "additionalProperties": {"description": "one shop", "$ref": "#/$defs/shop"},
        },
    },
    "$defs": {
        "price": {"description": "in euros", "type": "number", "exclusiveMinimum": 0},
        "shop": {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}},
    },
}


def page_of(root: Path, schema: dict[str, Any]) -> str:
    (root / "contracts").mkdir(exist_ok=True)
    (root / "contracts" / "basket.schema.json").write_text(json.dumps(schema))
    return documents.assemble(root)["docs/reference/documents/basket.md"]


def fields_without_meaning(page: str) -> list[str]:
    """The fields in one table that nothing describes: neither the field itself, an object around it, the object that
    it links to, nor the page's head."""
    about, _, table = page.partition(pages.table(HEAD, ()))
    if not about.startswith("#") and about.count("\n") > 2:  # a sentence below the heading of a shared object
        return []
    rows = re.findall(r"^\| `([^`]+)` \| (.*) \| .* \| (.*) \|$", table, re.MULTILINE)
    described = [
        field for field, value, meaning in rows if meaning or value[0] == "[" or f"`{field}`" in documents.HEAD
    ]
    return [field for field, *_ in rows if not any(re.match(re.escape(whole) + r"\b", field) for whole in described)]


def test_a_field_has_its_values_its_default_and_its_meaning(tmp_path: Path) -> None:
    assert page_of(tmp_path, SCHEMA).splitlines() == [
        "# basket",
        "",
        "basket.json: what a customer bought. Source:",
        "[basket.schema.json](../../../contracts/basket.schema.json); [how to read the",
        "table](../documents.md).",
        "",
        "| field | value | default | meaning |",
        "|---|---|---|---|",
        r"| `buyer` | a string or null, matching `^(a\|b)$` | required | Who paid |",
        "| `items` | a list of at least 1 entries | required | all of them |",
        "| `items[].price` | a number above 0 |  | in euros |",
        "| `tags` | a list, each a string that is not empty |  | free words |",
        "| `gift` | true or false | false | wrap it |",
        "| `shops` | an object, each key one of north, south, with `north` |  | by name |",
        "| `shops.<key>` | [shop](#shop) |  | one shop |",
        "",
        "## shop",
        "",
        "| field | value | default | meaning |",
        "|---|---|---|---|",
        "| `city` | a string | required |  |",
    ]


def test_a_new_field_appears_by_itself(tmp_path: Path) -> None:
    page_of(tmp_path, SCHEMA)
    added = {**SCHEMA, "properties": SCHEMA["properties"] | {"note": {"description": "a word", "const": "thanks"}}}
    assert "| `note` | 'thanks' |  | a word |" in page_of(tmp_path, added)


@pytest.mark.parametrize("path", sorted((ROOT / "contracts").glob("*.schema.json")), ids=lambda path: path.name)
def test_every_field_of_a_document_has_a_meaning(path: Path) -> None:
    name = path.name.removesuffix(".schema.json")
    page = documents.assemble(ROOT)[f"docs/reference/documents/{name}.md"]
    missing = [field for section in page.split("\n## ") for field in fields_without_meaning(section)]
    assert missing == [], f"give these fields, or their object, a description in contracts/{path.name}"


def test_the_index_links_to_each_document(tmp_path: Path) -> None:
    page_of(tmp_path, SCHEMA)
    index = documents.assemble(tmp_path)["docs/reference/documents.md"]
    assert "\n## basket\n\nbasket.json: what a customer bought. [All fields](documents/basket.md).\n" in index
