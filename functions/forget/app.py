"""Forget one user id. A person calls this function; no state and no route does.

The ledger gets a tombstone with a keyed hash of the id. `serving/forgotten.json` tells it to `recommend`, which
answers as for a stranger, and to the preparation, which drops the person's rows and writes no text for the index. The
lists of batches lose the person's entry. A second call, or one after a failure, goes on where the first one ended.
Log lines never contain user ids.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from contracts.forgotten import KEY, digest
from forget.request import Request
from shared import batch_lists, environment
from shared.clients import client
from shared.ledger import Ledger
from shared.objects import Bucket
from shared.observability import count, logger, observed


@dataclass(frozen=True, kw_only=True)
class Settings(environment.Common):
    """Environment of this function."""

    artifacts_bucket: str


SETTINGS = environment.load(Settings)
LEDGER = Ledger(SETTINGS.runs_table)
ARTIFACTS = Bucket(client("s3"), SETTINGS.artifacts_bucket)


@observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Returns `{"person", "isNew", "lists"}`: the hash of the id, whether the tombstone is new, and how many lists of
    batches lost an entry. Raises InvalidInput for an invalid request.
    """
    request = Request.from_event(event)
    person = digest(LEDGER.forgetting_key(), request.user_id)
    is_new = LEDGER.forget(person, request.reason, request.by)
    _publish()
    LEDGER.in_force(person)
    struck = batch_lists.strike_one(ARTIFACTS, request.user_id, LEDGER.forgotten())
    logger.info("a person is forgotten", extra={"person": person, "is_new": is_new, "lists": struck})
    count("PersonForgotten", int(is_new))
    return {"person": person, "isNew": is_new, "lists": struck}


def _publish() -> None:
    """Write all tombstones to the document. Of calls at the same time, the one that writes last reads the ledger once
    more afterwards, so no tombstone is lost.
    """
    written = None
    while written != (known := LEDGER.forgotten()):
        ARTIFACTS.put(KEY, json.dumps(known.to_document()).encode())
        written = known
