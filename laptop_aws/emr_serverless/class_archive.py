"""An archive of Spark's classes (class data sharing, https://openjdk.org/jeps/350): a sixth of a short job's processor
time is for loading and verifying them.

The Java of the first short jobs writes the archive beside Spark as it ends, and later ones map it. Where nothing can be
written there, or the archive fits no more, jobs run without one.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from laptop_aws.java import Java
from laptop_aws.processes import group_is_alive

FOLDER = "class-archives"
LONGEST_WRITE_SECONDS = 300.0
#: A draft of this age is of a host that ended.
_ABANDONED_SECONDS = 3600.0
#: Java would warn on standard output of an archive that does not fit.
_QUIET = ("-Xlog:disable", "-Xlog:all=error:stderr")


@dataclass(frozen=True)
class ClassArchive:
    """``path`` of the archive, and ``draft``, where this Java writes it; None if the archive is there."""

    path: Path
    draft: Path | None = None

    @property
    def options(self) -> tuple[str, ...]:
        """Options for Java."""
        if self.draft is None:
            return (*_QUIET, f'"-XX:SharedArchiveFile={self.path}"')
        return (*_QUIET, f'"-XX:ArchiveClassesAtExit={self.draft}"')

    def keep(self, group: int) -> bool:
        """Waits until Java, in this process group, which ends by itself, has written the draft, and puts it in place of
        older archives; True if there is an archive now.
        """
        if self.draft is None:
            return True
        deadline = time.monotonic() + LONGEST_WRITE_SECONDS
        while group_is_alive(group) and time.monotonic() < deadline:
            time.sleep(0.1)
        if group_is_alive(group) or not self.draft.exists():
            return False
        self.draft.replace(self.path)
        for other in self.path.parent.iterdir():
            if other != self.path and (
                other.suffix == ".jsa" or time.time() - other.stat().st_mtime > _ABANDONED_SECONDS
            ):
                other.unlink(missing_ok=True)
        return True

    def drop(self) -> None:
        """Removes what was written of the draft, if it is still there."""
        if self.draft is not None:
            self.draft.unlink(missing_ok=True)


def spark_home() -> Path | None:
    """The folder of the Spark that pyspark brings; None if it is not installed here."""
    specification = importlib.util.find_spec("pyspark")
    return Path(specification.origin).parent if specification and specification.origin else None


def find(java: Java, options: Sequence[str], spark: Path | None = None) -> ClassArchive | None:
    """The archive for this Java, Spark and ``options``; None where there is no Spark, or no place for an archive."""
    spark = spark or spark_home()
    if spark is None:
        return None
    folder = spark / FOLDER
    try:
        folder.mkdir(exist_ok=True)
        path = folder / f"{_key(java, options, spark)}.jsa"
    except OSError:
        return None
    if path.exists():
        return ClassArchive(path)
    if not os.access(folder, os.W_OK):
        return None
    return ClassArchive(path, folder / f"{uuid.uuid4().hex}.draft")


def _key(java: Java, options: Sequence[str], spark: Path) -> str:
    """Another one where Java would find that the archive does not fit."""
    release = java.home / "release"
    parts = [java.origin, release.read_text("utf-8", "replace") if release.exists() else str(java.version)]
    parts += [str(spark), *options]
    for jar in sorted((spark / "jars").glob("*.jar")):
        status = jar.stat()
        parts.append(f"{jar.name} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
