"""The command, the environment and the settings of a Spark job on a laptop.

``s3://`` works without the Maven-only S3 connector: Hadoop's ``ViewFileSystemOverloadScheme`` (HADOOP-15891, in Spark's
own jars) handles the scheme and maps every path of a bucket to a folder.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from laptop_aws import registry
from laptop_aws.emr_serverless.class_archive import ClassArchive
from laptop_aws.emr_serverless.staging import Stage
from laptop_aws.java import Java

MASTER = "local[2]"
DRIVER_MEMORY = "1g"
SMALL_BYTES = 256 * 1024**2
# On two cores a short job spends most of its time in the JIT compiler: with the first compiler only and one garbage
# collector thread, preparing 100,000 interactions took 33 s of CPU and 600 MB instead of 61 s and 961 MB. Large data is
# faster with the second compiler.
SMALL_JOB_OPTIONS = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
SCHEMES = ("s3", "s3a")
_VIEW = "org.apache.hadoop.fs.viewfs.ViewFileSystemOverloadScheme"
_LOCAL = "org.apache.hadoop.fs.LocalFileSystem"
_CLUSTER_ONLY = (
    "spark.executor.",
    "spark.driver.memory",
    "spark.driver.cores",
    "spark.driver.host",
    "spark.driver.bindAddress",
    "spark.driver.extraJavaOptions",
    "spark.dynamicAllocation.",
    "spark.emr-serverless.",
    "spark.hadoop.fs.s3",
    "spark.master",
    "spark.submit.",
    "spark.archives",
    "spark.files",
    "spark.jars",
    "spark.local.dir",
)
_AT_START = "spark.driver."
_DRIVER_ENVIRONMENT = ("spark.emr-serverless.driverEnv.", "spark.yarn.appMasterEnv.")


class UnknownParameters(Exception):
    """``sparkSubmitParameters`` has an option that the embedded AWS does not support; the message names it."""


@dataclass(frozen=True)
class Submission:
    """The parsed ``sparkSubmitParameters``: settings, and the Python files to ship."""

    settings: dict[str, str] = field(default_factory=dict)
    py_files: tuple[str, ...] = ()

    @classmethod
    def parse(cls, parameters: str) -> Submission:
        """Reads spark-submit's options. Raises UnknownParameters."""
        settings: dict[str, str] = {}
        py_files: list[str] = []
        try:
            words = shlex.split(parameters)
        except ValueError as error:
            raise UnknownParameters(f"sparkSubmitParameters {parameters!r} cannot be read: {error}") from None
        while words:
            option, joined, value = words.pop(0).partition("=")
            if not joined:
                if not words:
                    raise UnknownParameters(f"sparkSubmitParameters: {option} needs a value")
                value = words.pop(0)
            if option in ("--conf", "-c"):
                name, _, setting = value.partition("=")
                settings[name] = setting
            elif option == "--py-files":
                py_files += [part for part in value.split(",") if part]
            elif option not in (
                "--name",
                "--driver-memory",
                "--driver-cores",
                "--executor-memory",
                "--executor-cores",
                "--num-executors",
            ):
                raise UnknownParameters(f"sparkSubmitParameters: {option} is not honoured by the embedded AWS")
        py_files += [part for part in settings.pop("spark.submit.pyFiles", "").split(",") if part]
        return cls(settings, tuple(py_files))

    @property
    def driver_environment(self) -> dict[str, str]:
        """Environment variables that the settings give the driver."""
        return {
            name[len(prefix) :]: value
            for name, value in self.settings.items()
            for prefix in _DRIVER_ENVIRONMENT
            if name.startswith(prefix)
        }


def is_small(stage: Stage) -> bool:
    """True if the job's input is so small that Java's options for short runs suit it."""
    return stage.size < SMALL_BYTES


def at_start(given: Mapping[str, str]) -> list[tuple[str, str]]:
    """The job's settings that Java must know when it starts."""
    return sorted((name, value) for name, value in _kept(given).items() if name.startswith(_AT_START))


def options(
    given: Mapping[str, str], scratch: Path, small: bool = False, archive: ClassArchive | None = None
) -> list[str]:
    """spark-submit's words for what Java must know when it starts. ``given`` are the job's settings, ``scratch`` is the
    folder for temporary files.
    """
    # Quoted for Spark's launcher: the folder's name may have a space.
    java_options = [f'"-Djava.io.tmpdir={scratch}"']
    if small:
        java_options += [*SMALL_JOB_OPTIONS, *(archive.options if archive else ())]
    words = ["--master", MASTER, "--driver-memory", DRIVER_MEMORY]
    return words + _as_words(dict(at_start(given)) | {"spark.driver.extraJavaOptions": " ".join(java_options)})


def settings(given: Mapping[str, str], work: Path, stage: Stage, py_files: list[Path]) -> dict[str, str]:
    """Spark's settings for one job run. ``given`` are the job's; those for clusters only, and those in ``options``, are
    left out.
    """
    found = {name: value for name, value in _kept(given).items() if not name.startswith(_AT_START)} | {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.warehouse.dir": (work / "warehouse").as_uri(),
    }
    if py_files:
        found["spark.executorEnv.PYTHONPATH"] = python_path(py_files)
    for scheme in SCHEMES:
        found[f"spark.hadoop.fs.{scheme}.impl"] = _VIEW
        found[f"spark.hadoop.fs.viewfs.overload.scheme.target.{scheme}.impl"] = _LOCAL
    for bucket in stage.buckets:
        found[f"spark.hadoop.fs.viewfs.mounttable.{bucket}.linkFallback"] = (stage.root / bucket).as_uri()
    return found


def environment(java: Java, scratch: Path) -> dict[str, str]:
    """The environment of Spark's Java and of the processes that it starts."""
    return registry.child_environment(
        JAVA_HOME=str(java.home),
        SPARK_LOCAL_IP="127.0.0.1",
        SPARK_LOCAL_DIRS=str(scratch),
        SPARK_LOCAL_HOSTNAME="localhost",
        PYSPARK_PYTHON=str(registry.config().interpreter),
        PYSPARK_DRIVER_PYTHON=str(registry.config().interpreter),
        TMPDIR=str(scratch),
    )


def submit_arguments(options: list[str], settings: dict[str, str]) -> dict[str, str]:
    """The environment variable by which pyspark gives Java these words and settings, where it starts Java."""
    return {"PYSPARK_SUBMIT_ARGS": shlex.join([*options, *_as_words(settings), "pyspark-shell"])}


def python_path(py_files: list[Path]) -> str:
    """The value of PYTHONPATH with which a job's Python files are found."""
    return ":".join(str(path) for path in py_files)


def _kept(given: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in given.items() if not name.startswith(_CLUSTER_ONLY)}


def _as_words(settings: dict[str, str]) -> list[str]:
    return [word for name, value in settings.items() for word in ("--conf", f"{name}={value}")]
