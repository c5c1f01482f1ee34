"""The console as its users start it: a process of its own, with the link that it prints."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from queue import Empty, Queue
from urllib.parse import urlsplit

PROJECT_ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 240
TOKEN = "a-token-for-tests"


def environment() -> dict[str, str]:
    """The environment of a console: NiceGUI serves its own tests where pytest's variables are set."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "AWS_"))}


class ConsoleProcess:
    """`python -m console` on a free port. Use it in a `with` block."""

    def __init__(self, *arguments: str) -> None:
        self.arguments = arguments
        self.process = subprocess.Popen(
            [sys.executable, "-m", "console", "--port", "0", "--token", TOKEN, *arguments],
            cwd=PROJECT_ROOT,
            # NiceGUI serves otherwise where it sees pytest.
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: Queue[str] = Queue()
        self.output: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()
        try:
            self.link = self._link()
        except BaseException:
            self.stop()
            raise
        parts = urlsplit(self.link)
        self.address = f"{parts.scheme}://{parts.netloc}"
        self.port = parts.port

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output.append(line)
            self._lines.put(line)
        self._lines.put("")

    def _link(self) -> str:
        while True:
            try:
                line = self._lines.get(timeout=START_SECONDS)
            except Empty:
                line = ""
            if not line:
                raise AssertionError(f"the console printed no link: {''.join(self.output)}")
            if line.startswith("console: "):
                return line.removeprefix("console: ").strip()

    def stop(self) -> int:
        """Stop it as Ctrl-C does; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def __enter__(self) -> ConsoleProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
