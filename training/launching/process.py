"""The training as a process of its own: its output, the resources it used, and how it is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

STOPPED = 128 + signal.SIGTERM


@dataclass(frozen=True)
class Ended:
    """`status` as in a shell: 128 plus the signal's number for a process that a signal ended."""

    status: int
    seconds: float
    cpu_seconds: float
    peak_memory_bytes: int


class Training:
    """Runs the training once. The first SIGINT, SIGTERM or SIGHUP is passed on as SIGTERM, the second as SIGKILL."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command, self._environment = command, environment
        self._process: subprocess.Popen[str] | None = None
        self._stop_requests = 0

    def run(self, on_line: Callable[[str], None], on_stop: Callable[[int], None]) -> Ended:
        """Run the process until it ends. Each stop request calls `on_stop` with the number of requests so far."""
        started = time.monotonic()
        with self._signals(on_stop):
            self._process = process = subprocess.Popen(
                self._command,
                env=dict(self._environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                # In its own process group: Ctrl-C in the terminal would send it SIGINT, which writes no checkpoint.
                process_group=0,
            )
            assert process.stdout is not None
            try:
                if self._stop_requests:
                    os.kill(process.pid, signal.SIGTERM)
                for line in process.stdout:
                    on_line(line.rstrip("\n"))
                # Only wait4 gives the resources that this one child used.
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            except BaseException:
                process.kill()
                process.wait()
                raise
            finally:
                process.stdout.close()
        return Ended(
            status=process.returncode if process.returncode >= 0 else 128 - process.returncode,
            seconds=time.monotonic() - started,
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            peak_memory_bytes=usage.ru_maxrss * 1024,
        )

    @contextmanager
    def _signals(self, on_stop: Callable[[int], None]) -> Iterator[None]:
        def pass_on(number: int, frame: FrameType | None) -> None:
            self._stop_requests += 1
            if self._process is not None and self._process.returncode is None:
                # Not send_signal: it reaps a process that has just ended, and then wait4 fails.
                with suppress(ProcessLookupError):
                    os.kill(self._process.pid, signal.SIGTERM if self._stop_requests == 1 else signal.SIGKILL)
            on_stop(self._stop_requests)

        before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
