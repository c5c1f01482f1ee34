"""Files on any file system of Spark: `s3://…`, `hdfs://…` or a directory, through Hadoop's FileSystem API."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from py4j.protocol import Py4JJavaError
from pyspark.errors.exceptions.captured import CapturedException
from pyspark.sql import SparkSession

from refusal import PreparationFailed
from spark_session import java_class

Result = TypeVar("Result")


@dataclass(frozen=True, order=True)
class StoredFile:
    """A file: `path` in the listed folder (the file's name if a file was listed), full `uri`, `size` in bytes."""

    path: str
    uri: str
    size: int

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.path.rsplit("/", 1)[-1]


def literal_path(uri: str) -> str:
    """`uri` for Spark's readers, with `[`, `{`, `*` and `?` escaped: unescaped, they would be a pattern."""
    return re.sub(r"([\\*?\[\]{}^])", r"\\\1", uri)


class Storage:
    """Lists, reads, moves and writes whole files. Raises PreparationFailed with the URI of the file."""

    def __init__(self, session: SparkSession) -> None:
        self._session = session
        self._path = java_class(session, "org.apache.hadoop.fs.Path")
        self._configuration: Any = session.sparkContext._jsc.hadoopConfiguration()

    def exists(self, uri: str) -> bool:
        """True if the file or folder exists."""
        path, files = self._locate(uri)
        return bool(attempt("look for", uri, lambda: files.exists(path)))

    def list_files(self, uri: str) -> list[StoredFile]:
        """All files below `uri`, or `uri` itself if it is a file; sorted by path; empty if it does not exist."""
        path, files = self._locate(uri)
        root = str(files.makeQualified(path).toString()).rstrip("/")

        def listed() -> list[StoredFile]:
            found = []
            remaining = files.listFiles(path, True)
            while remaining.hasNext():
                status = remaining.next()
                full = str(status.getPath().toString())
                relative = full[len(root) :].lstrip("/") if full != root else status.getPath().getName()
                # Some S3 clients list a folder's marker object as an empty file with an empty name.
                if relative:
                    found.append(StoredFile(relative, full, int(status.getLen())))
            return sorted(found)

        return attempt("list", uri, listed) if self.exists(uri) else []

    def read_start(self, uri: str, size: int) -> bytes:
        """At most `size` bytes from the start, decompressed if the name has an ending like `.gz`."""
        path, files = self._locate(uri)

        def read() -> bytes:
            codecs = java_class(self._session, "org.apache.hadoop.io.compress.CompressionCodecFactory")
            codec = codecs(self._configuration).getCodec(path)
            stream = files.open(path)
            try:
                return bytes((codec.createInputStream(stream) if codec else stream).readNBytes(size))
            finally:
                stream.close()

        return attempt("read", uri, read)

    def sha256(self, uri: str) -> str:
        """The SHA-256 of a file's bytes, in hexadecimal digits."""
        path, files = self._locate(uri)

        def digest() -> str:
            stream = files.open(path)
            try:
                digests = java_class(self._session, "org.apache.commons.codec.digest.DigestUtils")
                return str(digests.sha256Hex(stream))
            finally:
                stream.close()

        return attempt("read", uri, digest)

    def write_whole(self, uri: str, text: str, draft: str) -> None:
        """Writes `text` as UTF-8 to `draft` and moves it to `uri`: a reader of `uri` sees all of it or nothing."""
        path, files = self._locate(draft)

        def write() -> None:
            stream = files.create(path, True)
            try:
                stream.write(text.encode("utf-8"))
            finally:
                stream.close()

        self._without_checksum_files(files)
        attempt("write", draft, write)
        self.move(draft, uri)

    def move(self, source: str, destination: str) -> None:
        """Renames a file; replaces a file at `destination`, and creates its folder."""
        origin, files = self._locate(source)
        target, _ = self._locate(destination)

        def rename() -> bool:
            files.mkdirs(target.getParent())
            files.delete(target, False)
            return bool(files.rename(origin, target))

        if not attempt("move", source, rename):
            raise PreparationFailed(f"could not move {source} to {destination}")

    def replace(self, source: str, destination: str) -> None:
        """Moves a file onto an existing one, which stays whole until it is replaced."""
        origin, files = self._locate(source)
        target, _ = self._locate(destination)
        copy = java_class(self._session, "org.apache.hadoop.fs.FileUtil").copy
        if not attempt("move", source, lambda: copy(files, origin, files, target, True, True, self._configuration)):
            raise PreparationFailed(f"could not move {source} to {destination}")

    def delete(self, uri: str) -> None:
        """Removes a file, or a folder with its contents; has no effect if it does not exist."""
        path, files = self._locate(uri)
        attempt("delete", uri, lambda: files.delete(path, True))

    def drop_checksum_files(self, uri: str) -> None:
        """Stops Hadoop from writing a hidden `.crc` next to each file on `uri`'s file system."""
        self._without_checksum_files(self._locate(uri)[1])

    @staticmethod
    def _without_checksum_files(files: Any) -> None:
        files.setWriteChecksum(False)

    def _locate(self, uri: str) -> tuple[Any, Any]:
        def resolve() -> tuple[Any, Any]:
            path = self._path(uri)
            return path, path.getFileSystem(self._configuration)

        return attempt("reach", uri, resolve)


def attempt(verb: str, uri: str, action: Callable[[], Result]) -> Result:
    """The result of `action`. Raises PreparationFailed with the verb, the URI and the cause if Java raises."""
    try:
        return action()
    except Py4JJavaError as error:
        raise PreparationFailed(f"cannot {verb} {uri}: {root_cause(error.java_exception)}") from error
    except CapturedException as error:  # an IllegalArgumentException, which PySpark knows
        raise PreparationFailed(f"cannot {verb} {uri}: {' '.join(str(error).split())[:500]}") from error


def root_cause(throwable: Any) -> str:
    """`ClassName: message` of the innermost cause of a Java exception, on one line."""
    for _ in range(20):
        cause = throwable.getCause()
        if cause is None:
            break
        throwable = cause
    name = str(throwable.getClass().getSimpleName())
    message = throwable.getMessage()
    return f"{name}: {' '.join(str(message).split())}" if message else name
