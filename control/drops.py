"""Drops from the browser: files under `raw/<drop>/`, closed by `_SUCCESS`, which starts the preparation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from control.actions import Action, Call

MARKER = "_SUCCESS"
LONGEST_NAME = 40
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,127}")


def name_of(file_name: str, now: datetime) -> str:
    """The drop's name: the first file's stem, as far as it fits a key, and the time."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", file_name.partition(".")[0]).strip("-.")[:LONGEST_NAME]
    return f"{stem or 'drop'}-{now.astimezone(UTC):%Y%m%dt%H%M%Sz}"


def drop(bucket: str, name: str, files: Mapping[str, bytes]) -> Action:
    """Upload the files, and last the marker: a drop that was cut has none, and nothing reads it.

    Raises ValueError for no file, and for an empty one or one whose name cannot be a key.
    """
    if not files:
        raise ValueError("Choose at least one file.")
    for file_name, content in files.items():
        if not NAME.fullmatch(file_name) or file_name == MARKER:
            raise ValueError(
                f"The file name {file_name[:80]!r} must be 1 to 128 letters, digits, '.', '_', '-' or spaces."
            )
        if not content:
            raise ValueError(f"The file {file_name} is empty.")
    keys = {f"raw/{name}/{file_name}": content for file_name, content in files.items()} | {f"raw/{name}/{MARKER}": b""}
    size = sum(map(len, files.values()))
    return Action(
        name="drop",
        title=f"Drop {len(files)} file{'s' if len(files) > 1 else ''} as raw/{name}/?",
        consequences=(
            f"{size:,} bytes are uploaded. They are the whole history of the shop, unless a _drop.json says otherwise.",
            "The preparation starts when _SUCCESS is written, then the retraining; a model that is better goes live.",
        ),
        calls=tuple(
            Call("s3", "put_object", {"Bucket": bucket, "Key": key, "Body": body}) for key, body in keys.items()
        ),
        facts={"drop": name, "files": list(files), "bytes": size},
    )
