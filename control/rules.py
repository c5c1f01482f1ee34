"""The documents that a shop writes under `rules/`: what is written, what is in force, what a draft would change, and
its publication.

    draft = read_form(Form(deny="42", boosts="7 = 1.5", caps="Shoes = 3"))
    faults(RULES, draft)                    # sentences; empty if it may be published
    publication(connection, RULES, draft)   # the action to confirm
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from contracts import documents, event_types, limits, placements, schemas
from contracts.documents import Unfit
from contracts.event_types import EventTypes
from control.actions import Action, Call, unchanged_since
from control.connection import Connection
from control.ledger import Ledger

VERSIONS = 20
"""Number of earlier versions that are listed."""
WAIT_SECONDS = 60
"""Within this time a published document is in force, or its refusal is known."""
ABSENT = ("NoSuchKey", "404", "NoSuchVersion")


@dataclass(frozen=True)
class Kind:
    """One kind of document; `name` is that of its schema."""

    name: str
    title: str
    source_key: str
    in_force_key: str
    notice: str
    """The key of the notices of its refusals in the ledger."""
    consequence: str


RULES = Kind(
    "rules",
    "Business rules",
    "rules/rules.json",
    "serving/rules.json",
    "RULES",
    "Every list of the shop follows the new rules, for everybody, within about a minute of their coming into force.",
)
EVENT_TYPES = Kind(
    "event_types",
    "Event types",
    event_types.SOURCE_KEY,
    event_types.KEY,
    "EVENT_TYPES",
    "From now on each event counts as the document says: for the next answers, for training, and as an outcome.",
)
PLACEMENTS = Kind(
    "placements",
    "Placements",
    placements.SOURCE_KEY,
    placements.KEY,
    "PLACEMENTS",
    "Requests that name a placement get its new list; a placement that is left out is answered as if unnamed.",
)
KINDS = {kind.name: kind for kind in (RULES, EVENT_TYPES, PLACEMENTS)}

EMPTY: Mapping[str, dict[str, Any]] = {
    "rules": {"schemaVersion": "1.0"},
    "event_types": event_types.DEFAULT.to_document(),
    "placements": {"schemaVersion": "1.0", "placements": {}},
}
"""What holds while the shop has written nothing."""


# Documents


def read_text(text: str, called: str) -> dict[str, Any]:
    """A document of JSON that a person wrote. Raises Unfit."""
    return documents.read_object(text.encode(), called, has_schema=True)


def faults(kind: Kind, document: Any) -> list[str]:
    """Faults of a document, in sentences; empty if it would be put in force."""
    try:
        schemas.check(document, kind.name, "")
        as_in_force(kind, document)
    except Unfit as error:
        return list(error.reasons)
    size = len(to_bytes(document))
    return [f"it has {size:,} bytes; {limits.RULES_BYTES:,} are the most"] if size > limits.RULES_BYTES else []


def as_in_force(kind: Kind, document: Mapping[str, Any]) -> dict[str, Any]:
    """A valid document as it is written under `serving/`. Raises Unfit."""
    if kind is EVENT_TYPES:
        return EventTypes.from_document(dict(document), "").to_document()
    if kind is PLACEMENTS:
        return dict(document)
    found = {
        "deny": list(dict.fromkeys(document.get("deny", []))),
        "boosts": dict(document.get("boosts", {})),
        "categoryCaps": dict(document.get("categoryCaps", {})),
        "exploration": dict(document.get("exploration", {})),
    }
    return {"schemaVersion": "1.0", **{name: value for name, value in found.items() if value}}


def to_bytes(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8", "replace")


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The changes of a draft, one line a value: `deny: + 42`, `boosts.7: 1.5 → 2`."""
    first, second = dict(_values(before, "")), dict(_values(after, ""))
    lines = []
    for path in [*first, *(path for path in second if path not in first)]:
        old, new = first.get(path), second.get(path)
        if isinstance(old or [], list) and isinstance(new or [], list):
            lines += [f"{path}: + {one}" for one in new or [] if one not in (old or [])]
            lines += [f"{path}: − {one}" for one in old or [] if one not in (new or [])]
        elif path not in first:
            lines.append(f"{path}: {_shown(new)} is new")
        elif path not in second:
            lines.append(f"{path}: {_shown(old)} is left out")
        elif old != new:
            lines.append(f"{path}: {_shown(old)} → {_shown(new)}")
    return lines


def _values(value: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        here = f"{path}.{name}" if path else name
        if isinstance(inner, Mapping):
            yield from _values(inner, here)
        else:
            yield here, inner


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value


def items_of(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The items that rules or placements name: (item id, what happens to it)."""
    found = list(_named(document, ""))
    for name, placement in document.get("placements", {}).items():
        found += _named(placement, f" in {name}")
    return found


def _named(document: Mapping[str, Any], where: str) -> Iterator[tuple[str, str]]:
    yield from ((item, f"never recommended{where}") for item in document.get("deny", []))
    yield from ((item, f"score × {factor:g}{where}") for item, factor in document.get("boosts", {}).items())


# The form of the rules


@dataclass(frozen=True)
class Form:
    """The rules as a person types them: an entry a line. `share` and `fewer_than` are of exploration; None: none."""

    deny: str = ""
    boosts: str = ""
    caps: str = ""
    share: float | None = None
    fewer_than: int | None = None


def read_form(form: Form) -> dict[str, Any]:
    """The document that the form says. Raises Unfit for lines that cannot be read; `faults` checks the rest."""
    document: dict[str, Any] = {"schemaVersion": "1.0"}
    reasons: list[str] = []
    deny = [line.strip() for line in form.deny.splitlines() if line.strip()]
    if deny:
        document["deny"] = list(dict.fromkeys(deny))
    for name, text, example in (
        ("boosts", form.boosts, "item = 1.5"),
        ("categoryCaps", form.caps, "category = 3"),
    ):
        pairs = {}
        for line in (line for line in text.splitlines() if line.strip()):
            key, sign, value = line.rpartition("=")
            number = _number(value)
            if not sign or not key.strip() or number is None:
                reasons.append(f"{name}: “{line.strip()[:100]}” is not of the form “{example}”")
            elif key.strip() in pairs:
                reasons.append(f"{name}: {key.strip()[:100]} is there twice")
            else:
                pairs[key.strip()] = number
        if pairs:
            document[name] = pairs
    if form.share is not None or form.fewer_than is not None:
        given = {"share": form.share, "fewerThan": form.fewer_than}
        document["exploration"] = {name: _whole(value) for name, value in given.items() if value is not None}
    if reasons:
        raise Unfit(*reasons)
    return document


def to_form(document: Mapping[str, Any]) -> Form:
    """The form of a valid document."""
    exploration = document.get("exploration", {})
    return Form(
        deny="\n".join(document.get("deny", [])),
        boosts="\n".join(f"{item} = {factor:g}" for item, factor in document.get("boosts", {}).items()),
        caps="\n".join(f"{name} = {cap:g}" for name, cap in document.get("categoryCaps", {}).items()),
        share=exploration.get("share"),
        fewer_than=exploration.get("fewerThan"),
    )


def _number(text: str) -> int | float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return _whole(value)


def _whole(value: float) -> int | float:
    return int(value) if float(value).is_integer() else value


# Reading


@dataclass(frozen=True)
class Version:
    """One version of a written document."""

    version_id: str
    written: datetime
    size: int
    is_latest: bool


@dataclass(frozen=True)
class Found:
    """An object of S3: its text and when it was written; `document` is None if it is no JSON object."""

    text: str
    document: dict[str, Any] | None
    etag: str
    written: datetime


@dataclass(frozen=True)
class State:
    """A document as the shop wrote it, and as it is in force; None: there is none."""

    kind: Kind
    source: Found | None
    in_force: Found | None
    is_refused: bool = False
    versions: Sequence[Version] = field(default_factory=tuple)

    @property
    def current(self) -> dict[str, Any]:
        """The document in force, or what holds without one."""
        return dict((self.in_force.document if self.in_force else None) or EMPTY[self.kind.name])

    @property
    def status(self) -> str:
        """APPLIED, REFUSED, WAITING (written, not yet in force) or ABSENT."""
        if self.source is None:
            return "ABSENT"
        if self.is_refused or (self.source.document is None or faults(self.kind, self.source.document)):
            return "REFUSED"
        if self.in_force is None or self.in_force.written < self.source.written:
            return "WAITING"
        wanted = as_in_force(self.kind, self.source.document)
        return "APPLIED" if self.in_force.document == wanted else "WAITING"

    @property
    def reasons(self) -> list[str]:
        """Why a refused document is not in force."""
        if self.source is None or self.status != "REFUSED":
            return []
        if self.source.document is None:
            return [f"{self.kind.source_key} is no JSON object"]
        return faults(self.kind, self.source.document)


def read_state(connection: Connection, kind: Kind, with_versions: bool = True) -> State:
    """Read a document. Raises what boto3 raises."""
    source = read_object(connection, kind.source_key)
    in_force = read_object(connection, kind.in_force_key)
    is_refused = False
    if source is not None:
        ledger = Ledger(connection, connection.outputs["RunsTableName"])
        is_refused = bool(ledger.item(kind.notice, f"NOTICE#{source.etag}"))
    found = versions(connection, kind) if with_versions else []
    return State(kind, source, in_force, is_refused, found)


def read_object(connection: Connection, key: str, **which: str) -> Found | None:
    """An object of the artifacts bucket, or None if it is missing."""
    bucket = connection.outputs["ArtifactsBucketName"]
    try:
        found = connection.client("s3").get_object(Bucket=bucket, Key=key, **which)
    except ClientError as error:
        if error.response["Error"].get("Code") in ABSENT:
            return None
        raise
    with found["Body"] as body:
        content = body.read(limits.RULES_BYTES + 1)
    try:
        document = documents.read_object(content, key)
    except Unfit:
        document = None
    text = content.decode("utf-8", "replace")
    return Found(text, document, found["ETag"].strip('"'), found["LastModified"])


def read_version(connection: Connection, kind: Kind, version_id: str) -> Found | None:
    """One earlier version of the written document, or None."""
    return read_object(connection, kind.source_key, VersionId=version_id)


def versions(connection: Connection, kind: Kind) -> list[Version]:
    """The last versions of the written document, the newest first."""
    listed = connection.client("s3").list_object_versions(
        Bucket=connection.outputs["ArtifactsBucketName"], Prefix=kind.source_key, MaxKeys=VERSIONS
    )
    return [
        Version(str(one["VersionId"]), one["LastModified"], int(one["Size"]), bool(one["IsLatest"]))
        for one in listed.get("Versions", [])
        if one["Key"] == kind.source_key
    ]


# Publishing


def publication(connection: Connection, kind: Kind, document: Mapping[str, Any], state: State) -> Action:
    """Write the document, if what is written is still that of `state`. Raises Unfit if it would be refused: nothing may
    be sent then.
    """
    if reasons := faults(kind, document):
        raise Unfit(*reasons)
    lines = changes(state.current, as_in_force(kind, document))
    listed = [*lines[:8], *([f"and {len(lines) - 8} more"] if len(lines) > 8 else [])]
    return Action(
        name="publish",
        title=f"Publish {kind.source_key}?",
        consequences=(
            *(listed or ["Nothing changes: the document in force says the same."]),
            kind.consequence,
            "The version before is kept in S3: the page Rules of the console goes back to it.",
        ),
        calls=(_put(connection, kind, to_bytes(document), state.source),),
        facts={"document": kind.name, "changes": lines[:50]},
    )


def restoration(connection: Connection, kind: Kind, version: Version, found: Found, state: State) -> Action:
    """Write an earlier version again. Raises Unfit if it would be refused."""
    document = found.document
    reasons = faults(kind, document) if document is not None else [f"{version.version_id} is no JSON object"]
    if document is None or reasons:
        raise Unfit(*reasons)
    action = publication(connection, kind, document, state)
    return Action(
        name="go back",
        title=f"Put {kind.source_key} of {version.written.astimezone():%Y-%m-%d %H:%M:%S} in force again?",
        consequences=action.consequences,
        calls=(_put(connection, kind, found.text.encode(), state.source),),
        facts={**action.facts, "versionId": version.version_id},
    )


def _put(connection: Connection, kind: Kind, content: bytes, known: Found | None) -> Call:
    return Call(
        "s3",
        "put_object",
        {
            "Bucket": connection.outputs["ArtifactsBucketName"],
            "Key": kind.source_key,
            "Body": content,
            "ContentType": "application/json",
            **unchanged_since(known.etag if known else None),
        },
    )


# A draft's effect


def for_placement(rules: Mapping[str, Any], placement: Mapping[str, Any]) -> dict[str, Any]:
    """The rules that hold in one placement, as `recommend` joins them: its boosts and caps go before the others."""
    joined = {
        **rules,
        "deny": list(dict.fromkeys([*rules.get("deny", []), *placement.get("deny", [])])),
        "boosts": {**rules.get("boosts", {}), **placement.get("boosts", {})},
        "categoryCaps": {**rules.get("categoryCaps", {}), **placement.get("categoryCaps", {})},
    }
    return {name: value for name, value in joined.items() if value}


@dataclass(frozen=True)
class Scored:
    """An item of a list with what the rules look at."""

    item_id: str
    score: float
    categories: tuple[str, ...] = ()


def estimate(
    longer: Iterable[Scored], in_force: Mapping[str, Any], draft: Mapping[str, Any], number: int
) -> list[Scored]:
    """The list under a draft, from a longer list under the rules in force: the old boosts are taken out of the scores,
    then the draft's deny list, boosts and caps are applied.

    An item that the longer list lacks cannot come up: one that was denied, capped out, or too far down. Exploration is
    drawn by the model and cannot be foretold.
    """
    old, new = in_force.get("boosts", {}), draft.get("boosts", {})
    denied = set(draft.get("deny", []))
    boosted = [
        Scored(one.item_id, one.score / old.get(one.item_id, 1) * new.get(one.item_id, 1), one.categories)
        for one in longer
        if one.item_id not in denied
    ]
    boosted.sort(key=lambda one: -one.score)
    room = dict(draft.get("categoryCaps", {}))
    chosen: list[Scored] = []
    for one in boosted:
        counted = [name for name in one.categories if name in room]
        if len(chosen) < number and all(room[name] > 0 for name in counted):
            chosen.append(one)
            for name in counted:
                room[name] -= 1
    return chosen


def categories_of(category: Any) -> tuple[str, ...]:
    """The names in an item's field `category`, which `|` separates."""
    return tuple(sorted({name.strip() for name in category.split("|")} - {""})) if isinstance(category, str) else ()
