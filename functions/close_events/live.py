"""The live folders, what has been announced of them, and what they say of themselves. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from contracts import documents, limits, sources
from contracts.documents import Unfit
from contracts.event_types import EventTypes
from contracts.names import DROP_FILE, LIVE_FOLDER, MARKER_KEY
from contracts.unions import READING
from contracts.values import shown
from shared.errors import InvalidInput

MARKER = "_SUCCESS"
NOTHING = "(none)"
"""In place of event types: no event is a purchase."""
_NOT_INHERITED = {"schemaVersion", "kind", *READING}


@dataclass(frozen=True)
class Folder:
    """A live folder: its name below `raw/`, the number of its files, and whether it says something of itself."""

    name: str
    files: int
    has_document: bool
    has_marker: bool


@dataclass(frozen=True)
class Announced:
    """The content of the newest marker: the number of files of each folder when it was announced, and the digest of
    what the folders said of themselves.
    """

    files: Mapping[str, int] = field(default_factory=dict)
    digest: str = ""

    @classmethod
    def from_json(cls, content: bytes) -> Announced:
        """Read a marker. One that says nothing, as people write it, has announced nothing."""
        try:
            document = documents.read_object(content, MARKER) if content else {}
        except Unfit:
            return cls()
        files = document.get("files")
        if not isinstance(files, dict) or not all(isinstance(number, int) for number in files.values()):
            return cls()
        return cls(files, str(document.get("digest", "")))

    def to_json(self) -> bytes:
        return json.dumps({"files": dict(sorted(self.files.items())), "digest": self.digest}).encode()

    def lacks(self, folders: Iterable[Folder]) -> bool:
        """True if a folder has more files than were announced of it."""
        return any(folder.files > self.files.get(folder.name, 0) for folder in folders)


def folders(objects: Iterable[tuple[str, int]]) -> tuple[list[Folder], str | None]:
    """Return the live folders with files, the oldest first, and the newest closed drop of the shop itself (None without
    one), from the keys below `raw/` and the times at which they were written.
    """
    files: dict[str, int] = {}
    special: set[str] = set()
    shops: list[tuple[int, str]] = []
    for key, written_at in objects:
        name, _, file = key.removeprefix("raw/").partition("/")
        if LIVE_FOLDER.fullmatch(name):
            if file in (MARKER, DROP_FILE):
                special.add(f"{name}/{file}")
            elif file and not sources.is_hidden(file):
                files[name] = files.get(name, 0) + 1
        elif MARKER_KEY.fullmatch(key):
            shops.append((written_at, key.removeprefix("raw/").rpartition("/")[0]))
    found = [
        Folder(name, number, f"{name}/{DROP_FILE}" in special, f"{name}/{MARKER}" in special)
        for name, number in sorted(files.items())
    ]
    return found, max(shops)[1] if shops else None


def document(types: EventTypes, shop: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return `_drop.json` of a live folder: the columns of events, the types that training does not learn from, those
    that are purchases, unless the shop says that of all its data, and what else the shop's newest drop said (`shop`),
    because the parameters of the newest drop hold for all.

    `defaults`: the template's PreparationParameters. A type that has a weight of its own tells what people like, so it
    is learned from. Raises InvalidInput if the types are too many.
    """
    inherited = {name: value for name, value in shop.items() if name not in _NOT_INHERITED}
    weighted = _weighted({**defaults, **inherited}.get("eventWeights", {}))
    ignored = [name for name in types.apart_from_history() if name not in weighted]
    left_out = _listed(ignored, "isHistory false")
    # Not `boughtTypes`: that would be said of the shop's history too, which may have other types, or none.
    bought = "" if "boughtTypes" in {**defaults, **inherited} else _listed(types.bought(), "isBought true") or NOTHING
    return {
        "schemaVersion": "1.0",
        **inherited,
        "kind": "append",
        "userColumn": "USER_ID",
        "itemColumn": "ITEM_ID",
        "timestampColumn": "TIMESTAMP",
        "eventTypeColumn": "EVENT_TYPE",
        "eventIdColumn": "EVENT_ID",
        "sessionIdColumn": "SESSION_ID",
        **({"ignoreTypes": left_out} if left_out else {}),
        **({"ownBoughtTypes": bought} if bought else {}),
    }


def _listed(names: list[str], which: str) -> str:
    """Return the event types as one parameter. Raises InvalidInput if it cannot hold them."""
    text = ",".join(names)
    if len(text) > limits.WEIGHTS_CHARACTERS or any("," in name for name in names):
        raise InvalidInput(
            f"the event types with {which} must have at most {limits.WEIGHTS_CHARACTERS} characters together "
            f"and no comma, not {shown(text)}: change them in rules/event_types.json"
        )
    return text


def _weighted(weights: Any) -> set[str]:
    """The event types with a weight, in lower case: of an object, or of a text such as buy=5,view=1."""
    names = weights if isinstance(weights, dict) else [one.partition("=")[0] for one in str(weights).split(",")]
    return {str(name).strip().casefold() for name in names}


def digest_of(content: bytes) -> str:
    """Return 16 hex digits that tell one document from another."""
    return hashlib.sha256(content).hexdigest()[:16]
