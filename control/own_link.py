"""The links of the consoles that run on this machine, kept where only their user can read them: they have tokens."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from contracts import documents
from contracts.documents import Unfit
from control.connection import Connection


def folder() -> Path:
    """The folder of the links: that of the user's session, else one of their own among the temporary files."""
    given = os.environ.get("XDG_RUNTIME_DIR")
    return Path(given or tempfile.gettempdir()) / f"ncf-console-{os.getuid()}"


@contextmanager
def kept(link: str, connection: Connection, may_write: bool) -> Iterator[None]:
    """Keep the link as long as the block lasts; without a folder that is only the user's, it is not kept."""
    path = folder() / str(urlsplit(link).port)
    record = {"link": link, "shows": _shown(connection), "mayWrite": may_write, "pid": os.getpid()}
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if _is_own(path.parent):
            path.unlink(missing_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                json.dump(record, file)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def of(connection: Connection, may_write: bool = False) -> str | None:
    """The link of a console that shows this stack and answers; with `may_write`, of one that changes it too. None if
    there is none. A console that was killed leaves its file, which is removed here.
    """
    with suppress(OSError):
        for path in sorted(folder().iterdir()) if _is_own(folder()) else []:
            try:
                found = documents.read_object(path.read_bytes(), path.name)
                is_alive, link = _is_alive(int(found["pid"])), str(found["link"])
            except (Unfit, KeyError, ValueError, TypeError):
                continue
            if not is_alive:
                path.unlink(missing_ok=True)
                continue
            fits = found.get("shows") == _shown(connection) and (found.get("mayWrite") or not may_write)
            if fits and _answers(link):
                return link
    return None


def _shown(connection: Connection) -> str:
    return f"{connection.stack} {connection.endpoint_url or f'{connection.profile} {connection.region}'}"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):  # the number may be another user's process now
        return False
    return True


def _answers(link: str) -> bool:
    parts = urlsplit(link)
    with suppress(OSError), socket.create_connection((str(parts.hostname), parts.port or 0), timeout=1):
        return True
    return False


def _is_own(path: Path) -> bool:
    """True if nobody else can have written into the folder."""
    found = path.stat(follow_symlinks=False)
    return found.st_uid == os.getuid() and not found.st_mode & 0o077
