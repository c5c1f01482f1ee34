"""Copies objects between the emulator's S3 and the folders of jobs; packs and unpacks archives as SageMaker does."""

from __future__ import annotations

import functools
import os
import tarfile
import threading
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from laptop_aws import calls, registry

MAXIMUM_ARCHIVE_MEMBERS = 10_000
MAXIMUM_ARCHIVE_BYTES = 20 * 1024**3
MAXIMUM_RATIO = 200
RATIO_FLOOR_BYTES = 64 * 1024**2
MAXIMUM_HEADER_BYTES = 64 * 1024
MAXIMUM_HEADERS_BYTES = 8 * 1024**2
_TRANSFER = TransferConfig(use_threads=False, multipart_threshold=64 * 1024**2, multipart_chunksize=64 * 1024**2)
_client_lock = threading.Lock()


class TransferFailed(Exception):
    """An object cannot be read, written or represented as a file; the message names it and says why."""


@dataclass(frozen=True)
class S3Uri:
    """``s3://bucket/key``; the key may be empty."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, text: str) -> S3Uri:
        """Raises TransferFailed if ``text`` is not an S3 URI."""
        for scheme in ("s3://", "s3a://", "s3n://"):
            if text.startswith(scheme):
                bucket, _, key = text[len(scheme) :].partition("/")
                if bucket:
                    return cls(bucket, key)
        raise TransferFailed(f"{text!r} is not an S3 URI (s3://bucket/key)")

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    def child(self, relative: str) -> S3Uri:
        return S3Uri(self.bucket, f"{self.key.rstrip('/')}/{relative}" if self.key else relative)


@functools.cache
def _s3(region: str, role: str) -> Any:
    with _client_lock:
        return registry.client("s3", region)


def s3() -> Any:
    """The emulator's S3; one client for all threads that act as the same role."""
    return _s3(registry.config().region, calls.role())


def list_keys(uri: S3Uri) -> list[str]:
    """All keys that begin with the URI's key, sorted. Raises TransferFailed if the bucket does not exist."""
    try:
        pages = s3().get_paginator("list_objects_v2").paginate(Bucket=uri.bucket, Prefix=uri.key)
        return [item["Key"] for result in pages for item in result.get("Contents", ())]
    except ClientError as error:
        raise TransferFailed(f"cannot list {uri}: {error.response['Error']['Message']}") from error


def exists(uri: S3Uri) -> bool:
    """True if an object has exactly this key."""
    try:
        s3().head_object(Bucket=uri.bucket, Key=uri.key)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] in (403, 404):
            return False
        raise TransferFailed(f"cannot read {uri}: {error.response['Error']['Message']}") from error
    return True


def inside(folder: Path, relative: str) -> Path:
    """The file of a key below ``folder``. Raises TransferFailed if the key leaves the folder or is not a file name."""
    parts = relative.split("/")
    if relative.startswith("/") or any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise TransferFailed(f"the object name {relative!r} cannot be a file below a folder")
    return folder.joinpath(*parts)


def download(uri: S3Uri, target: Path) -> None:
    """Copies one object to a file. Raises TransferFailed."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        s3().download_file(uri.bucket, uri.key, str(target), Config=_TRANSFER)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        raise TransferFailed(
            f"{error.response['Error']['Code']} ({status}): {uri}: {error.response['Error']['Message']}"
        ) from error
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise TransferFailed(
            f"{uri} cannot be a file: its name is also a folder in another object's name, or the reverse"
        ) from error
    except OSError as error:
        raise TransferFailed(f"{uri} cannot be copied to {target}: {error.strerror}") from error


def download_prefix(uri: S3Uri, folder: Path) -> int:
    """Copies the objects whose keys begin with the URI's key, with the structure below it; returns their number. A key
    equal to the prefix is named by its last part, as on SageMaker. Raises TransferFailed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    number = 0
    for key in list_keys(uri):
        if key.endswith("/"):
            continue
        download(S3Uri(uri.bucket, key), inside(folder, below(uri.key, key)))
        number += 1
    return number


def below(prefix: str, key: str) -> str:
    """The part of ``key`` below ``prefix``; from the last folder of the prefix where the prefix ends inside a name."""
    if not prefix or prefix.endswith("/") or key.startswith(f"{prefix}/"):
        return key[len(prefix) :].lstrip("/")
    return key[prefix.rfind("/") + 1 :]


def upload(path: Path, uri: S3Uri) -> None:
    """Copies one file to an object. Raises TransferFailed."""
    from boto3.exceptions import S3UploadFailedError

    try:
        s3().upload_file(str(path), uri.bucket, uri.key, Config=_TRANSFER)
    except (ClientError, S3UploadFailedError) as error:
        raise TransferFailed(f"cannot write {uri}: {error}") from error


def put(content: bytes, uri: S3Uri) -> None:
    """Writes one object. Raises TransferFailed."""
    try:
        s3().put_object(Bucket=uri.bucket, Key=uri.key, Body=content)
    except ClientError as error:
        raise TransferFailed(f"cannot write {uri}: {error.response['Error']['Message']}") from error


def delete(uri: S3Uri) -> None:
    """Deletes one object. Raises TransferFailed."""
    try:
        s3().delete_object(Bucket=uri.bucket, Key=uri.key)
    except ClientError as error:
        raise TransferFailed(f"cannot delete {uri}: {error.response['Error']['Message']}") from error


def files(folder: Path) -> list[Path]:
    """Every plain file below a folder, sorted by name."""
    found = []
    for place, _, names in os.walk(folder):
        found += [Path(place) / name for name in names if (Path(place) / name).is_file()]
    return sorted(found)


class Mirror:
    """Keeps a folder and a prefix equal by copying changed files (SageMaker's checkpoints)."""

    def __init__(self, folder: Path, uri: S3Uri) -> None:
        self._folder, self._uri = folder, uri
        self._seen: dict[Path, tuple[int, int]] = {}

    def fetch(self) -> int:
        number = download_prefix(S3Uri(self._uri.bucket, self._uri.key.rstrip("/") + "/"), self._folder)
        self._seen = dict(self._look())
        return number

    def _look(self) -> Iterator[tuple[Path, tuple[int, int]]]:
        for path in files(self._folder):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            yield path, (status.st_size, status.st_mtime_ns)

    def push(self) -> int:
        """Uploads new and changed files; returns their number. Raises TransferFailed."""
        number = 0
        for path, mark in list(self._look()):
            if self._seen.get(path) != mark:
                try:
                    upload(path, self._uri.child(path.relative_to(self._folder).as_posix()))
                except FileNotFoundError:
                    continue
                self._seen[path] = mark
                number += 1
        return number


# ---- archives --------------------------------------------------------------------------------------------------------


def pack(folder: Path, archive: Path) -> None:
    """Packs the contents of a folder as SageMaker does: member names without a leading ``./``."""
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
            tar.add(entry, arcname=entry.name)


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks an untrusted model archive. Raises TransferFailed, naming the member, for a file that is not a gzipped
    tar; for members that are links, devices or sparse files, leave the folder or come twice; for extended headers above
    MAXIMUM_HEADER_BYTES (before they are read); and for more than MAXIMUM_ARCHIVE_MEMBERS members,
    MAXIMUM_ARCHIVE_BYTES bytes, or MAXIMUM_RATIO times the packed bytes where that is above RATIO_FLOOR_BYTES.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive, "r:gz", tarinfo=_bounded_headers()) as tar:
            packed = archive.stat().st_size
            members = _checked(tar, min(MAXIMUM_ARCHIVE_BYTES, max(RATIO_FLOOR_BYTES, MAXIMUM_RATIO * packed)))
            tar.extractall(folder, members=members, filter="data")
    except RecursionError:
        raise TransferFailed(f"{archive.name} cannot be unpacked: too many extended headers in a row") from None
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError) as error:
        raise TransferFailed(f"{archive.name} cannot be unpacked: {error}") from error


_EXTENDED = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


def _bounded_headers() -> type[tarfile.TarInfo]:
    """A TarInfo class that refuses large extended headers; ``tarfile`` would read them into memory whole."""
    total = 0

    class BoundedHeader(tarfile.TarInfo):
        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> BoundedHeader:
            nonlocal total
            header = super().frombuf(buf, encoding, errors)
            if header.type == tarfile.GNUTYPE_SPARSE:
                raise TransferFailed(f"member {header.name!r} is a sparse file")
            if header.type in _EXTENDED:
                total += header.size
                if not 0 <= header.size <= MAXIMUM_HEADER_BYTES or total > MAXIMUM_HEADERS_BYTES:
                    raise TransferFailed(
                        f"the extended header {header.name!r} has {header.size} bytes; at most {MAXIMUM_HEADER_BYTES}, "
                        f"and {MAXIMUM_HEADERS_BYTES} in all headers of an archive, are read"
                    )
            return header

        def _refuse_holes(self, next: tarfile.TarInfo, *rest: object) -> None:
            raise TransferFailed(f"member {next.name[:200]!r} is a sparse file")

        # ``tarfile`` calls them for the three forms of a PAX header with holes, and would read a map of any length.
        _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse_holes

    return BoundedHeader


def _checked(tar: tarfile.TarFile, maximum_bytes: int) -> Iterable[tarfile.TarInfo]:
    members: list[tarfile.TarInfo] = []
    files: set[PurePosixPath] = set()
    folders: set[PurePosixPath] = set()
    total = 0
    for member in tar:
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts:
            raise TransferFailed(f"member {member.name[:200]!r} leaves the folder")
        if not (member.isfile() or member.isdir()) or member.issparse():
            raise TransferFailed(f"member {member.name[:200]!r} is neither a plain file nor a folder")
        if name in files or (member.isfile() and name in folders):
            raise TransferFailed(f"member {member.name[:200]!r} comes twice")
        if member.size < 0:
            raise TransferFailed(f"member {member.name[:200]!r} has a size below zero")
        (folders if member.isdir() else files).add(name)
        total += member.size
        members.append(member)
        if len(members) > MAXIMUM_ARCHIVE_MEMBERS or total > maximum_bytes:
            raise TransferFailed(f"more than {MAXIMUM_ARCHIVE_MEMBERS} members or {maximum_bytes} bytes")
    return members
