"""The Java of a started application: it stays between small job runs, as a worker of EMR Serverless does that is
initialized before.

More than half of a short job's processor time is for the start of Java and for code that this Java runs for the first
time. So one Java serves the small job runs one after the other, each with a Spark context of its own, until its
application stops or another application needs it. A job run whose process was killed takes its Java with it.
"""

from __future__ import annotations

import contextlib
import shutil
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from laptop_aws import registry
from laptop_aws.emr_serverless.class_archive import ClassArchive, spark_home
from laptop_aws.output import Lines, OutputReader

LONGEST_START_SECONDS = 120.0
LONGEST_END_SECONDS = 30.0
"""A Java that needs longer to end a Spark context is ended itself."""
_POLL_SECONDS = 1.0


class DidNotStart(Exception):
    """Java ended, or was too slow, before it could serve a job run; the message has its last line."""


class _Said:
    """Passes what Java writes to the job run that it serves."""

    def __init__(self) -> None:
        self.log: Lines | None = None
        self.on_line: Callable[[str, bool], None] | None = None

    def write(self, lines: Sequence[str]) -> None:
        if (log := self.log) is not None:
            log.write(lines)

    def line(self, line: str, is_stderr: bool) -> None:
        if (on_line := self.on_line) is not None:
            on_line(line, is_stderr)


class ReadyJava:
    """One Java process that serves one job run at a time."""

    def __init__(
        self, words: Sequence[str], environment: Mapping[str, str], folder: Path, archive: ClassArchive | None
    ) -> None:
        """Starts Java by Spark's own launcher, with the options `words`; `begin` waits until it answers. `folder` is
        its own, made now and removed as it ends. `archive` is named in `words`. Raises DidNotStart.
        """
        spark = spark_home()
        if spark is None:
            raise DidNotStart("pyspark is not installed in the environment of the embedded AWS")
        folder.mkdir(parents=True)
        self._folder, self._address, self._archive = folder, folder / "address", archive
        self._settings: dict[str, str] = {}
        self._said = _Said()
        self._gateway: Any = None
        self.process: subprocess.Popen[Any] = registry.spawn(
            [spark / "bin" / "spark-submit", *words, "pyspark-shell"],
            name="Java of EMR Serverless",
            environment={**environment, "_PYSPARK_DRIVER_CONN_INFO_PATH": str(self._address)},
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._reader = OutputReader(self.process, self._said, self._said.line)

    def begin(self, settings: Mapping[str, str], log: Lines, on_line: Callable[[str, bool], None]) -> dict[str, str]:
        """Makes `settings` Spark's configuration, and what Java writes the job run's; returns the environment variables
        by which pyspark finds this Java. Raises DidNotStart.
        """
        port, secret = self._wait_for_address()
        try:
            if self._gateway is None:
                self._gateway = _connected(port, secret)
            system = self._gateway.jvm.java.lang.System
            for name in self._settings.keys() - settings.keys():
                system.clearProperty(name)
            for name, value in settings.items():
                system.setProperty(name, value)
        except Exception as error:
            raise DidNotStart(f"Java does not answer: {error}") from error
        self._settings = dict(settings)
        self._said.log, self._said.on_line = log, on_line
        return {"PYSPARK_GATEWAY_PORT": str(port), "PYSPARK_GATEWAY_SECRET": secret}

    def end(self) -> bool:
        """Removes what the job run left in Java, and says whether Java can serve another one."""
        ended, is_clean = threading.Event(), threading.Event()

        def clean() -> None:
            try:
                jvm = self._gateway.jvm
                active = getattr(getattr(jvm, "org.apache.spark.SparkContext$"), "MODULE$").getActive()
                if active.isDefined():
                    active.get().stop()
                jvm.org.apache.spark.sql.SparkSession.clearDefaultSession()
                jvm.org.apache.spark.sql.SparkSession.clearActiveSession()
                # A file system keeps the folders of its job run.
                jvm.org.apache.hadoop.fs.FileSystem.closeAll()
                jvm.java.lang.System.gc()
                is_clean.set()
            finally:
                ended.set()

        registry.in_background(clean, name=f"end-{self.process.pid}")
        ended.wait(LONGEST_END_SECONDS)
        self._said.log = self._said.on_line = None
        return is_clean.is_set() and self.process.poll() is None

    def close(self) -> None:
        """Ends Java at once; harmless if it has ended."""
        self._disconnect()
        registry.terminate(self.process, 0)
        if self._archive is not None:
            self._archive.drop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def retire(self) -> None:
        """Lets Java end by itself, so that it writes the archive of its classes."""
        self._disconnect()
        if self._archive is not None and self._archive.draft is not None and self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
            self._archive.keep(self.process.pid)
        self.close()

    def _disconnect(self) -> None:
        if self._gateway is not None:
            with contextlib.suppress(Exception):
                self._gateway.close()

    def _wait_for_address(self) -> tuple[int, str]:
        deadline = time.monotonic() + LONGEST_START_SECONDS
        while not self._address.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self._reader.join(1)
                last = [line for line in self._reader.stderr_tail if line.strip()]
                raise DidNotStart(f"Java did not start: {last[-1].strip() if last else 'it said nothing'}")
            time.sleep(0.05)
        # As PythonGatewayServer writes it, and renames the file when it is whole: the port, the length, the secret.
        content = self._address.read_bytes()
        port, length = struct.unpack_from(">ii", content)
        return port, content[8 : 8 + length].decode()


def _connected(port: int, secret: str) -> Any:
    from py4j.clientserver import ClientServer, JavaParameters, PythonParameters

    return ClientServer(
        java_parameters=JavaParameters(port=port, auth_token=secret, auto_convert=True),
        python_parameters=PythonParameters(port=0, eager_load=False),
    )


@dataclass
class _Kept:
    """The Java that is kept: ``kind`` is equal where a job run can use it; ``application`` is None until one does."""

    application: str | None
    kind: Hashable
    java: ReadyJava
    is_wanted: Callable[[], bool]


class Keeper:
    """Keeps the Java of the application that had the last small job run, or one for the first application that has one.
    Job runs come one after the other; everything else may come from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: _Kept | None = None

    def of(
        self, application: str, kind: Hashable, start: Callable[[], ReadyJava], is_started: Callable[[], bool]
    ) -> ReadyJava:
        """Returns the Java of an equal ``kind`` that is kept for this application or for any, if it still runs, else
        the one that ``start`` returns. It retires when ``is_started`` is false. Raises what ``start`` raises.
        """
        with self._lock:
            kept = self._kept
            if (
                kept is not None
                and kept.kind == kind
                and kept.application in (None, application)
                and kept.java.process.poll() is None
            ):
                kept.application, kept.is_wanted = application, is_started
                return kept.java
        self.close()
        java = start()
        self._keep(_Kept(application, kind, java, is_started))
        return java

    @property
    def has_one(self) -> bool:
        """True if a Java is kept."""
        with self._lock:
            return self._kept is not None

    def offer(self, kind: Hashable, java: ReadyJava, seconds: float) -> None:
        """Keeps ``java``, for the first application that asks for this ``kind`` within
        ``seconds``.
        """
        end = time.monotonic() + seconds
        self._keep(_Kept(None, kind, java, lambda: time.monotonic() < end))

    def close(self, java: ReadyJava | None = None) -> None:
        """Ends the Java that is kept, at once; with ``java``, only if it is this one."""
        with self._lock:
            kept = self._kept
            if kept is None or (java is not None and kept.java is not java):
                return
            self._kept = None
        kept.java.close()

    def _keep(self, kept: _Kept) -> None:
        with self._lock:
            self._kept = kept
        registry.in_background(self._watch, kept, name=f"java-{kept.java.process.pid}")

    def _watch(self, kept: _Kept) -> None:
        """Retires the Java when it is no longer wanted. Returns when it has ended or another one is kept."""
        while kept.java.process.poll() is None:
            with self._lock:
                if self._kept is not kept:
                    return
                if not kept.is_wanted():
                    self._kept = None
                    break
            time.sleep(_POLL_SECONDS)
        else:
            return
        kept.java.retire()
