"""Announce what customers did: when live folders have files that no announcement has named, write the marker of the
newest one, which starts a preparation. That reads all live folders since the shop's last history, so late files of an
earlier day are in it too.

On a schedule, or by hand with `{}`. `_drop.json` is written first and the marker last, on the condition that nobody
else has written it meanwhile: the next call completes one that ended in between, and two calls at once announce once.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from close_events import live
from close_events.live import MARKER, Announced, Folder
from contracts import documents, limits, schemas
from contracts.documents import Unfit
from contracts.names import DROP_FILE
from shared import environment, event_types
from shared.clients import client
from shared.objects import Bucket
from shared.observability import count, logger, observed

WRITERS = 8


@dataclass(frozen=True, kw_only=True)
class Settings(environment.Common):
    """Environment of this function."""

    data_bucket: str
    artifacts_bucket: str
    preparation_parameters: dict[str, Any] = field(default_factory=dict)


SETTINGS = environment.load(Settings)
S3 = client("s3")
DATA, ARTIFACTS = Bucket(S3, SETTINGS.data_bucket), Bucket(S3, SETTINGS.artifacts_bucket)


@observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Returns `{"outcome": "ANNOUNCED"|"NOTHING_NEW", "drop": the folder that was announced or None}`. Raises
    InvalidInput if the event types cannot be used.
    """
    folders, shop = live.folders(DATA.written("raw/"))
    marked = [folder for folder in folders if folder.has_marker]
    found = DATA.get(f"raw/{marked[-1].name}/{MARKER}") if marked else None
    announced = Announced.from_json(found.content) if found else Announced()
    if not announced.lacks(folders):
        return {"outcome": "NOTHING_NEW", "drop": None}
    document = live.document(event_types.in_force(ARTIFACTS), _said_by(shop), SETTINGS.preparation_parameters)
    content = json.dumps(document, ensure_ascii=False, sort_keys=True).encode()
    digest = live.digest_of(content)
    _write_documents(folders, content, is_changed=digest != announced.digest)
    newest = folders[-1]
    etag = found.etag if found is not None and newest == marked[-1] else None
    now = Announced({folder.name: folder.files for folder in folders}, digest)
    if not DATA.put_unless_changed(f"raw/{newest.name}/{MARKER}", now.to_json(), etag):
        logger.info("another call has announced the events", extra={"drop": newest.name})
        return {"outcome": "NOTHING_NEW", "drop": None}
    logger.info("events announced", extra={"drop": newest.name, "folders": len(folders)})
    count("EventsAnnounced")
    return {"outcome": "ANNOUNCED", "drop": newest.name}


def _write_documents(folders: list[Folder], content: bytes, is_changed: bool) -> None:
    """Write `_drop.json` where it is missing; everywhere if the shop's settings have changed."""
    keys = [f"raw/{folder.name}/{DROP_FILE}" for folder in folders if is_changed or not folder.has_document]
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(lambda key: DATA.put(key, content), keys))


def _said_by(drop: str | None) -> dict[str, Any]:
    """Return what the shop's newest drop says of itself; nothing if it cannot be used, because then it was refused."""
    key = f"raw/{drop}/{DROP_FILE}"
    found = DATA.get(key, limits.DROP_BYTES) if drop else None
    try:
        said = documents.read_object(found.content, key, has_schema=True) if found else {}
        if said:
            schemas.check(said, "drop", key)
    except Unfit as error:
        logger.warning("the parameters of the shop's newest drop are not used", extra={"reason": str(error)})
        return {}
    return said
