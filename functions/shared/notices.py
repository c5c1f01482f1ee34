"""Notifications to people: subject, message, and the section of docs/on-call.md that says what to do. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

MAXIMUM_SUBJECT = 100
"""Characters, by SNS."""
PAGE = "docs/on-call.md"


class Kind(StrEnum):
    """The kind of a notification: the heading of its section in docs/on-call.md."""

    MODEL_SERVES = "model-serves"
    MODEL_REJECTED = "model-rejected"
    MODEL_UNCHANGED = "model-unchanged"
    MODEL_RESTORED = "model-restored"
    TRAFFIC_SPLIT = "traffic-split"
    TRIAL_DECIDED = "trial-decided"
    APPROVE_MODEL = "approve-model"
    RUN_WAITS = "run-waits"
    RUN_FAILED = "run-failed"
    RUN_ROLLED_BACK = "run-rolled-back"
    RUN_DEPLOYED_THEN_FAILED = "run-deployed-then-failed"
    PREPARATION_FAILED = "preparation-failed"
    DATA_REFUSED = "data-refused"
    ROLLBACK_FAILED = "rollback-failed"
    BATCH_FAILED = "batch-failed"
    DOCUMENT_REFUSED = "document-refused"


def notice(kind: Kind, stack: str, subject: str, lines: Iterable[str]) -> dict[str, str]:
    """Subject and message of a notification, as SNS takes them. `stack` is the NamePrefix."""
    told = f"Stack: {stack}. What to do: {PAGE}#{kind}"
    return {"Subject": subject[:MAXIMUM_SUBJECT], "Message": "\n".join([*lines, "", told])}
