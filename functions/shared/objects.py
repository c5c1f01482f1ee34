"""Objects in S3: read, written, looked at, listed. An object that does not exist is None: the caller knows what that
means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from shared.clients import calling, code_of

_ABSENT = {"404", "NoSuchKey"}
_FORBIDDEN = {"403", "AccessDenied"}


@dataclass(frozen=True)
class Stored:
    """An object as it stands: `size` in bytes; `content` as far as it was read."""

    size: int
    etag: str
    content: bytes = b""


class Bucket:
    """The bucket `name`. `s3` is a client.

    Without `s3:ListBucket`, S3 answers for an object that is not there as for a forbidden one: with
    `forbidden_is_absent` both are None, otherwise a forbidden one raises MissingResource.
    """

    def __init__(self, s3: Any, name: str) -> None:
        self._s3, self.name = s3, name

    def get(self, key: str, most: int | None = None, forbidden_is_absent: bool = False) -> Stored | None:
        """The object, of which the first `most` bytes are read (all, if None); None when there is none."""
        with calling(f"s3 GetObject {key}"):
            try:
                answer = self._s3.get_object(Bucket=self.name, Key=key)
                content = bytes(answer["Body"].read(most))
            except ClientError as error:
                if _is_absent(error, forbidden_is_absent):
                    return None
                raise
        return Stored(answer["ContentLength"], answer["ETag"].strip('"'), content)

    def head(self, key: str, forbidden_is_absent: bool = False) -> Stored | None:
        """Size and ETag of the object; None when there is none."""
        with calling(f"s3 HeadObject {key}"):
            try:
                answer = self._s3.head_object(Bucket=self.name, Key=key)
            except ClientError as error:
                if _is_absent(error, forbidden_is_absent):
                    return None
                raise
        return Stored(answer["ContentLength"], answer["ETag"].strip('"'))

    def put(self, key: str, content: bytes, content_type: str = "application/json") -> None:
        """Writes the object."""
        with calling(f"s3 PutObject {key}"):
            self._s3.put_object(Bucket=self.name, Key=key, Body=content, ContentType=content_type)

    def sizes(self, prefix: str) -> dict[str, int]:
        """Bytes of each object below `prefix`, by the key's rest."""
        found: dict[str, int] = {}
        with calling(f"s3 ListObjectsV2 {prefix}"):
            for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix):
                found |= {entry["Key"].removeprefix(prefix): entry["Size"] for entry in page.get("Contents", [])}
        return found


def _is_absent(error: ClientError, forbidden_is_absent: bool) -> bool:
    return code_of(error) in (_ABSENT | _FORBIDDEN if forbidden_is_absent else _ABSENT)
