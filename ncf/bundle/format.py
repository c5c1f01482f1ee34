"""The files of a bundle: their names, how JSON is written in them, and how they are hashed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

SCHEMA_VERSION = "1.0"
MANIFEST = "bundle.json"
WEIGHTS = "weights.safetensors"
USERS = "user_ids.json"
ITEMS = "item_ids.json"
SEEN = "seen.safetensors"
POPULARITY = "popularity.safetensors"
GOLDEN = "golden.json"
MEMBERS = (WEIGHTS, USERS, ITEMS, SEEN, POPULARITY, GOLDEN)
"""The members that `bundle.json` lists."""
CATEGORIES = "item_categories.json"
"""One more, where the dataset tells categories."""
NAMES = (*MEMBERS, CATEGORIES, MANIFEST)
"""Every file of a bundle; the manifest is last, because the rest is no model without it."""


class BrokenBundle(Exception):
    """A bundle, or an archive of one, is not what was written: `member` is the file at fault, `reason` says why."""

    def __init__(self, member: str, reason: str) -> None:
        super().__init__(f"{member}: {reason}")
        self.member = member
        self.reason = reason


def encode_json(value: Any) -> bytes:
    """`value` as the one sequence of bytes that this project writes for it; refuses NaN and infinities (ValueError)."""
    return (json.dumps(value, ensure_ascii=False, allow_nan=False, indent=None, sort_keys=True) + "\n").encode()


def digest(manifest: dict[str, Any]) -> str:
    """sha256 over bundle.json without its `digest`: members are hashed there, and this guards the hashes."""
    return hashlib.sha256(encode_json({name: manifest[name] for name in manifest if name != "digest"})).hexdigest()


def measure(path: Path) -> dict[str, Any]:
    """The entry of a file among `members`: its sha256 and its size in bytes."""
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "size": path.stat().st_size}
