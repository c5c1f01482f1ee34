"""The preparation's code as two S3 objects under the hash of their content. Pure."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass

ENTRY_POINT = "preprocess.py"
ARCHIVE = "preparation.zip"
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Package:
    """`version` is the sha256 of `archive`; `entry_point` is one of its files, separate because spark-submit needs it
    so.
    """

    version: str
    entry_point: bytes
    archive: bytes

    @property
    def prefix(self) -> str:
        """The key prefix of both objects."""
        return f"code/preparation/{self.version}/"


def build(files: Mapping[str, bytes]) -> Package:
    """Build the package of `files` (contents by path relative to the code's root). The same files always give the same
    bytes. Raises ValueError if the entry point is missing.
    """
    if ENTRY_POINT not in files:
        raise ValueError(f"{ENTRY_POINT} is not among the {len(files)} files of the preparation's code")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(files):
            entry = zipfile.ZipInfo(path, _EPOCH)
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            # Not compressed: zlib's output may differ between versions, and so would the hash.
            archive.writestr(entry, files[path], zipfile.ZIP_STORED)
    content = buffer.getvalue()
    return Package(hashlib.sha256(content).hexdigest(), files[ENTRY_POINT], content)
