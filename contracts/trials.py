"""The trial of two models, `serving/trial.json`: which two, and which share of the people gets the second one.

    {"schemaVersion": "1.0", "trialId": "ab12", "runs": {"AllTraffic": "v…-r1", "Other": "v…-r1"}, "share": 0.2}

With `endedAt` (ISO 8601 in UTC) the trial has ended, and nobody has a side. `verify` writes the document when a split
stands, `trials` moves the share; both end it. The ledger's split (`SERVING`, `SPLIT`) is what it is made from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts import documents, recent_events
from contracts.documents import Unfit
from contracts.names import RUN_ID
from contracts.values import shown

KEY = "serving/trial.json"
SCHEMA_VERSION = "1.0"
ALL_TRAFFIC, OTHER = "AllTraffic", "Other"
"""The sides, which are the endpoint's variants: the model that serves, and the second one."""
TRIAL_ID = re.compile(r"[A-Za-z0-9_.-]{1,80}")
"""The name of the rollback execution that began the trial."""
_PLACES = 10_000
_ALL = {"schemaVersion", "trialId", "runs", "share"}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A trial; `share` (0 to 1) of the people get the model of `other`, the rest that of `all_traffic`."""

    trial_id: str
    all_traffic: str
    """Run id of the model that serves."""
    other: str
    share: float
    ended_at: str = ""
    """ISO 8601; empty while the trial goes on."""

    @classmethod
    def from_json(cls, content: bytes | str, called: str = KEY) -> Trial:
        """Read the document. Raises Unfit naming the invalid field and its value."""
        document = documents.read_object(content, called)
        _require(document, called, _ALL, _ALL | {"endedAt"})
        if document["schemaVersion"] != SCHEMA_VERSION:
            raise Unfit(f"{called}: schemaVersion must be {SCHEMA_VERSION}, not {shown(document['schemaVersion'])}")
        runs = document["runs"]
        if not isinstance(runs, dict):
            raise Unfit(f"{called}: runs must be an object with {ALL_TRAFFIC} and {OTHER}, not {shown(runs)}")
        _require(runs, f"{called}: runs", {ALL_TRAFFIC, OTHER}, {ALL_TRAFFIC, OTHER})
        for name, value, form, what in (
            ("trialId", document["trialId"], TRIAL_ID, "1 to 80 letters, digits, dots, hyphens or underscores"),
            (f"runs.{ALL_TRAFFIC}", runs[ALL_TRAFFIC], RUN_ID, "a run id"),
            (f"runs.{OTHER}", runs[OTHER], RUN_ID, "a run id"),
        ):
            if not isinstance(value, str) or not form.fullmatch(value):
                raise Unfit(f"{called}: {name} must be {what}, not {shown(value)}")
        share, ended_at = document["share"], document.get("endedAt", "")
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise Unfit(f"{called}: share must be a number from 0 to 1, not {shown(share)}")
        if not isinstance(ended_at, str) or ("endedAt" in document and not ended_at):
            raise Unfit(f"{called}: endedAt must be a time in ISO 8601, not {shown(document.get('endedAt'))}")
        return cls(
            trial_id=document["trialId"],
            all_traffic=runs[ALL_TRAFFIC],
            other=runs[OTHER],
            share=float(share),
            ended_at=ended_at,
        )

    def to_document(self) -> dict[str, Any]:
        ended = {"endedAt": self.ended_at} if self.ended_at else {}
        return {
            "schemaVersion": SCHEMA_VERSION,
            "trialId": self.trial_id,
            "runs": {ALL_TRAFFIC: self.all_traffic, OTHER: self.other},
            "share": self.share,
            **ended,
        }

    def to_json(self) -> bytes:
        """The bytes of the document."""
        return json.dumps(self.to_document()).encode()

    def side_of(self, pk: str) -> str | None:
        """The side of a person or session (`contracts.recent_events.of_user`, `of_session`); None if the trial has
        ended.

        It stays the same while the share does. When the share moves, only people between the old and the new share
        change sides.
        """
        if self.ended_at:
            return None
        place = recent_events.group(f"{self.trial_id} {pk}", _PLACES)
        return OTHER if place < round(self.share * _PLACES) else ALL_TRAFFIC


def _require(document: Mapping[str, Any], called: str, needed: set[str], known: set[str]) -> None:
    missing, unknown = sorted(needed - set(document)), sorted(set(document) - known)
    if missing or unknown:
        problems = [f"missing: {', '.join(missing)}"] if missing else []
        problems += [f"unknown: {', '.join(unknown)}"] if unknown else []
        raise Unfit(f"{called}: the fields are {', '.join(sorted(known))}; {'; '.join(problems)}")
