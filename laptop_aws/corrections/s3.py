"""S3: the events that EventBridge gets."""

from __future__ import annotations

import contextvars
import json
from typing import Any

from ministack.services import eventbridge, s3

_version_id: contextvars.ContextVar[str | None] = contextvars.ContextVar("_version_id", default=None)


def apply() -> None:
    s3._fire_s3_event = _noting_version(s3._fire_s3_event)
    eventbridge._dispatch_event = _with_awss_detail(eventbridge._dispatch_event)


def _noting_version(fire: Any) -> Any:
    def fire_event(*arguments: Any, **named: Any) -> None:
        _version_id.set(named.get("version_id"))
        try:
            fire(*arguments, **named)
        finally:
            _version_id.set(None)

    return fire_event


def _with_awss_detail(dispatch: Any) -> Any:
    def dispatch_event(event: dict[str, Any], view: Any = None) -> None:
        """AWS: the object in an event of a versioned bucket has its ``version-id``, and the detail has no
        ``event-version``. ministack: the reverse.

        Conformance: ``test_an_object_created_event_has_awss_shape``.
        """
        if event.get("Source") == "aws.s3" and view is None:
            detail = json.loads(event["Detail"])
            detail.pop("event-version", None)
            if _version_id.get():
                detail["object"]["version-id"] = _version_id.get()
            event = {**event, "Detail": json.dumps(detail)}
        dispatch(event, view)

    return dispatch_event
