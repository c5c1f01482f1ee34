"""EventBridge "Object Created" of `rules/rules.json`: copy valid rules to `serving/rules.json`, which `recommend`
applies. For invalid rules a notification names the faults, and the earlier rules stay in effect.

Events may arrive twice, late or out of order, so the current object is read, not the event. After the copy the object
is checked again, so that a slow call does not overwrite a newer change. A deleted object changes nothing; to have no
rules, write `{"schemaVersion": "1.0"}`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from contracts import documents, limits
from contracts.documents import Unfit
from shared import environment
from shared.clients import calling, client
from shared.errors import DependencyFailed, InvalidInput
from shared.ledger import Ledger
from shared.objects import Bucket, Stored
from shared.observability import count, logger, observed
from shared.rules import Rules

SOURCE_KEY = "rules/rules.json"
APPLIED_KEY = "serving/rules.json"
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
    """Returns `{"outcome": "APPLIED"|"REFUSED"|"ABSENT", "reason"?}`. Raises DependencyFailed to be retried."""
    for _ in range(_MOST_CHANGES):
        found = ARTIFACTS.get(SOURCE_KEY, limits.RULES_BYTES)
        if found is None:
            logger.warning("there are no rules to apply", extra={"key": SOURCE_KEY})
            return {"outcome": "ABSENT"}
        outcome = _apply(found)
        now = ARTIFACTS.head(SOURCE_KEY)
        if now and now.etag == found.etag:
            return outcome
    raise DependencyFailed(f"{SOURCE_KEY} changes faster than its rules can be applied")


def _apply(found: Stored) -> dict[str, Any]:
    try:
        rules = _parsed(found)
    except (InvalidInput, Unfit) as error:
        return _refuse(str(error), found.etag)
    ARTIFACTS.put(APPLIED_KEY, json.dumps(rules.to_document(), sort_keys=True).encode())
    counts = {
        "denied": len(rules.deny),
        "boosted": len(rules.boosts),
        "capped_categories": len(rules.category_caps),
    }
    logger.info("business rules applied", extra=counts)
    count("RulesApplied")
    return {"outcome": "APPLIED"}


def _parsed(found: Stored) -> Rules:
    if found.size > limits.RULES_BYTES:
        raise InvalidInput(f"{SOURCE_KEY} is larger than {limits.RULES_BYTES} bytes")
    return Rules.from_document(documents.read_object(found.content, SOURCE_KEY, has_schema=True), SOURCE_KEY)


def _refuse(reason: str, tag: str) -> dict[str, Any]:
    logger.warning("business rules refused", extra={"reason": reason})
    count("RulesRefused")
    where = f"s3://{SETTINGS.artifacts_bucket}/{SOURCE_KEY}"
    with LEDGER.notifying("RULES", tag) as first, calling("sns Publish"):
        if first:
            SNS.publish(
                TopicArn=SETTINGS.notifications_topic_arn,
                Subject=f"{SETTINGS.name_prefix}: business rules refused",
                Message=f"{where} is not valid. The earlier rules stay in effect.\n\n{reason}\n",
            )
    return {"outcome": "REFUSED", "reason": reason}
