"""The schemas define the check, and errors are sentences."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import limits, names, schemas
from contracts.documents import Unfit
from shared import rules

ROOT = Path(__file__).resolve().parents[3]
RULES: dict[str, Any] = {"schemaVersion": "1.0"}


def reasons(document: Any, name: str, called: str = "it.json") -> list[str]:
    try:
        schemas.check(document, name, called)
    except Unfit as error:
        return error.reasons
    return []


def strings(schema: Any, key: str) -> list[str]:
    """Every value of `key` in a schema."""
    if isinstance(schema, list):
        return [found for part in schema for found in strings(part, key)]
    if not isinstance(schema, dict):
        return []
    own = [schema[key]] if isinstance(schema.get(key), str) else []
    return own + [found for part in schema.values() for found in strings(part, key)]


@pytest.mark.parametrize("name", schemas.NAMES)
def test_every_schema_is_one_and_its_patterns_take_ascii_digits_alone(name: str) -> None:
    schema = schemas.load(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert not [pattern for pattern in strings(schema, "pattern") if "\\d" in pattern or "\\w" in pattern]


def test_no_schema_is_forgotten() -> None:
    assert {path.name for path in (ROOT / "contracts").glob("*.json")} == {f"{n}.schema.json" for n in schemas.NAMES}


def test_the_schemas_hold_the_same_patterns_and_limits_as_the_code() -> None:
    versions = [p for name in schemas.NAMES for p in strings(schemas.load(name), "pattern") if p.startswith("^v")]
    assert versions and set(versions) == {f"^{names.DATASET_VERSION.pattern}$"}
    digests = [p for name in schemas.NAMES for p in strings(schemas.load(name), "pattern") if "{64}" in p]
    assert digests and set(digests) == {f"^{names.SHA256.pattern}$"}
    fields = schemas.load("rules")["properties"]
    assert fields["schemaVersion"]["const"] == rules.SCHEMA_VERSION
    assert fields["deny"]["maxItems"] == fields["boosts"]["maxProperties"] == limits.RULE_ITEMS
    assert fields["boosts"]["additionalProperties"]["maximum"] == limits.BOOST
    assert fields["categoryCaps"]["maxProperties"] == limits.CATEGORIES
    assert fields["categoryCaps"]["additionalProperties"]["maximum"] == limits.CATEGORY_CAP


@pytest.mark.parametrize(
    "version", ["v٢٠٢٦٠١٠٢t030405z-0a1b2c3d", "v20260102t030405z-0A1B2C3D", "v20260102t030405z-0a1b2c3d\n"]
)
def test_a_version_has_ascii_digits_and_nothing_after_them(version: str) -> None:
    assert names.DATASET_VERSION.fullmatch(version) is None
    assert names.RUN_ID.fullmatch(f"{version}-r1") is None
    assert names.RUN_ID.fullmatch(f"{names.EXAMPLE_VERSION}-r١") is None
    found = reasons({"datasetVersion": version}, "manifest")
    assert any(reason.startswith("it.json: datasetVersion must be a dataset version such as v2026") for reason in found)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"deny": [""]}, "deny[0] must be a string that is not empty, not ''"),
        ({"deny": ["\ud800"]}, "deny[0] must be a string that is not empty, not text that is not valid Unicode"),
        ({"boosts": {"a.b{x}": True}}, "boosts.a.b{x} must be a number above 0 and at most 100, not True"),
        ({"boosts": {"a\nb": 0}}, "boosts.a?b must be a number above 0 and at most 100, not 0"),
        ({"boosts": {"a": 1e400}}, "boosts.a must be a number above 0 and at most 100, not inf"),
        ({"boosts": {"a": float("nan")}}, "boosts.a must be a number above 0 and at most 100, not nan"),
        ({"boosts": {"a": 10**400}},
         "boosts.a must be a number above 0 and at most 100, not a number beyond the range of a double"),
        ({"boosts": {"": 1}}, "boosts has a key that is not a string that is not empty"),
        ({"boosts": {"\ud800": 1}},
         "boosts.? must be a number above 0 and at most 100, not a value under a key that is not valid Unicode"),
        ({"boosts": dict.fromkeys(map(str, range(1001)), 1)},
         "boosts must be an object of at most 1000 entries, not 1001 entries"),
        ({"categoryCaps": {"Drama": -1}}, "categoryCaps.Drama must be an integer from 0 to 100, not -1"),
    ],
)  # fmt: skip
def test_a_sentence_has_the_document_the_field_the_limit_and_the_value(fields: dict[str, Any], reason: str) -> None:
    assert reasons({**RULES, **fields}, "rules", "rules/rules.json") == [f"rules/rules.json: {reason}"]


def test_all_reasons_are_told_up_to_a_number() -> None:
    found = reasons({**RULES, "deny": [0] * 100, "denied": []}, "rules")
    assert len(found) == schemas.MAXIMUM_REASONS + 1 and found[-1] == "71 more"


@pytest.mark.parametrize(("document", "words"), [([], "a list"), (None, "null"), ("x", "a string"), (1.5, "a number")])
def test_what_is_no_object_is_refused(document: Any, words: str) -> None:
    assert reasons(document, "rules") == [f"it.json must be a JSON object, not {words}"]


def test_a_document_of_a_program_may_be_of_a_later_minor_version_and_have_more_fields() -> None:
    found = reasons({"schemaVersion": "2.9", "more": 1, "protocol": {"more": 1}}, "evaluation")
    assert not [reason for reason in found if "schemaVersion" in reason or "more" in reason]
    assert "it.json: schemaVersion must be 2.x, not '1.0'" in reasons({"schemaVersion": "1.0"}, "evaluation")
    assert "it.json: protocol.k is missing; it must be an integer of at least 1" in found


def test_every_default_of_a_schema_keeps_it() -> None:
    filled = schemas.defaults({}, "policy")
    assert reasons(filled, "policy") == [] and filled["baselineGains"]["popularity"]["fullNdcg"] == 0.05
    assert schemas.load("policy")["properties"]["floors"].keys() >= {"properties"}, "the schema itself is untouched"


policies = st.dictionaries(
    st.sampled_from([*schemas.load("policy")["properties"], "other"]),
    st.integers(-2, 2)
    | st.floats(allow_nan=False)
    | st.dictionaries(
        st.sampled_from(["sampledNdcg", "coverage", "largestExposure"]), st.floats(-1.1, 1.1) | st.text(max_size=2)
    ),
    max_size=3,
)


@given(policies)
def test_the_check_refuses_what_another_validator_refuses(document: dict[str, Any]) -> None:
    peer = jsonschema.Draft202012Validator(schemas.load("policy"))
    finite = not re.search(r"Infinity", json.dumps(document))
    assert bool(reasons(document, "policy")) == (not finite or not peer.is_valid(document))


def test_nothing_but_the_standard_library_is_imported_before_a_document_is_checked() -> None:
    code = (
        "import sys; from contracts import documents, golden, limits, lines, names, schemas, values;"
        "schemas.load('rules');"
        "found = {name.partition('.')[0] for name in sys.modules};"
        "print(sorted(found - sys.stdlib_module_names - {'__main__', 'contracts'}))"
    )
    ran = subprocess.run([sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"],
                         capture_output=True, text=True, check=True)  # fmt: skip
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("attempt", "taken"), [("1", True), ("9999", True), ("0", False), ("01", False), ("10000", False)]
)
def test_a_run_is_one_of_9999_attempts_at_a_version(attempt: str, taken: bool) -> None:
    match = names.RUN_ID.fullmatch(f"{names.EXAMPLE_VERSION}-r{attempt}")
    assert (match.groups() == (names.EXAMPLE_VERSION, attempt)) if match else not taken
