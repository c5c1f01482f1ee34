"""EventBridge "Object Created" of `rules/rules.json` -> `serving/rules.json`, which `recommend` applies; or a
notification that says what is wrong with it, and what was in force stays.

It is the object as it stands that counts, not the event: events may come twice, late, or in another order than the
changes. What was written is looked at once more after it was applied, so that a slow try never has the last word over
a newer change. Without an object (it was deleted) nothing changes: no rules are `{"schemaVersion": "1.0"}`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from shared import environment
from shared.clients import calling, client, code_of
from shared.errors import DependencyFailed, InvalidInput
from shared.ledger import Ledger
from shared.observability import count, logger, observed
from shared.rules import MAXIMUM_BYTES, Rules

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
SNS = client("sns")


@observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Returns `{"outcome": "APPLIED"|"REFUSED"|"ABSENT", "reason"?}`. Raises DependencyFailed to be delivered again."""
    for _ in range(_MOST_CHANGES):
        found = _read()
        if found is None:
            logger.warning("there are no rules to apply", extra={"key": SOURCE_KEY})
            return {"outcome": "ABSENT"}
        content, tag = found
        outcome = _apply(content, tag)
        if _tag() == tag:
            return outcome
    raise DependencyFailed(f"{SOURCE_KEY} changes faster than it can be applied")


def _read() -> tuple[bytes, str] | None:
    with calling(f"s3 GetObject {SOURCE_KEY}"):
        try:
            response = S3.get_object(Bucket=SETTINGS.artifacts_bucket, Key=SOURCE_KEY)
        except ClientError as error:
            if code_of(error) in ("NoSuchKey", "404"):
                return None
            raise
        return response["Body"].read(MAXIMUM_BYTES + 1), response["ETag"]


def _tag() -> str | None:
    with calling(f"s3 HeadObject {SOURCE_KEY}"):
        try:
            tag: str = S3.head_object(Bucket=SETTINGS.artifacts_bucket, Key=SOURCE_KEY)["ETag"]
        except ClientError as error:
            if code_of(error) in ("NoSuchKey", "404"):
                return None
            raise
        return tag


def _apply(content: bytes, tag: str) -> dict[str, Any]:
    try:
        rules = _parsed(content)
    except InvalidInput as error:
        return _refuse(str(error), tag)
    with calling(f"s3 PutObject {APPLIED_KEY}"):
        S3.put_object(
            Bucket=SETTINGS.artifacts_bucket,
            Key=APPLIED_KEY,
            Body=json.dumps(rules.to_document(), sort_keys=True).encode(),
            ContentType="application/json",
        )
    said = {
        "denied": len(rules.deny),
        "boosted": len(rules.boosts),
        "capped_categories": len(rules.category_caps),
    }
    logger.info("business rules applied", extra=said)
    count("RulesApplied")
    return {"outcome": "APPLIED"}


def _parsed(content: bytes) -> Rules:
    if len(content) > MAXIMUM_BYTES:
        raise InvalidInput(f"the rules are larger than {MAXIMUM_BYTES} bytes")
    try:
        document = json.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the rules are not UTF-8: byte {error.start} cannot be decoded") from None
    except json.JSONDecodeError as error:
        raise InvalidInput(f"the rules are not JSON: {error.msg} at line {error.lineno} column {error.colno}") from None
    except (ValueError, RecursionError):
        raise InvalidInput("the rules are not JSON that can be read") from None
    return Rules.from_document(document)


def _refuse(reason: str, tag: str) -> dict[str, Any]:
    logger.warning("business rules refused", extra={"reason": reason})
    count("RulesRefused")
    where = f"s3://{SETTINGS.artifacts_bucket}/{SOURCE_KEY}"
    with LEDGER.notifying("RULES", tag.strip('"')) as first, calling("sns Publish"):
        if first:
            SNS.publish(
                TopicArn=SETTINGS.notifications_topic_arn,
                Subject=f"{SETTINGS.name_prefix}: business rules refused",
                Message=f"{where} is not valid, and what was in force stays.\n\n{reason}\n",
            )
    return {"outcome": "REFUSED", "reason": reason}
