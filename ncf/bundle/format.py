"""The format of a bundle: the names of its files, their JSON encoding and their hashes."""

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
"""An optional member, written if the dataset has categories."""
HELD_OUT = "held_out.safetensors"
"""The pairs that the model was tested on, not trained on. Bundles written before it lack it."""
FIELDS = "item_fields.safetensors"
"""An optional member: what an answer may show of each item. Written if the dataset tells titles or more."""
WITHDRAWN = "withdrawn.safetensors"
"""An optional member: the items that are not recommended. Written if there are any."""
BOUGHT = "bought.safetensors"
"""An optional member: which seen pairs are purchases. Written if some are not."""
NAMES = (*MEMBERS, HELD_OUT, CATEGORIES, FIELDS, WITHDRAWN, BOUGHT, MANIFEST)
"""Every file of a bundle; the manifest is last, because the rest is no model without it."""


class BrokenBundle(Exception):
    """A bundle or its archive is damaged or invalid: `member` is the file at fault, `reason` the reason."""

    def __init__(self, member: str, reason: str) -> None:
        super().__init__(f"{member}: {reason}")
        self.member = member
        self.reason = reason


def encode_json(value: Any) -> bytes:
    """Encode `value` as JSON; equal values give equal bytes. Raises ValueError for NaN and infinity."""
    return (json.dumps(value, ensure_ascii=False, allow_nan=False, indent=None, sort_keys=True) + "\n").encode()


def digest(manifest: dict[str, Any]) -> str:
    """Return the sha256 of bundle.json without its `digest`. It protects the hashes of the members in it."""
    return hashlib.sha256(encode_json({name: manifest[name] for name in manifest if name != "digest"})).hexdigest()


def measure(path: Path) -> dict[str, Any]:
    """Return a file's entry in `members`: its sha256 and its size in bytes."""
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "size": path.stat().st_size}
