"""A copy of a dataset version under another name, which starts a run as a new version does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def publish_copy(
    s3: Any, bucket: str, source: str, target: str, changed: Callable[[str, bytes], bytes] = lambda _, content: content
) -> None:
    """Publish a copy of the version `source` as `target`: train first, the manifest last, with the new name in it.
    `changed` is given each key and content, in this order, and returns the content to write.
    """
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket, Prefix=f"datasets/{source}/")["Contents"]]
    for key in sorted(keys, key=lambda key: (key.endswith("manifest.json"), "/train/" not in key)):
        content = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        if key.endswith("manifest.json"):
            content = content.replace(source.encode(), target.encode())
        s3.put_object(Bucket=bucket, Key=key.replace(source, target), Body=changed(key, content))
