"""Saves every service's state as one JSON file, atomically. ministack saves only on a clean exit. Here a thread saves
changed state every two seconds, each file under a temporary name and then renamed, so that ``kill -9`` loses only the
changes since the last save. Object bodies are files of their own, written before the request is answered
(``corrections/s3``). While saving fails, or the disk has no space for the next save, requests that change state are
refused (``shortage``).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from laptop_aws import processes, registry
from laptop_aws.config import MINISTACK_VERSION, STATE_VERSION, Config

logger = logging.getLogger("emulator")

SAVE_INTERVAL_SECONDS = 2.0
ATTEMPTS = 5
UNDISTURBED_SECONDS = 5.0
ROOM_BYTES = 1 << 20
VERSION_FILE = "VERSION"


class IncompatibleState(Exception):
    """The state directory was written by another version; the message says what to do."""


def check_version(config: Config) -> None:
    """Accepts an empty state directory or one of this version, and writes the version into it. Raises IncompatibleState
    otherwise.
    """
    directory = config.state_directory
    directory.mkdir(parents=True, exist_ok=True)
    expected = f"state {STATE_VERSION}, ministack {MINISTACK_VERSION}"
    marker = directory / VERSION_FILE
    if marker.exists():
        found = marker.read_text(encoding="utf-8").strip()
    else:
        found = "an unknown version" if any(directory.glob("*.json")) else expected
    if found != expected:
        raise IncompatibleState(
            f"the saved state in {directory} is of {found}; this program reads {expected}. "
            f"Move {config.root} away, or delete it to start afresh (this deletes its stacks, data and models)"
        )
    marker.write_text(expected + "\n", encoding="utf-8")


class Saver:
    """Writes changed state every SAVE_INTERVAL_SECONDS, and once more at the end.

    ``failure`` is the reason why the last save was incomplete; None if everything is on disk. A failed write is retried
    at every interval.
    """

    def __init__(self, directory: Path) -> None:
        self.failure: str | None = None
        self._directory = directory
        self._written: dict[str, bytes] = {}
        self._sizes: dict[str, int] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="state-saver", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def room_needed(self) -> int:
        """Free bytes that the next save needs: each new file exists next to the old one until it replaces it."""
        return ROOM_BYTES + 2 * sum(self._sizes.values())

    def _run(self) -> None:
        while not self._stop.wait(SAVE_INTERVAL_SECONDS):
            try:
                processes.forget_ended()
                if registry.take_changed() or self.failure:
                    self.save()
            except Exception:
                logger.exception("saving failed; retrying in %.0f s", SAVE_INTERVAL_SECONDS)
                registry.mark_changed()

    def finish(self) -> bool:
        """Stops the thread and saves everything; returns True if all of it is on disk."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5.0)
        self.save()
        return self.failure is None

    def save(self) -> int:
        """Writes the state of each service that differs from its file; returns the number of files written."""
        from ministack import app

        written, failures = 0, []
        with self._lock:
            for key, get_state in app._build_persistence_save_dict().items():
                content = _serialized(key, get_state)
                if content is None:
                    continue
                self._sizes[key] = len(content)
                digest = hashlib.blake2b(content, digest_size=16).digest()
                if self._written.get(key) == digest and (self._directory / f"{key}.json").exists():
                    continue
                try:
                    self._write(key, content)
                except OSError as error:
                    failures.append(f"{key}.json: {error.strerror}")
                    continue
                self._written[key] = digest
                written += 1
            self._report(", ".join(failures) or None)
        return written

    def _report(self, failure: str | None) -> None:
        if failure and not self.failure:
            logger.error("state is not saved (%s in %s); retrying until it is", failure, self._directory)
        elif self.failure and not failure:
            logger.info("state is saved again")
        self.failure = failure

    def _write(self, key: str, content: bytes) -> None:
        path = self._directory / f"{key}.json"
        temporary = self._directory / f".{key}.json.new"
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


def _serialized(key: str, get_state: Callable[[], Any]) -> bytes | None:
    """The state as bytes. Requests continue in the meantime, so a dictionary that changed during the copy is read
    again, the last time without another thread between. What still changed is saved at the next interval."""
    from ministack.core import persistence

    for attempt in range(ATTEMPTS):
        try:
            with _undisturbed() if attempt == ATTEMPTS - 1 else contextlib.nullcontext():
                state = get_state()
                if state is None:
                    return None
                wrapped = {"__ministack_format__": persistence._state_format_version(key), "payload": state}
                return json.dumps(wrapped, default=persistence._json_default).encode()
        except RuntimeError as error:
            if attempt == ATTEMPTS - 1:
                logger.warning("state of %s not saved, it kept changing: %s", key, error)
                registry.mark_changed()
            time.sleep(0.02 * (attempt + 1))
        except (TypeError, ValueError) as error:
            logger.error("state of %s not saved: %s", key, error)
            return None
    return None


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """For UNDISTURBED_SECONDS, Python changes to another thread only where this one waits. The pause lets the switches
    happen that were asked for before; a longer time would be waited for in full where another thread computes.
    """
    usual = sys.getswitchinterval()
    sys.setswitchinterval(UNDISTURBED_SECONDS)
    try:
        time.sleep(max(2 * usual, 0.01))
        yield
    finally:
        sys.setswitchinterval(usual)
