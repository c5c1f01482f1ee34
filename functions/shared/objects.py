"""Read, write and list objects in S3. An object that does not exist is None."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from shared.clients import calling, code_of

PIECE = 1 << 20
"""Bytes that are read at once."""
_ABSENT = {"404", "NoSuchKey"}
_FORBIDDEN = {"403", "AccessDenied"}
_CHANGED = {"412", "PreconditionFailed", "409", "ConditionalRequestConflict"}


@dataclass(frozen=True)
class Stored:
    """An object: its `size` in bytes, the `content` that was read, and its version if the bucket has versions."""

    size: int
    etag: str
    content: bytes = b""
    version_id: str | None = None


@dataclass(frozen=True)
class Version:
    """One version of an object; `is_marker` is True for the mark of a deletion. In a bucket without versions each
    object has one, `null`.
    """

    key: str
    version_id: str
    size: int
    is_latest: bool
    is_marker: bool = False


class Stream(io.RawIOBase):
    """A file that is read once: the bytes of `pieces`, one after the other."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces, self._rest = iter(pieces), memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


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

    def put_unless_changed(self, key: str, content: bytes, etag: str | None) -> bool:
        """Write the object if its ETag is still `etag` (None: if it does not exist). False if it is not."""
        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": f'"{etag}"'}
        with calling(f"s3 PutObject {key}"):
            try:
                self._s3.put_object(
                    Bucket=self.name, Key=key, Body=content, ContentType="application/json", **condition
                )
            except ClientError as error:
                if code_of(error) in _CHANGED:
                    return False
                raise
        return True

    def open(self, key: str) -> io.BufferedReader:
        """Return the object's content as a file that is read once. Raises MissingResource if it does not exist."""
        with calling(f"s3 GetObject {key}"):
            body = self._s3.get_object(Bucket=self.name, Key=key)["Body"]
        return io.BufferedReader(Stream(_read(body, key)), PIECE)

    def put_pieces(self, key: str, pieces: Iterable[bytes]) -> None:
        """Write an object of any size whose bytes are those of `pieces`."""
        with calling(f"s3 PutObject {key}"):
            self._s3.upload_fileobj(io.BufferedReader(Stream(pieces), PIECE), self.name, key)

    def versions(self, prefix: str, after: str = "") -> Iterator[Version]:
        """Yield the versions of all objects below `prefix`, by key, from the one that follows `after`."""
        call: dict[str, Any] = {"Bucket": self.name, "Prefix": prefix} | ({"KeyMarker": after} if after else {})
        while True:
            with calling(f"s3 ListObjectVersions {prefix}"):
                page = self._s3.list_object_versions(**call)
            found = [
                Version(entry["Key"], entry["VersionId"], entry["Size"], entry["IsLatest"])
                for entry in page.get("Versions", [])
            ] + [
                Version(entry["Key"], entry["VersionId"], 0, entry["IsLatest"], is_marker=True)
                for entry in page.get("DeleteMarkers", [])
            ]
            yield from sorted(found, key=lambda version: version.key.encode())
            if not page.get("IsTruncated"):
                return
            call |= {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}

    def delete_version(self, key: str, version_id: str) -> None:
        """Delete one version of an object for good."""
        with calling(f"s3 DeleteObject {key}"):
            self._s3.delete_object(Bucket=self.name, Key=key, VersionId=version_id)

    def delete_earlier(self, key: str) -> None:
        """Delete the versions of the object before the current one."""
        for version in self.versions(key):
            if version.key == key and not version.is_latest:
                self.delete_version(key, version.version_id)

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

    def written(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield the key of each object below `prefix`, and when it was written (epoch seconds)."""
        with calling(f"s3 ListObjectsV2 {prefix}"):
            for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix):
                for entry in page.get("Contents", []):
                    yield entry["Key"], int(entry["LastModified"].timestamp())


def first_version(s3: Any, bucket: str, key: str) -> Stored | None:
    """Return size, ETag and version of an object as it was written first; None if it does not exist."""
    versions: list[dict[str, Any]] = []
    with calling(f"s3 ListObjectVersions {key}"):
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=key):
            versions += [entry for entry in page.get("Versions", []) if entry["Key"] == key]
    if not versions:
        return None
    # S3 lists the latest version first; of two in one second the later one in the list is the earlier one.
    first = min(reversed(versions), key=lambda entry: entry["LastModified"])
    version_id = None if first["VersionId"] == "null" else first["VersionId"]
    return Stored(first["Size"], first["ETag"].strip('"'), version_id=version_id)


def _is_absent(error: ClientError, forbidden_is_absent: bool) -> bool:
    return code_of(error) in (_ABSENT | _FORBIDDEN if forbidden_is_absent else _ABSENT)


def _read(body: Any, key: str) -> Iterator[bytes]:
    with calling(f"s3 GetObject {key}"):
        yield from body.iter_chunks(PIECE)
