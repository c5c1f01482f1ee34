"""The folder that replaces S3 while a Spark job runs: filled before the run, uploaded after it.

Under the root, ``<bucket>/<key>`` is the file of an object; Spark's ``s3`` file system is mounted on it (see
``spark``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from laptop_aws import objects
from laptop_aws.objects import S3Uri, TransferFailed

LAST = "manifest.json"
_URI = re.compile(r"s3[an]?://[^\s,;'\"]+")


def uris_in(texts: Iterable[str]) -> list[S3Uri]:
    """The distinct S3 URIs in the texts, outer folders first, so that objects below them are not fetched twice."""
    found = {(uri.bucket, uri.key.rstrip("/")) for text in texts for uri in map(S3Uri.parse, _URI.findall(text))}
    kept: list[S3Uri] = []
    for bucket, key in sorted(found):
        if not any(
            other.bucket == bucket and (not other.key or f"{key}/".startswith(f"{other.key}/")) for other in kept
        ):
            kept.append(S3Uri(bucket, key))
    return kept


class Stage:
    """The objects below some URIs, as files."""

    def __init__(self, root: Path, uris: list[S3Uri]) -> None:
        self.root = root
        self._uris = uris
        self._fetched: dict[Path, tuple[int, int]] = {}

    @property
    def buckets(self) -> list[str]:
        return sorted({uri.bucket for uri in self._uris})

    @property
    def size(self) -> int:
        """Bytes fetched."""
        return sum(size for size, _ in self._fetched.values())

    def fetch(self) -> int:
        """Downloads the object of each URI and all below it; returns how many. Raises TransferFailed."""
        for bucket in self.buckets:
            (self.root / bucket).mkdir(parents=True, exist_ok=True)
        for uri in self._uris:
            keys = objects.list_keys(S3Uri(uri.bucket, uri.key))
            for key in keys:
                if key.endswith("/") or not (not uri.key or key == uri.key or key.startswith(f"{uri.key}/")):
                    continue
                path = objects.inside(self.root / uri.bucket, key)
                objects.download(S3Uri(uri.bucket, key), path)
                self._fetched[path] = _mark(path)
        return len(self._fetched)

    def bring_back(self) -> tuple[int, int]:
        """Uploads new and changed files, oldest first and manifests last, and deletes the objects of deleted files.

        Returns (uploaded, deleted). Hadoop's checksum files are not uploaded: S3 has none. Raises
        TransferFailed.
        """
        present = [path for path in objects.files(self.root) if not _is_checksum(path)]
        changed = [path for path in present if self._fetched.get(path) != _mark(path)]
        changed.sort(key=lambda path: (path.name == LAST, path.stat().st_mtime_ns, str(path)))
        gone = sorted(set(self._fetched) - set(present))
        for path in gone:
            objects.delete(self._uri_of(path))
        for path in changed:
            objects.upload(path, self._uri_of(path))
        return len(changed), len(gone)

    def _uri_of(self, path: Path) -> S3Uri:
        bucket, _, key = path.relative_to(self.root).as_posix().partition("/")
        return S3Uri(bucket, key)


def _mark(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _is_checksum(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(".crc")


def local_copy(uri_or_path: str, folder: Path) -> Path:
    """Downloads the object of an S3 URI into ``folder``. Raises TransferFailed if it is not an S3 URI or does not
    exist."""
    uri = S3Uri.parse(uri_or_path)
    path = objects.inside(folder, uri.key.rpartition("/")[2])
    if not objects.exists(uri):
        raise TransferFailed(f"{uri} does not exist")
    objects.download(uri, path)
    return path
