"""CloudFormation custom resources. `PreparationCode` copies the preparation's code to the artifacts bucket; its
attributes are `EntryPoint` and `PyFiles` (s3 URIs) and `CodeVersion` (the sha256 in both). `Settings` refuses an image
without a digest and parameters that do not go together; its attribute is `Revision`, another one for each change of a
parameter.

The ResponseURL is always answered, because a stack without an answer hangs for an hour. Code is never deleted, because
a running preparation may use it.
"""

from __future__ import annotations

import importlib.util
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from publish_code import answer, package, settings
from shared import environment
from shared.clients import calling, client
from shared.errors import MissingResource
from shared.observability import logger, observed

CODE_PACKAGE = "preparation_code"
SUFFIXES = (".py", ".json")
RESPONSE_ATTEMPTS = 4


@dataclass(frozen=True, kw_only=True)
class Settings(environment.Common):
    """Environment of this function."""

    artifacts_bucket: str


@observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Returns the attributes. Errors are reported to CloudFormation, and raised only if that fails."""
    data: dict[str, str] | None = None
    error: str | None = None
    try:
        data = {} if event["RequestType"] == "Delete" else _made(event)
    except Exception as caught:
        logger.exception("the custom resource failed")
        error = f"{type(caught).__name__}: {caught}"
    _respond(event["ResponseURL"], answer.body(event, data=data, error=error))
    return data or {}


def _made(event: dict[str, Any]) -> dict[str, str]:
    if event["ResourceType"] == "Custom::Settings":
        region = event["StackId"].split(":")[3]
        return settings.attributes(event["ResourceProperties"]["Values"], event["RequestId"], region)
    return _publish(environment.load(Settings).artifacts_bucket)


def _publish(bucket: str) -> dict[str, str]:
    built = package.build(_code())
    s3 = client("s3")
    for name, content in ((package.ENTRY_POINT, built.entry_point), (package.ARCHIVE, built.archive)):
        with calling(f"s3 PutObject {built.prefix}{name}"):
            s3.put_object(Bucket=bucket, Key=built.prefix + name, Body=content)
    logger.info("preparation code published", extra={"code_version": built.version})
    root = f"s3://{bucket}/{built.prefix}"
    return {"EntryPoint": root + package.ENTRY_POINT, "PyFiles": root + package.ARCHIVE, "CodeVersion": built.version}


def _code() -> dict[str, bytes]:
    spec = importlib.util.find_spec(CODE_PACKAGE)
    roots = list(spec.submodule_search_locations or []) if spec else []
    if not roots:
        raise MissingResource(f"the layer with the package {CODE_PACKAGE} is not attached to this function")
    root = Path(roots[0])
    paths = [
        path
        for path in root.rglob("*")
        if path.is_file() and path.suffix in SUFFIXES and "__pycache__" not in path.parts
    ]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def _respond(url: str, body: bytes) -> None:
    if not url.startswith(("https://", "http://")):
        raise ValueError("ResponseURL must be an http(s) URL")
    request = urllib.request.Request(url, data=body, method="PUT", headers={"Content-Type": ""})
    for attempt in range(1, RESPONSE_ATTEMPTS + 1):
        try:
            with urllib.request.urlopen(request, timeout=10):  # nosec B310: the scheme is checked above
                return
        except urllib.error.URLError:
            if attempt == RESPONSE_ATTEMPTS:
                raise
            logger.warning("sending the answer to CloudFormation failed; trying again", extra={"attempt": attempt})
            time.sleep(attempt)
