"""How often items were chosen lately: counts of one file of events each, and their sums, in the artifacts bucket.

`counts/files/<day>/<sha256 of the file's key, 32 hex>.json.gz` is the counts of one delivered file, of the folder
`raw/live-<day>/`: `{"schemaVersion": "1.0", "counts": {"2026-11-29T10": {"item id": 3}}}` by the hour of the events
(UTC). `count_items` writes it, `publish_popular` adds it to the sum of its day and removes it.

`counts/days/<day>.json.gz` is the sum of the files of that folder: `{"schemaVersion": "1.0", "files": {"<32 hex>":
490000}, "counts": {…}}`. `files` has what it is the sum of, each with the hour in which it was added; so a file that
comes twice counts once. Hours of a day that is over become the day: `{"2026-11-28": {"item id": 3}}`.

Nothing here names a person.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from contracts import archives, documents
from contracts.archives import BadArchive
from contracts.documents import Unfit
from contracts.values import is_integer, kind, shown

FILES = "counts/files/"
DAYS = "counts/days/"
DAYS_KEPT = 31
"""Days before today of which anything counts."""
DELIVERED = re.compile(r"raw/live-(20[0-9]{2}-[01][0-9]-[0-3][0-9])/[^/]+\.gz")
"""Key of a delivered file. Group: its day."""
SCHEMA_VERSION = "1.0"
MAXIMUM_BYTES = 1 << 28
"""Maximum size of the unpacked counts of a file or a day: as much as is read of a delivered file."""
HOUR_MILLISECONDS = 3_600_000
_PERIOD = re.compile(r"20[0-9]{2}-[01][0-9]-[0-3][0-9](T[0-2][0-9])?")
_KEY = re.compile(r"counts/files/(20[0-9]{2}-[01][0-9]-[0-3][0-9])/([0-9a-f]{32})\.json\.gz")

Counts = dict[str, dict[str, int]]
"""By period (`2026-11-29T10`, an hour, or `2026-11-29`, a day), the number of each item."""


def day_of(text: str) -> date | None:
    """Return the day that `text` begins with; None if there is no such day."""
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        return None


def hour_name(hour: int) -> str:
    """Return the name of an hour since 1970, such as `2026-11-29T10`."""
    return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(hours=hour):%Y-%m-%dT%H}"


def hour_number(period: str) -> int:
    """Return the number of the (first) hour of a period since 1970."""
    began = datetime.strptime(period[:10], "%Y-%m-%d").replace(tzinfo=UTC)
    return int(began.timestamp()) // 3600 + int(period[11:] or 0)


def key_of_file(delivered: str, day: str) -> str:
    """Return the key of the counts of the delivered file with that key."""
    return f"{FILES}{day}/{hashlib.sha256(delivered.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}.json.gz"


def file_of_key(key: str) -> tuple[str, str] | None:
    """Return day and digest of the counts with that key; None for another object."""
    match = _KEY.fullmatch(key)
    return (match[1], match[2]) if match else None


def pack(document: Mapping[str, Any]) -> bytes:
    """Return the document as it is stored; equal documents give equal bytes."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return gzip.compress(text.encode(), compresslevel=6, mtime=0)


def unpack(content: bytes, called: str) -> dict[str, Any]:
    """Return the stored document. Raises Unfit naming it and the field that is wrong."""
    try:
        text = archives.unpack(content, MAXIMUM_BYTES)
    except BadArchive as error:
        raise Unfit(f"{called}: {error}") from None
    document = documents.read_object(text, called, has_schema=True)
    if document.get("schemaVersion") != SCHEMA_VERSION:
        raise Unfit(f"{called}: schemaVersion must be {SCHEMA_VERSION}, not {shown(document.get('schemaVersion'))}")
    counts = document.get("counts")
    if not isinstance(counts, dict):
        raise Unfit(f"{called}: counts must be an object, not {kind(counts)}")
    for period, items in counts.items():
        if not _PERIOD.fullmatch(period) or day_of(period) is None:
            raise Unfit(f"{called}: counts.{shown(period)} must be named by an hour or a day")
        if not isinstance(items, dict) or not all(is_integer(number, 1) for number in items.values()):
            raise Unfit(f"{called}: counts.{period} must be an object of integers of at least 1")
    return document


def most(items: Mapping[str, int], number: int) -> dict[str, int]:
    """Return the `number` items that were chosen most; equal ones by id."""
    if len(items) <= number:
        return dict(items)
    return dict(sorted(items.items(), key=lambda pair: (-pair[1], pair[0]))[:number])
