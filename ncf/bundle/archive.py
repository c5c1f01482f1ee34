"""Unpacking model.tar.gz, which is not trusted: only a bundle's files are written, and only up to a limit of bytes."""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
from pathlib import Path

from ncf.bundle.format import MANIFEST, MEMBERS, NAMES, BrokenBundle

MAXIMUM_ARCHIVE_BYTES = 32 << 30
"""Maximum size of an unpacked archive, in bytes."""
MAXIMUM_RATIO = 200
"""Maximum ratio of unpacked to packed bytes; it applies to unpacked sizes above `RATIO_FLOOR`."""
RATIO_FLOOR = 64 << 20
"""Unpacked size in bytes that is always allowed."""


def extract(archive: Path | str, directory: Path | str) -> None:
    """Unpack `model.tar.gz` into `directory`, which must be empty or missing.

    Only the names of a bundle's members are allowed, each once, as plain files (a leading `./`, which some tar programs
    write, is dropped). Raises BrokenBundle for anything else, for an archive that unpacks to too many bytes, and for a
    damaged one; `directory` is empty then.
    """
    archive, directory = Path(archive), Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise FileExistsError(f"{directory} is not empty")
    written: dict[str, Path] = {}
    try:
        _unpack(archive, directory, written)
        for name in (*MEMBERS, MANIFEST):
            if name not in written:
                raise BrokenBundle(name, "is missing")
    except BaseException as error:
        for path in written.values():
            path.unlink(missing_ok=True)
        if isinstance(error, (tarfile.TarError, EOFError, OSError, ValueError)):
            raise BrokenBundle(archive.name, f"cannot be unpacked: {error}") from error
        raise


def _unpack(archive: Path, directory: Path, written: dict[str, Path]) -> None:
    """Write the members of `archive` and add their paths to `written`, by name; also those before an error."""
    with archive.open("rb") as packed, gzip.GzipFile(fileobj=packed) as unpacked:
        metered = _Metered(unpacked, archive.stat().st_size)
        # Read as a stream, so that every byte is counted before it is used.
        with tarfile.open(fileobj=metered, mode="r|") as members:
            for member in members:
                name = member.name.removeprefix("./")
                if member.isdir() and name in (".", ""):
                    continue
                if name not in NAMES:
                    raise BrokenBundle(member.name, "is no member of a bundle")
                if not member.isreg():
                    raise BrokenBundle(name, "is not a plain file")
                if name in written:
                    raise BrokenBundle(name, "is in the archive twice")
                source = members.extractfile(member)
                assert source is not None, "a plain file has content"
                written[name] = directory / name
                with written[name].open("xb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)


class _Metered(io.RawIOBase):
    """A reader that raises BrokenBundle if an archive unpacks to more bytes than allowed."""

    def __init__(self, source: gzip.GzipFile, packed_bytes: int) -> None:
        self._source = source
        self._count = 0
        self._limit = min(MAXIMUM_ARCHIVE_BYTES, max(RATIO_FLOOR, MAXIMUM_RATIO * packed_bytes))

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(self._limit + 1 - self._count if size < 0 else size)
        self._count += len(data)
        if self._count > self._limit:
            raise BrokenBundle("model.tar.gz", f"unpacks to more than {self._limit} bytes")
        return data
