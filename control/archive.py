"""Reads from a model's archive (`model.tar.gz`) what tells of people and items: ids, attributes, who chose what.

The members are those of docs/reference/contracts.md ("Bundle"). The weights are not read: they come last in the
archive, so the download ends before them. The members lie in a folder of their own, which the operating system reads
page by page.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from contracts import archives, documents
from contracts.archives import BadArchive
from contracts.documents import Unfit
from control.connection import NotReady

ITEM_IDS, USER_IDS = "item_ids.json", "user_ids.json"
FIELDS, CATEGORIES = "item_fields.safetensors", "item_categories.json"
SEEN, BOUGHT, POPULARITY = "seen.safetensors", "bought.safetensors", "popularity.safetensors"
WANTED = (ITEM_IDS, USER_IDS, FIELDS, CATEGORIES, SEEN, BOUGHT, POPULARITY)
NEEDED = (ITEM_IDS, USER_IDS, SEEN)

LARGEST_MEMBER_BYTES = 2 << 30
LARGEST_JSON_BYTES = 512 << 20
"""Most bytes of a member that is read into memory as a whole."""
LARGEST_HEADER_BYTES = 100_000_000
"""Most bytes of a safetensors file's header, as its own library has it."""
MAXIMUM_BYTES = 64 << 30
"""Most bytes of an unpacked archive; what is read is bounded by LARGEST_MEMBER_BYTES for each member."""
_FORMATS = {"I64": "q", "I32": "i", "U8": "B", "BOOL": "?"}


class Unusable(NotReady):
    """The archive cannot be shown; the message says why."""


def extract(packed: IO[bytes], folder: Path, progress: Callable[[int], None] = lambda number: None) -> None:
    """Write the wanted members into `folder`, and stop when all are there. Raises Unusable.

    `progress` receives the number of bytes that were written so far.
    """
    missing: set[str] = set(WANTED)
    written = 0
    try:
        for file in archives.files(packed, MAXIMUM_BYTES):
            if file.name == "bundle.json":
                members = documents.read_object(file.read(min(file.size, 1 << 20)), file.name).get("members")
                missing &= set(members) if isinstance(members, dict) else missing
            if file.name not in missing:
                continue
            most = LARGEST_JSON_BYTES if file.name.endswith(".json") else LARGEST_MEMBER_BYTES
            if file.size > most:
                raise Unusable(f"{file.name} has {file.size:,} bytes; {most:,} are the most here.")
            with (folder / file.name).open("wb") as target:
                while piece := file.read(1 << 20):
                    target.write(piece)
                    written += len(piece)
                    progress(written)
            missing.discard(file.name)
            if not missing:
                break
    except (BadArchive, Unfit) as error:
        raise Unusable(f"The model's archive cannot be read: {error}.") from error
    lacking = [name for name in NEEDED if name in missing]
    if lacking:
        raise Unusable(f"The model's archive lacks {', '.join(lacking)}.")


def tensors(path: Path) -> dict[str, memoryview]:
    """The tensors of a safetensors file by name, as views of the file. Raises Unusable."""
    try:
        with path.open("rb") as file:
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        start = 8 + int.from_bytes(content[:8], "little")
        if start > LARGEST_HEADER_BYTES:
            raise ValueError(f"its header has {start:,} bytes, more than {LARGEST_HEADER_BYTES:,}")
        header = documents.read_object(bytes(content[8:start]), path.name)
        return {name: _tensor(content, start, entry) for name, entry in header.items() if name != "__metadata__"}
    except (OSError, ValueError, KeyError, TypeError) as error:  # Unfit is a ValueError
        raise Unusable(f"{path.name} of the model's archive cannot be read: {error}.") from error


def _tensor(content: memoryview, start: int, entry: Any) -> memoryview:
    first, end = entry["data_offsets"]
    size = len(content)
    if not 0 <= first <= end <= size - start:
        raise ValueError("a tensor lies outside of the file")
    formats: dict[str, Any] = _FORMATS
    view: memoryview = content[start + first : start + end].cast(formats[entry["dtype"]])
    return view


def strings(path: Path) -> list[str]:
    """A list of strings in JSON. Raises Unusable."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise Unusable(f"{path.name} of the model's archive cannot be read: {error}.") from error
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise Unusable(f"{path.name} of the model's archive is not a list of ids.")
    return found
