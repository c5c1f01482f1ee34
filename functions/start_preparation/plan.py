"""The source, version and parameters of a preparation, and its next attempt. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from contracts import documents, schemas
from contracts.documents import Unfit
from contracts.limits import DROP_BYTES, PARAMETER_CHARACTERS, WEIGHTS_CHARACTERS
from contracts.names import DROP_FILE, LIVE_FOLDER, MARKER_KEY
from contracts.unions import APPEND, READING
from contracts.values import is_number, shown
from shared import names
from shared.errors import InvalidInput
from shared.records import UNUSABLE, Dataset, DatasetStatus

# Parameters of `preprocess.py` that an operator or an execution may set; the platform sets the others.
PARAMETERS = {
    "format": "--format",
    "userColumn": "--user-column",
    "itemColumn": "--item-column",
    "timestampColumn": "--timestamp-column",
    "timestampFormat": "--timestamp-format",
    "eventTypeColumn": "--event-type-column",
    "weightColumn": "--weight-column",
    "eventIdColumn": "--event-id-column",
    "sessionIdColumn": "--session-id-column",
    "ignoreTypes": "--ignore-types",
    "ownBoughtTypes": "--own-bought-types",
    "eventTypes": "--event-types",
    "eventWeights": "--event-weights",
    "leastValue": "--least-value",
    "values": "--values",
    "halfLifeDays": "--half-life-days",
    "boughtTypes": "--bought-types",
    "minimumUserInteractions": "--minimum-user-interactions",
    "minimumItemInteractions": "--minimum-item-interactions",
    "maximumBadShare": "--maximum-bad-share",
    "refuseWarnings": "--refuse-warnings",
    "split": "--split",
    "testShare": "--test-share",
    "testDays": "--test-days",
    "historyDays": "--history-days",
    "compactAbove": "--compact-above",
    "absentItems": "--absent-items",
    "availableColumn": "--available-column",
    "withdrawnColumn": "--withdrawn-column",
}


@dataclass(frozen=True)
class Preparation:
    """One preparation: `version` is written from `source`; the keys of `parameters` are those of PARAMETERS.

    `drop`: the folder below `raw/` that is the source, None for a source elsewhere. `is_union`: other drops are read
    with the source, an append's history or live events.
    """

    version: str
    source: str
    items: str | None = None
    parameters: dict[str, str] = field(default_factory=dict)
    drop: str | None = None
    is_append: bool = False
    is_union: bool = False


def from_event(
    event: dict[str, Any],
    data_bucket: str,
    default_source: str,
    default_parameters: dict[str, Any],
    read: Callable[[str], bytes | None] = lambda key: None,
) -> Preparation:
    """Read the preparation in an execution's input, and the parameters in the drop's own `_drop.json`.

    `read` returns the object with a key in the data bucket, None if it does not exist. The input's parameters go before
    the drop's, and these before `default_parameters`. Raises InvalidInput naming the invalid field.
    """
    trigger = event.get("trigger")
    version = names.preparation_version(_text(event, "executionArn"), _text(event, "startTime"), trigger)
    source = event.get("source") or (_dropped(trigger, data_bucket) if trigger else default_source)
    if not source:
        raise InvalidInput(
            "source is missing: give it in the execution's input, or set the template's PreparationSource"
        )
    given = event.get("parameters") or {}
    if not isinstance(given, dict):
        raise InvalidInput(f"parameters must be an object, not {type(given).__name__}")
    items, source = event.get("items"), _uri(source, "source")
    key = _drop_key(source, data_bucket)
    said = said_by(read(key), key) if key else {}
    drop = key.removeprefix("raw/").removesuffix(f"/{DROP_FILE}") if key else None
    defaults = _values(default_parameters, "PreparationParameters")
    if drop and LIVE_FOLDER.fullmatch(drop):  # its columns are not those of the shop's files
        defaults = {name: value for name, value in defaults.items() if name not in READING}
    parameters = {
        **defaults,
        **{name: str(value) for name, value in said.items() if name != "kind"},
        **_values(given, "parameters"),
    }
    return Preparation(
        version=version,
        source=source,
        items=_uri(items, "items") if items is not None else None,
        parameters=dict(sorted(parameters.items())),
        drop=drop,
        is_append=said.get("kind") == APPEND,
    )


def attempt_of(state: Dataset | None, execution_arn: str) -> int | None:
    """Return the next attempt at this version, given its ledger state; None if another execution prepares it or it is
    already prepared.
    """
    if state is None:
        return 1
    attempt = int(state.get("attempt", 0))
    if state["status"] == DatasetStatus.PREPARING:
        return attempt if state.get("executionArn") == execution_arn else None
    return attempt + 1 if state["status"] in UNUSABLE else None


def _dropped(trigger: dict[str, Any], data_bucket: str) -> str:
    bucket, key = trigger["bucket"], trigger["key"]
    if bucket != data_bucket:
        raise InvalidInput(f"trigger.bucket must be {data_bucket}, not {bucket[:120]!r}")
    if not MARKER_KEY.fullmatch(key):
        raise InvalidInput(f"trigger.key must look like raw/<drop>/_SUCCESS, not {key[:120]!r}")
    return f"s3://{bucket}/{key.removesuffix('_SUCCESS')}"


def _drop_key(source: str, data_bucket: str) -> str | None:
    """The key of the drop's own document, if the source is a folder below `raw/` of the data bucket."""
    folder = source.removeprefix(f"s3://{data_bucket}/").rstrip("/")
    return f"{folder}/{DROP_FILE}" if folder != source and folder.startswith("raw/") else None


def said_by(content: bytes | None, key: str) -> dict[str, Any]:
    """Return what the drop's document `key` says: parameters and `kind`; nothing without one. Raises InvalidInput."""
    if content is None:
        return {}
    if len(content) > DROP_BYTES:
        raise InvalidInput(f"{key} is larger than {DROP_BYTES} bytes")
    try:
        document = documents.read_object(content, key, has_schema=True)
        schemas.check(document, "drop", key)
    except Unfit as error:
        raise InvalidInput(str(error)) from error
    said = {name: value for name, value in document.items() if name != "schemaVersion"}
    return {
        name: value if name == "kind" else _value(value, name, f"{key}.{name[:60]}") for name, value in said.items()
    }


def default_values(given: dict[str, Any]) -> dict[str, str]:
    """Return the template's PreparationParameters as texts. Raises InvalidInput."""
    return _values(given, "PreparationParameters")


def _text(event: dict[str, Any], name: str) -> str:
    value = event.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidInput(f"{name} must be a non-empty string, not {str(value)[:120]!r}")
    return value


def _uri(value: object, name: str) -> str:
    if not isinstance(value, str) or not value.startswith("s3://") or len(value) > 1024 or not value.isprintable():
        raise InvalidInput(f"{name} must be an s3:// URI of at most 1024 characters, not {str(value)[:120]!r}")
    return value


def _values(given: dict[str, Any], called: str) -> dict[str, str]:
    """Check the parameters of the document `called`: the template's PreparationParameters, or the execution's input."""
    return {name: _value(value, name, f"{called}.{name[:60]}") for name, value in given.items()}


def _value(value: object, name: str, label: str) -> str:
    if name not in PARAMETERS:
        raise InvalidInput(f"{label} is unknown; the parameters are {', '.join(PARAMETERS)}")
    most = WEIGHTS_CHARACTERS if name in ("eventWeights", "ignoreTypes", "ownBoughtTypes") else PARAMETER_CHARACTERS
    if name == "eventWeights" and isinstance(value, dict):
        value = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    if not isinstance(value, str) and not is_number(value):
        raise InvalidInput(f"{label} must be a string or a number, not {shown(value)}")
    text = str(value)
    if not 1 <= len(text) <= most or not text.isprintable() or text.startswith("-"):
        raise InvalidInput(
            f"{label} must be 1 to {most} printable characters that do not begin with '-', not {shown(text)}"
        )
    return text
