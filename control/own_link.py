"""The link of a console that runs on this machine, kept where only its user can read it, for `open console`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def folder() -> Path:
    """The folder of the links: that of the user's session, else one of their own among the temporary files."""
    given = os.environ.get("XDG_RUNTIME_DIR")
    return Path(given or tempfile.gettempdir()) / f"ncf-console-{os.getuid()}"


@contextmanager
def kept(port: int, link: str) -> Iterator[None]:
    """Keep the link as long as the block lasts; without a folder that is only the user's, it is not kept."""
    path = folder() / str(port)
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if _is_own(path.parent):
            path.unlink(missing_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(link)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def of(port: int) -> str | None:
    """The link of the console on `port`, or None if it is not known here."""
    path = folder() / str(port)
    try:
        return path.read_text() if _is_own(path.parent) else None
    except OSError:
        return None


def _is_own(path: Path) -> bool:
    """True if nobody else can have written into the folder."""
    found = path.stat(follow_symlinks=False)
    return found.st_uid == os.getuid() and not found.st_mode & 0o077
