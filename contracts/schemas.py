"""The JSON Schemas of the documents, and the check of a document against its schema. Errors are sentences.

    schemas.check({"floors": {"coverage": 1.5}}, "policy", called="policy/gate.json")
    # Unfit: policy/gate.json: floors.coverage must be a number from 0 to 1, not 1.5

In documents that people write (`drop`, `policy`, `rules`) and in `bundle`, which has a digest, an unknown key is an
error. Readers of the other documents ignore unknown keys, because a later minor version may have more fields.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any, Protocol

from contracts.documents import Unfit, require_object
from contracts.values import is_number, is_unicode, printable, shown

NAMES = ("bundle", "drop", "evaluation", "event_types", "manifest", "placements", "policy", "quarantine", "rules")
CLOSED = ("bundle", "drop", "event_types", "placements", "policy", "rules")
MAXIMUM_REASONS = 30


@functools.cache
def load(name: str) -> dict[str, Any]:
    """Return the schema `name` for writers of the document. Do not modify the result."""
    from importlib import resources  # imported here, because it takes as long as the rest of this package

    text = resources.files("contracts").joinpath(f"{name}.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def check(document: Any, name: str, called: str) -> None:
    """Raise Unfit with a sentence for every violation of the schema `name` (in its form for readers) by `document`.

    `called` names the document in the sentences; with "" they have no name. In JSON 3 and 3.0 are the same number, so
    an integer may be a float.
    """
    import fastjsonschema  # imported here: most programs do not need it, and Spark does not have it

    require_object(document, called)
    try:
        _validator(name)(_checkable(document))
    except fastjsonschema.JsonSchemaValuesException as found:
        root = load(name)
        # Sorted, because the validator iterates over sets, whose order differs between processes.
        reasons = sorted({reason for error in found.errors for reason in _sentences(error, root, called)})
        left_out = [f"{len(reasons) - MAXIMUM_REASONS} more"] if len(reasons) > MAXIMUM_REASONS else []
        raise Unfit(*reasons[:MAXIMUM_REASONS], *left_out) from None


def defaults(document: dict[str, Any], name: str) -> dict[str, Any]:
    """Return `document` with the schema's defaults for missing keys, also in nested objects."""
    return _filled(document, load(name))


def allowed_values(field: dict[str, Any], root: dict[str, Any]) -> str:
    """Describe the values that the schema `field` allows, as in the sentences of `check`: `a number from 0 to 1`.

    `root` is the document's schema, which resolves a `$ref`.
    """
    return _noun(field, root)


def _filled(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    filled = dict(document)
    for name, field in schema.get("properties", {}).items():
        if field.get("type") == "object":
            filled[name] = _filled(document.get(name, {}), field)
        elif "default" in field:
            filled.setdefault(name, field["default"])
    return filled


@functools.cache
def _validator(name: str) -> Callable[[Any], Any]:
    import fastjsonschema

    schema = load(name) if name in CLOSED else _open(load(name))
    validator: Callable[[Any], Any] = fastjsonschema.compile(
        schema, use_default=False, use_formats=False, fast_fail=False
    )
    return validator


def _open(schema: Any) -> Any:
    """Return the schema for readers: it allows any minor version and unknown fields."""
    if isinstance(schema, list):
        return [_open(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    opened = {
        key: _open(part)
        for key, part in schema.items()
        if key != "propertyNames" and (key, part) != ("additionalProperties", False)
    }
    version = opened.get("properties", {}).get("schemaVersion", {})
    if "const" in version:
        major = version["const"].partition(".")[0]
        opened["properties"]["schemaVersion"] = {
            "title": f"{major}.x", "type": "string", "pattern": rf"^{major}\.[0-9]+$"
        }  # fmt: skip
    return opened


class _Odd:
    """Replaces a value that the validator would wrongly accept: a number that is not finite (NaN is not above any
    maximum) or too large for a double, and a lone surrogate, which cannot be stored.
    """

    def __init__(self, words: str) -> None:
        self._words = words

    def __repr__(self) -> str:
        return self._words


def _checkable(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: _checkable(inner) if is_unicode(name) else _Odd("a value under a key that is not valid Unicode")
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_checkable(inner) for inner in value]
    if isinstance(value, str):
        return value if is_unicode(value) else _Odd("text that is not valid Unicode")
    is_odd = isinstance(value, int | float) and not isinstance(value, bool) and not is_number(value)
    return _Odd(shown(value)) if is_odd else value


# The sentences


class _Error(Protocol):
    """The attributes used of fastjsonschema's JsonSchemaValueException."""

    name: str | None
    rule: str | None
    value: Any
    definition: Any


def _sentences(error: _Error, root: dict[str, Any], called: str) -> list[str]:
    field = printable((error.name or "data").removeprefix("data").removeprefix("."))
    prefix = f"{called}: " if called else ""
    where = f"{prefix}{field}" if field else called or "it"
    rule, definition, value = error.rule, error.definition, error.value
    if rule == "required":
        fields = definition.get("properties", {})
        inner = f"{where}." if field else prefix
        return [
            f"{inner}{name} is missing; it must be {_noun(fields.get(name, {}), root)}"
            for name in definition["required"]
            if name not in value
        ]
    if rule == "additionalProperties":
        known = definition.get("properties", {})
        return [
            f"{where} has an unknown key {printable(name)}; the keys are {', '.join(known)}"
            for name in value
            if name not in known
        ]
    if rule == "propertyNames":
        return [f"{where} has a key that is not {_noun({'type': 'string', **definition['propertyNames']}, root)}"]
    if rule == "contains":
        return [f"{where} must hold {_noun(definition['contains'], root)}"]
    size = _size(value) if rule in ("minItems", "maxItems", "minProperties", "maxProperties") else shown(value)
    return [f"{where} must be {_noun(definition, root)}, not {size}"]


def _noun(definition: dict[str, Any], root: dict[str, Any]) -> str:
    """Describe the allowed values: `a number from 0 to 1`. A `title` in the schema replaces the description."""
    if "$ref" in definition:
        place: Any = root
        for step in definition["$ref"].removeprefix("#/").split("/"):
            place = place[step]
        return _noun(place, root)
    if "title" in definition and "$schema" not in definition:  # the root's title is the document's
        return str(definition["title"])
    if "const" in definition:
        return repr(definition["const"])
    if "enum" in definition:
        return f"one of {', '.join(map(str, definition['enum']))}"
    for key in ("anyOf", "oneOf"):
        if key in definition:
            return " or ".join(_noun(part, root) for part in definition[key])
    kinds = definition.get("type", "object")
    if isinstance(kinds, list):
        return " or ".join(_noun({**definition, "type": kind}, root) for kind in kinds)
    return _NOUNS[kinds] + _bounds(definition)


_NOUNS = {
    "object": "an object",
    "array": "a list",
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


def _bounds(definition: dict[str, Any]) -> str:
    kind = definition.get("type", "object")
    if kind in ("integer", "number"):
        least, most, above = (definition.get(key) for key in ("minimum", "maximum", "exclusiveMinimum"))
        if above is not None:
            return f" above {above:g}" + (f" and at most {most:g}" if most is not None else "")
        return _between(least, most, "")
    if kind == "string":
        least, most = definition.get("minLength"), definition.get("maxLength")
        return " that is not empty" if (least, most) == (1, None) else _between(least, most, " characters")
    if kind in ("array", "object"):
        names = ("minItems", "maxItems") if kind == "array" else ("minProperties", "maxProperties")
        least, most = (definition.get(name) for name in names)
        return _between(least, most, " entries")
    return ""


def _between(least: float | None, most: float | None, unit: str) -> str:
    if least is not None and most is not None:
        return f" {'of' if unit else 'from'} {least:g} to {most:g}{unit}"
    if least is not None:
        return f" of at least {least:g}{unit}"
    return f" of at most {most:g}{unit}" if most is not None else ""


def _size(value: Any) -> str:
    return f"{len(value)} entries" if value else shown(value)
