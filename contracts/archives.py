"""Reading a `.tar.gz`, or one `.gz`, that is not trusted, as a stream: every byte is counted before it is used.

`tarfile` reads an extended header of any size into memory, and the maps of sparse files. So this reader uses only its
parser of one header block. It takes plain files and folders, GNU's header for a long name, and the `path` and `size` of
a PAX header. It refuses every other kind of member.
"""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import zlib
from collections.abc import Iterator
from typing import IO

MAXIMUM_MEMBERS = 1000
MAXIMUM_HEADER_BYTES = 16 * 1024
"""Maximum size of one extended header, in bytes."""
PIECE = 1 << 16
"""Bytes that are read at once when content is skipped."""

_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE)
_EXTENDED = (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME)
_KINDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.FIFOTYPE: "a named pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
    tarfile.XGLTYPE: "a global header",
}
_RECORD = re.compile(rb"([0-9]{1,5}) ([^=\n]+)=")
_SIZE = re.compile(rb"[0-9]{1,18}")


class BadArchive(Exception):
    """Raised when an archive cannot be read or is refused: `member` is the member at fault, if it is one."""

    def __init__(self, reason: str, member: str | None = None) -> None:
        self.member = None if member is None else "".join(c if c.isprintable() else "?" for c in member)[:120]
        self.reason = reason
        super().__init__(reason if self.member is None else f"{self.member} {reason}")


class File:
    """A plain file in an archive: `name` without a leading `./`, `size` in bytes. Read it before the next one."""

    def __init__(self, name: str, size: int, source: _Counted) -> None:
        self.name, self.size = name, size
        self._source, self._left = source, size

    def read(self, size: int = -1) -> bytes:
        """Return the next `size` bytes, or all that are left. Raises BadArchive."""
        size = self._left if size < 0 else min(size, self._left)
        self._left -= size
        return self._source.exactly(size)

    def skip(self) -> None:
        while self._left:
            self.read(PIECE)


def files(packed: IO[bytes], maximum_bytes: int) -> Iterator[File]:
    """Yield the plain files of a `.tar.gz` that unpacks to at most `maximum_bytes`, headers and padding included.

    Raises BadArchive for a damaged archive; for more members, larger headers or more bytes than the limits; for a
    member that is neither a file nor a folder, or that has holes; for a path that comes twice, is absolute or has a
    part `..`.
    """
    seen: set[str] = set()
    source = _Counted(gzip.GzipFile(fileobj=packed), maximum_bytes)
    for kind, name, size in _members(source):
        name = name.removeprefix("./")
        if kind == tarfile.DIRTYPE and name in ("", "."):
            continue
        if {"", ".", ".."} & set(name.split("/")):
            raise BadArchive("is not a path below the archive's folder", name)
        if kind not in (*_FILES, tarfile.DIRTYPE):
            raise BadArchive(f"is not a plain file but {_KINDS.get(kind, f'of type {kind!r}')}", name)
        if name in seen:
            raise BadArchive("is in the archive twice", name)
        seen.add(name)
        if kind == tarfile.DIRTYPE:
            continue
        if not 0 <= size <= source.left:
            raise BadArchive(f"has {size} bytes, and the archive unpacks to more than {maximum_bytes} bytes", name)
        file = File(name, size, source)
        yield file
        file.skip()
        source.skip_padding(size)


def unpack(packed: bytes, maximum_bytes: int) -> bytes:
    """Return what a `.gz` unpacks to, at most `maximum_bytes`. Raises BadArchive."""
    return _Counted(gzip.GzipFile(fileobj=io.BytesIO(packed)), maximum_bytes).read(maximum_bytes + 1)


def _members(source: _Counted) -> Iterator[tuple[bytes, str, int]]:
    """Yield type, name and size of each member up to the end mark. The caller reads the content."""
    members = 0
    extended: dict[bytes, bytes] = {}
    taken: set[bytes] = set()
    block = source.read(tarfile.BLOCKSIZE)
    if not block:
        raise BadArchive("the archive cannot be read: it is empty")
    while block.strip(b"\0"):
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise BadArchive(f"the archive cannot be read: {error}") from None
        if header.type in _EXTENDED:
            if header.type in taken:
                raise BadArchive("is a second header of its kind for one member", header.name)
            taken.add(header.type)
            extended |= _extended(header, source)
        else:
            members += 1
            if members > MAXIMUM_MEMBERS:
                raise BadArchive(f"the archive has more than {MAXIMUM_MEMBERS} members")
            path = extended.get(b"path")
            name = header.name if path is None else path.decode("utf-8", "surrogateescape").rstrip("/")
            yield header.type, name, int(extended.get(b"size", header.size))
            extended, taken = {}, set()
        block = source.read(tarfile.BLOCKSIZE)
    while source.read(PIECE):  # to its end, where gzip has a checksum
        pass


def _extended(header: tarfile.TarInfo, source: _Counted) -> dict[bytes, bytes]:
    """Return `path` and `size` where the extended header has them."""
    if not 0 <= header.size <= MAXIMUM_HEADER_BYTES:
        raise BadArchive(f"is a header of {header.size} bytes, more than {MAXIMUM_HEADER_BYTES}", header.name)
    content = source.exactly(header.size)
    source.skip_padding(header.size)
    if header.type == tarfile.GNUTYPE_LONGNAME:
        return {b"path": content.partition(b"\0")[0]}
    found: dict[bytes, bytes] = {}
    start = 0
    while start < len(content):
        record = _RECORD.match(content, start)
        end = start + int(record[1]) if record else 0
        if record is None or not record.end() < end <= len(content) or content[end - 1 : end] != b"\n":
            raise BadArchive("is a PAX header that cannot be read", header.name)
        found[record[2]] = content[record.end() : end - 1]
        start = end
    if any(key.startswith(b"GNU.sparse.") for key in found):
        raise BadArchive("is not a plain file but a sparse file", header.name)
    if not _SIZE.fullmatch(found.get(b"size", b"0")):
        raise BadArchive("is a PAX header whose size is not a number of bytes", header.name)
    return {key: found[key] for key in (b"path", b"size") if key in found}


class _Counted:
    """The unpacked bytes of an archive, of which at most `limit` are read."""

    def __init__(self, source: gzip.GzipFile, limit: int) -> None:
        self._source, self._limit, self.left = source, limit, limit

    def read(self, size: int) -> bytes:
        """Return `size` bytes, or fewer at the end of the archive."""
        try:
            data = self._source.read(min(size, self.left + 1))
        except (zlib.error, EOFError, OSError) as error:
            raise BadArchive(f"the archive cannot be read: {error}") from error
        self.left -= len(data)
        if self.left < 0:
            raise BadArchive(f"the archive unpacks to more than {self._limit} bytes")
        return data

    def exactly(self, size: int) -> bytes:
        data = self.read(size)
        if len(data) < size:
            raise BadArchive("the archive cannot be read: it ends inside a member")
        return data

    def skip_padding(self, size: int) -> None:
        """Skip the rest of the last block of `size` bytes."""
        self.exactly(-size % tarfile.BLOCKSIZE)
