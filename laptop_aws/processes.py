"""The host's child processes: each has its own group and a clean environment, and ends with the host."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from laptop_aws.config import LOOPBACK, Config

logger = logging.getLogger("emulator")

PASSED_ON = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "SYSTEMROOT",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
)


def child_environment(config: Config, **additions: str) -> dict[str, str]:
    """The environment of a child process: the variables in PASSED_ON, the emulator's endpoint, its fixed credentials,
    and ``additions``.
    """
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment |= config.sdk_environment
    environment |= {
        "NO_PROXY": LOOPBACK,
        "no_proxy": LOOPBACK,
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return environment | additions


class _Children:
    """The running children, and the keeper process that ends them if the host cannot."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[int, tuple[str, subprocess.Popen[Any]]] = {}
        self._keeper: subprocess.Popen[str] | None = None

    def _tell_keeper(self, line: str) -> None:
        if self._keeper is None or self._keeper.poll() is not None:
            keeper = Path(__file__).with_name("keeper.py")
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", str(keeper)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
                env={},
            )
            line = "".join(f"+{group}\n" for group in self._running if f"+{group}\n" != line) + line
        assert self._keeper.stdin is not None
        self._keeper.stdin.write(line)
        self._keeper.stdin.flush()

    def add(self, name: str, process: subprocess.Popen[Any]) -> None:
        with self._lock:
            self._running[process.pid] = (name, process)
            self._tell_keeper(f"+{process.pid}\n")

    def forget_ended(self) -> None:
        with self._lock:
            for group, (_, process) in list(self._running.items()):
                if process.poll() is not None and not group_is_alive(group):
                    del self._running[group]
                    self._tell_keeper(f"-{group}\n")

    def running(self) -> list[tuple[str, subprocess.Popen[Any]]]:
        self.forget_ended()
        with self._lock:
            return list(self._running.values())


_children = _Children()


def group_is_alive(group: int) -> bool:
    """True if a process of the group exists (a zombie counts until it is collected)."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def spawn(
    command: Sequence[str | Path],
    *,
    name: str,
    environment: Mapping[str, str],
    cwd: Path | str | None = None,
    stdin: int | IO[Any] | None = subprocess.DEVNULL,
    stdout: int | IO[Any] | None = None,
    stderr: int | IO[Any] | None = None,
    text: bool = False,
    bufsize: int = -1,
) -> subprocess.Popen[Any]:
    """Starts ``command`` in a new session with exactly ``environment``; it ends with the host."""
    process: subprocess.Popen[Any] = subprocess.Popen(
        [str(part) for part in command],
        cwd=cwd,
        env=dict(environment),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        encoding="utf-8" if text else None,
        errors="replace" if text else None,
        bufsize=bufsize,
        start_new_session=True,
    )
    _children.add(name, process)
    return process


def _signal(process: subprocess.Popen[Any], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def terminate(process: subprocess.Popen[Any], grace_seconds: float) -> int:
    """Sends SIGTERM to the group, and SIGKILL to the rest after ``grace_seconds``; returns the leader's exit status."""
    _signal(process, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(grace_seconds)
    _signal(process, signal.SIGKILL)
    status = process.wait()
    _children.forget_ended()
    return status


def terminate_all(grace_seconds: float) -> int:
    """Ends all children within one grace period; returns their number."""
    running = _children.running()
    for _, process in running:
        _signal(process, signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    for _, process in running:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
    for name, process in running:
        if process.poll() is None:
            logger.warning(
                "shutdown: %s (pid %d) did not end within %.0f s of SIGTERM; killed", name, process.pid, grace_seconds
            )
        _signal(process, signal.SIGKILL)
    for _, process in running:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
    _children.forget_ended()
    return len(running)


def forget_ended() -> None:
    """Forgets children that have ended; called regularly, because the system reuses process ids."""
    _children.forget_ended()
