"""Copies the output of a child process, line by line, to a file, to CloudWatch Logs and to a callback."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

from laptop_aws import calls, registry

TAIL_LINES = 20
LONGEST_LINE = 200_000
_BREAK = re.compile(rb"\r\n|\n|\r")


class Lines(Protocol):
    """Where lines go."""

    def write(self, lines: Sequence[str]) -> None: ...


class LogStream:
    """One CloudWatch Logs stream and one file that get the same lines."""

    def __init__(self, group: str, stream: str, path: Path) -> None:
        self.group, self.stream, self.path = group, stream, path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8", errors="replace")
        self._lock = threading.Lock()

    def write(self, lines: Sequence[str]) -> None:
        with self._lock:
            if not self._file.closed:
                with contextlib.suppress(
                    OSError
                ):  # a full disk: CloudWatch Logs has the lines, and the process continues
                    self._file.writelines(f"{line}\n" for line in lines)
                    self._file.flush()
        if self.group:
            written = {"logGroupName": self.group, "logStreamName": self.stream}
            for operation in ("CreateLogGroup", "CreateLogStream", "DescribeLogStreams", "PutLogEvents"):
                calls.record("logs", operation, written, once=True)
            registry.put_log_events(self.group, self.stream, lines)

    def close(self) -> None:
        with self._lock, contextlib.suppress(OSError):
            self._file.close()


class OutputReader:
    """Reads a child's stdout and stderr until both are closed.

    ``stderr_tail`` holds the last lines of stderr, for the reason of a failure. ``on_line(line, is_stderr)`` sees
    each line.
    """

    def __init__(self, process: Any, log: Lines, on_line: Callable[[str, bool], None] | None = None) -> None:
        self._log, self._on_line = log, on_line
        self.stderr_tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._threads = [
            registry.in_background(self._read, process.stdout, False, name=f"stdout-{process.pid}"),
            registry.in_background(self._read, process.stderr, True, name=f"stderr-{process.pid}"),
        ]

    def join(self, seconds: float) -> None:
        """Waits for the end of both streams, at most ``seconds``: a grandchild may hold one open."""
        for thread in self._threads:
            thread.join(seconds)

    def _read(self, pipe: IO[bytes], is_stderr: bool) -> None:
        rest = b""
        while True:
            chunk = os.read(pipe.fileno(), 65536)
            *whole, rest = _BREAK.split(rest + chunk)
            if not chunk or len(rest) > LONGEST_LINE:
                whole, rest = [*whole, rest], b""
            lines = [line.decode("utf-8", "replace") for line in whole if line.strip()]
            if lines:
                self._hand_over(lines, is_stderr)
            if not chunk:
                pipe.close()
                return

    def _hand_over(self, lines: list[str], is_stderr: bool) -> None:
        if is_stderr:
            self.stderr_tail.extend(lines)
        if self._on_line is not None:
            for line in lines:
                self._on_line(line, is_stderr)
        self._log.write(lines)
