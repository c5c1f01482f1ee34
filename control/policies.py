"""The gate's policy: the one in force, what a draft changes in it, and how it is published."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts import documents, schemas
from control.actions import Action, Call, unchanged_since
from control.connection import Connection
from control.rules import read_object

KEY = "policy/gate.json"
PARAMETER = "GatePolicy"


@dataclass(frozen=True)
class InForce:
    """The policy that the next verdict is made by; `source` says where it is written."""

    policy: Mapping[str, Any]
    source: str
    etag: str | None = None
    """That of the object KEY, whose content is read; None if it is missing."""


@dataclass(frozen=True)
class Change:
    """A field of the policy that a draft changes; None where there is no limit."""

    field: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.field}: {_shown(self.before)} → {_shown(self.after)}"


def in_force(connection: Connection) -> InForce:
    """The policy of the bucket, else the one of the template's parameter. Raises Unfit if the parameter is no JSON
    object.
    """
    kept = read_object(connection, KEY)
    if kept is not None and kept.document:
        return InForce(kept.document, KEY, kept.etag)
    stack = connection.client("cloudformation").describe_stacks(StackName=connection.stack)["Stacks"][0]
    given = {one["ParameterKey"]: one["ParameterValue"] for one in stack.get("Parameters", [])}
    policy = documents.read_object(given.get(PARAMETER) or "{}", PARAMETER)
    return InForce(policy, f"the parameter {PARAMETER}", kept.etag if kept is not None else None)


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Differences once both have their defaults, field by field, by name."""
    old, new = (_flat(schemas.defaults(dict(policy), "policy")) for policy in (before, after))
    names = sorted(old.keys() | new.keys())
    return [Change(name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)]


def editor_schema() -> dict[str, Any]:
    """The policy's schema without the name of its dialect, which the checker in the browser does not know."""
    return {name: value for name, value in schemas.load("policy").items() if name != "$schema"}


def draft_in(content: Mapping[str, Any]) -> dict[str, Any]:
    """The policy in what the JSON editor gives: its tree as `json`, or its text. Raises Unfit with a sentence for each
    wrong field.
    """
    found = content["json"] if "json" in content else documents.read(str(content.get("text", "")), "the draft policy")
    schemas.check(found, "policy", "the draft policy")
    return dict(found)


def publish(bucket: str, current: InForce, draft: Mapping[str, Any]) -> Action:
    """The action that puts `draft` in force, if the policy is still the `current` one. Raises Unfit with a sentence for
    each wrong field.
    """
    schemas.check(dict(draft), "policy", "the draft policy")
    differing = changes(current.policy, draft)
    words = [str(change) for change in differing] or ["No limit changes."]
    if current.source == KEY:
        back = f"To go back, restore the version of {KEY} before this one: the bucket keeps versions."
    else:
        back = f"To go back, delete {KEY}: then {current.source} is in force again."
    return Action(
        name="publish the policy",
        title=f"Put this policy in force instead of {current.source}?",
        consequences=(
            *words,
            "Every run that the gate judges from now on is judged by it; verdicts already given and the serving model "
            "stay as they are.",
            back,
        ),
        calls=(
            Call(
                "s3",
                "put_object",
                {
                    "Bucket": bucket,
                    "Key": KEY,
                    "Body": json.dumps(dict(draft), indent=2, sort_keys=True).encode(),
                    "ContentType": "application/json",
                    **unchanged_since(current.etag),
                },
            ),
        ),
        needs_reason=True,
        facts={"changes": [str(change) for change in differing]},
    )


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, item in value.items():
        if isinstance(item, Mapping):
            found |= _flat(item, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = item
    return found


def _shown(value: Any) -> str:
    return "no limit" if value is None else json.dumps(value)
