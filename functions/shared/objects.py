"""Read, write and list objects in S3. An object that does not exist is None."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from shared.clients import calling, code_of

_ABSENT = {"404", "NoSuchKey"}
_FORBIDDEN = {"403", "AccessDenied"}


@dataclass(frozen=True)
class Stored:
    """An object: its `size` in bytes, the `content` that was read, and its version if the bucket has versions."""

    size: int
    etag: str
    content: bytes = b""
    version_id: str | None = None


class Bucket:
    """The bucket `name`. `s3` is a client.

    Without `s3:ListBucket`, S3 answers 403 for a missing object too. With `forbidden_is_absent`, 403 gives None;
    otherwise it raises MissingResource.
    """

    def __init__(self, s3: Any, name: str) -> None:
        self._s3, self.name = s3, name

    def get(self, key: str, most: int | None = None, forbidden_is_absent: bool = False) -> Stored | None:
        """Read the first `most` bytes of the object (None: all). None if it does not exist."""
        with calling(f"s3 GetObject {key}"):
            try:
                answer = self._s3.get_object(Bucket=self.name, Key=key)
                content = bytes(answer["Body"].read(most))
            except ClientError as error:
                if _is_absent(error, forbidden_is_absent):
                    return None
                raise
        return Stored(answer["ContentLength"], answer["ETag"].strip('"'), content, answer.get("VersionId"))

    def head(self, key: str, forbidden_is_absent: bool = False) -> Stored | None:
        """Return size, ETag and version of the object; None if it does not exist."""
        with calling(f"s3 HeadObject {key}"):
            try:
                answer = self._s3.head_object(Bucket=self.name, Key=key)
            except ClientError as error:
                if _is_absent(error, forbidden_is_absent):
                    return None
                raise
        return Stored(answer["ContentLength"], answer["ETag"].strip('"'), version_id=answer.get("VersionId"))

    def put(self, key: str, content: bytes, content_type: str = "application/json") -> None:
        """Write the object."""
        with calling(f"s3 PutObject {key}"):
            self._s3.put_object(Bucket=self.name, Key=key, Body=content, ContentType=content_type)

    def delete_earlier(self, key: str) -> None:
        """Delete the versions of the object before the current one."""
        with calling(f"s3 ListObjectVersions {key}"):
            for page in self._s3.get_paginator("list_object_versions").paginate(Bucket=self.name, Prefix=key):
                for entry in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                    if entry["Key"] == key and not entry["IsLatest"]:
                        self._s3.delete_object(Bucket=self.name, Key=key, VersionId=entry["VersionId"])

    def folders(self, prefix: str) -> list[str]:
        """Return the folders directly below `prefix`, which ends with a slash, as their objects' keys begin."""
        found: list[str] = []
        with calling(f"s3 ListObjectsV2 {prefix}"):
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix, Delimiter="/")
            for page in pages:
                found += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
        return found

    def sizes(self, prefix: str) -> dict[str, int]:
        """Return the size in bytes of each object below `prefix`, by its key without the prefix."""
        found: dict[str, int] = {}
        with calling(f"s3 ListObjectsV2 {prefix}"):
            for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix):
                found |= {entry["Key"].removeprefix(prefix): entry["Size"] for entry in page.get("Contents", [])}
        return found


def _is_absent(error: ClientError, forbidden_is_absent: bool) -> bool:
    return code_of(error) in (_ABSENT | _FORBIDDEN if forbidden_is_absent else _ABSENT)
