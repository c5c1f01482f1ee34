"""Starts Spark, or says what is missing for it.

Master, memory and addresses come from the caller of the process (spark-submit's configuration, `PYSPARK_SUBMIT_ARGS`,
`SPARK_LOCAL_IP`). This module sets only what affects the result, and defaults for speed.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from refusal import PreparationFailed

#: Input bytes per task: half of Spark's default for a file split, because gzip and Parquet grow when they are read.
BYTES_PER_PARTITION = 64 * 1024 * 1024
MAXIMUM_PARTITIONS = 2000
#: Bytes up to which an input is small.
SMALL = 16 * 1024 * 1024

_FIXED: dict[str, bool | float | int | str | None] = {
    "spark.sql.session.timeZone": "UTC",
    # Wrong casts fail instead of becoming nulls, for every default of the cluster; the transforms use try_cast.
    "spark.sql.ansi.enabled": "true",
    "spark.sql.adaptive.enabled": "true",
    "spark.sql.catalogImplementation": "in-memory",
    # Spark detects a row with too few or too many fields only if no column is pruned.
    "spark.sql.csv.parser.columnPruning.enabled": "false",
    # Times in nanoseconds, which pandas writes, have no type in Spark; texts of old writers are marked as bytes.
    "spark.sql.legacy.parquet.nanosAsLong": "true",
    "spark.sql.parquet.binaryAsString": "true",
    "spark.sql.files.ignoreCorruptFiles": "false",
    "spark.sql.files.ignoreMissingFiles": "false",
    # The progress bar shares a line with the next text on standard error, where the last line is the result.
    "spark.ui.showConsoleProgress": "false",
    # Python would look for the line that made each column, and tell it to Java in four calls.
    "spark.python.sql.dataFrameDebugging.enabled": "false",
}
_DEFAULTS = {
    # The history of a batch job is its event log; the web UI would only cost a second and a port.
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "2",
    # Persisted frames are read once or twice; compressing them took a seventh of the run's processor time.
    "spark.sql.inMemoryColumnarStorage.compressed": "false",
}
#: Classes of Java that pyspark looks up in each call with columns. A name without its package takes long: Java first
#: looks for it in all its jars.
_OFTEN_ASKED_FOR = (
    "functions",
    "PythonUtils",
    "org.apache.spark.sql.functions",
    "org.apache.spark.sql.classic.SparkSession",
)


def open_session(name: str) -> SparkSession:
    """A session with the settings that the transforms rely on; the running one with these settings, if there is one.

    Raises PreparationFailed if there is no Java, or if it does not start.
    """
    if SparkContext._gateway is None and "PYSPARK_GATEWAY_PORT" not in os.environ:
        require_java()
    try:
        # The JVM has spark-submit's configuration. Without it, SparkConf would be empty and the defaults would win.
        SparkContext._ensure_initialized()
        configuration = SparkConf()
        for key, value in _DEFAULTS.items():
            configuration.setIfMissing(key, value)
        session = SparkSession.builder.config(conf=configuration).config(map=_FIXED).appName(name).getOrCreate()
    except PySparkException as error:
        raise PreparationFailed(f"Spark did not start: {error}. It needs Java 17 or 21; see JAVA_HOME") from error
    session.sparkContext.setLogLevel("ERROR")
    for name in _OFTEN_ASKED_FOR:
        setattr(session._jvm, name, java_class(session, name))
    return session


def java_class(session: SparkSession, name: str) -> Any:
    """A class of Java by its whole name. With one attribute for each package, Java would look through all its jars for
    a class of the name `org`.
    """
    return getattr(session._jvm, name)


def require_java() -> None:
    """Raises PreparationFailed unless Spark's launcher will find `java`: in JAVA_HOME, or otherwise in PATH."""
    home = os.environ.get("JAVA_HOME")
    if home and not Path(home, "bin", "java").exists():
        raise PreparationFailed(f"JAVA_HOME is {home}, but there is no bin/java in it; Spark needs Java 17 or 21")
    if not home and shutil.which("java") is None:
        raise PreparationFailed("no Java found: install Java 17 or 21, or set JAVA_HOME to one")


def size_shuffles(session: SparkSession, input_bytes: int) -> None:
    """Sets the number of shuffle partitions from the input's size; adaptive execution merges the small ones.

    A small input has too few partitions to merge, and each stage would be planned and compiled once more.
    """
    wanted = max(session.sparkContext.defaultParallelism, -(-4 * input_bytes // BYTES_PER_PARTITION))
    session.conf.set("spark.sql.shuffle.partitions", str(min(wanted, MAXIMUM_PARTITIONS)))
    session.conf.set("spark.sql.adaptive.enabled", str(input_bytes > SMALL).lower())
