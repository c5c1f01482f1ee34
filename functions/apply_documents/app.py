"""EventBridge "Object Created" of a document under `rules/`: copy a valid one to `serving/`, where it is in force. For
an invalid one a notification names the faults, and the earlier one stays in force.

Events may arrive twice, late or out of order, so the current object is read, not the event. After the copy the object
is checked again, so that a slow call does not overwrite a newer change. A deleted object changes nothing; to have no
rules, write `{"schemaVersion": "1.0"}`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from apply_documents.documents import Kind, kind_of
from contracts import limits
from contracts.documents import Unfit
from shared import environment, notices
from shared.clients import calling, client
from shared.errors import DependencyFailed, InvalidInput
from shared.ledger import Ledger
from shared.objects import Bucket, Stored
from shared.observability import count, logger, observed

_MOST_CHANGES = 5


@dataclass(frozen=True, kw_only=True)
class Settings(environment.Common):
    """Environment of this function."""

    artifacts_bucket: str
    notifications_topic_arn: str


SETTINGS = environment.load(Settings)
LEDGER = Ledger(SETTINGS.runs_table)
S3 = client("s3")
ARTIFACTS = Bucket(S3, SETTINGS.artifacts_bucket)
SNS = client("sns")


@observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Returns `{"outcome": "APPLIED"|"REFUSED"|"ABSENT", "reason"?}`. Raises DependencyFailed to be retried, and
    InvalidInput for an event of another object.
    """
    kind = kind_of(event)
    for _ in range(_MOST_CHANGES):
        found = ARTIFACTS.get(kind.source_key, limits.RULES_BYTES)
        if found is None:
            logger.warning("there is no document to put in force", extra={"key": kind.source_key})
            return {"outcome": "ABSENT"}
        outcome = _apply(kind, found)
        now = ARTIFACTS.head(kind.source_key)
        if now and now.etag == found.etag:
            return outcome
    raise DependencyFailed(f"{kind.source_key} changes faster than it can be put in force")


def _apply(kind: Kind, found: Stored) -> dict[str, Any]:
    try:
        document = kind.checked(found)
    except (InvalidInput, Unfit) as error:
        return _refuse(kind, str(error), found.etag)
    ARTIFACTS.put(kind.in_force_key, json.dumps(document, sort_keys=True).encode())
    logger.info(f"{kind.called} applied", extra={name: len(value) for name, value in _sized(document)})
    count(f"{kind.metric}Applied")
    return {"outcome": "APPLIED"}


def _sized(document: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in document.items() if isinstance(value, list | dict)]


def _refuse(kind: Kind, reason: str, tag: str) -> dict[str, Any]:
    logger.warning(f"{kind.called} refused", extra={"reason": reason})
    count(f"{kind.metric}Refused")
    where = f"s3://{SETTINGS.artifacts_bucket}/{kind.source_key}"
    with LEDGER.notifying(kind.notice, tag) as first, calling("sns Publish"):
        if first:
            SNS.publish(
                TopicArn=SETTINGS.notifications_topic_arn,
                **notices.notice(
                    notices.Kind.DOCUMENT_REFUSED,
                    SETTINGS.name_prefix,
                    f"{SETTINGS.name_prefix}: {kind.called} refused",
                    [
                        f"{where} is not valid. The earlier {kind.called} stay in effect.",
                        "",
                        f"- {reason}",
                        "",
                        "Correct what the reason names, and write the file again.",
                    ],
                ),
            )
    return {"outcome": "REFUSED", "reason": reason}
