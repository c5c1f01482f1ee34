"""Unpacking model.tar.gz, which is not trusted: only a bundle's files are written, and only up to a limit of bytes."""

from __future__ import annotations

import shutil
from pathlib import Path

from contracts import archives
from contracts.archives import BadArchive
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
        if isinstance(error, BadArchive):
            raise BrokenBundle(error.member or archive.name, error.reason) from error
        if isinstance(error, OSError):
            raise BrokenBundle(archive.name, f"cannot be unpacked: {error}") from error
        raise


def _unpack(archive: Path, directory: Path, written: dict[str, Path]) -> None:
    """Write the members of `archive` and add their paths to `written`, by name; also those before an error."""
    limit = min(MAXIMUM_ARCHIVE_BYTES, max(RATIO_FLOOR, MAXIMUM_RATIO * archive.stat().st_size))
    with archive.open("rb") as packed:
        for file in archives.files(packed, limit):
            if file.name not in NAMES:
                raise BrokenBundle(file.name, "is no member of a bundle")
            written[file.name] = directory / file.name
            with written[file.name].open("xb") as target:
                shutil.copyfileobj(file, target, 1 << 20)
