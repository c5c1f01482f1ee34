"""A disk that is full for some seconds: what the drill of that name does, and what was seen meanwhile."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from control import drills
from control.connection import Connection

PROBE = "drills/full-disk"
"""The object that a full disk refuses."""
FULL_DISK_PATH, FULL_DISK_HEADER = "/_laptop_aws/full-disk", "x-laptop-aws-seconds"
"""The request by which the embedded AWS counts its disk as full: no service of AWS has a call for it."""


def shortage(
    connection: Connection, is_readable: Callable[[], bool], answer: Callable[[], tuple[int, str]]
) -> dict[str, Any]:
    """Let the disk of an embedded AWS count as full. Return what was seen until a change is made again, or long after
    it should have been; `is_readable` reads the ledger, `answer` asks the API, meanwhile.
    """
    change = {"Bucket": connection.outputs["ArtifactsBucketName"], "Key": PROBE, "Body": b"a change"}
    s3 = connection.client("s3")
    asked = urllib.request.Request(
        f"{connection.endpoint_url}{FULL_DISK_PATH}",
        headers={FULL_DISK_HEADER: str(drills.FULL_SECONDS)},
        method="POST",
    )
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=10).close()
    began = time.monotonic()
    refusal = _refusal(s3, change)
    was_readable = is_readable()
    status, source = answer()
    goes_on = False
    while not goes_on and time.monotonic() - began < 3 * drills.FULL_SECONDS:
        time.sleep(0.5)
        goes_on = not _refusal(s3, change)
    if goes_on:
        s3.delete_object(Bucket=change["Bucket"], Key=PROBE)
    return {
        "refusal": refusal, "wasReadable": was_readable, "answerStatus": status, "answerSource": source,
        "goesOn": goes_on,
    }  # fmt: skip


def _refusal(s3: Any, change: Mapping[str, Any]) -> str:
    """Why the change was refused because there is no space; nothing if it was made."""
    try:
        s3.put_object(**change)
    except ClientError as error:
        if error.response["Error"].get("Code") != "ServiceUnavailable":
            raise
        return str(error.response["Error"].get("Message", ""))
    return ""


def observed(found: Any) -> dict[str, Any]:
    """The fields of `Observed` that a record of `shortage` tells; none where there is no record yet."""
    if not isinstance(found, dict):
        return {}
    return {
        "was_full": True,
        "refusal": str(found["refusal"]),
        "was_readable": bool(found["wasReadable"]),
        "answer_status": int(found["answerStatus"]),
        "answer_source": str(found["answerSource"]),
        "goes_on": bool(found["goesOn"]),
    }
