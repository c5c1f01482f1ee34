"""A Java for Spark that is started with the host, for the first small job run. While an application is deployed, this
Java runs a little of what jobs do (``warm_up.py``), so the first job takes about as long as the later ones.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import subprocess
from pathlib import Path

from laptop_aws import java, registry
from laptop_aws.emr_serverless import spark
from laptop_aws.emr_serverless.ready_java import DidNotStart, ReadyJava
from laptop_aws.emr_serverless.running_job import kept_java, kind_of_java, new_java, one_at_a_time
from laptop_aws.emr_serverless.staging import Stage
from laptop_aws.emr_serverless.store import new_id
from laptop_aws.output import LogStream, OutputReader

logger = logging.getLogger("emulator")

LONGEST_SECONDS = 180.0
KEPT_SECONDS = 15 * 60.0
"""As long as an application of EMR Serverless stays started by default."""


def prepare() -> None:
    """Starts the Java on a thread of its own, if the host's settings ask for it. Job runs wait for it."""
    if registry.config().ready_spark:
        registry.in_background(_prepare, name="spare-java")


def _prepare() -> None:
    with one_at_a_time:
        if kept_java.has_one:  # of a job run that came first
            return
        try:
            found = java.find(registry.config().root)
            ready = new_java(found, {})
        except (java.NoJava, DidNotStart) as error:
            logger.warning("no Java is ready for Spark: %s", error)
            return
        if problem := _warmed_up(ready, found):
            logger.warning("no Java is ready for Spark: %s", problem)
            ready.close()
        else:
            kept_java.offer(kind_of_java(found, {}), ready, KEPT_SECONDS)
            logger.info("a Java is ready for Spark")


def _warmed_up(ready: ReadyJava, found: java.Java) -> str:
    """Runs the job in this Java; what went wrong, or an empty text."""
    identifier = new_id()
    work = registry.config().work_directory / "emr-serverless" / f"warm-up-{identifier}"
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(
            contextlib.closing(LogStream("", "", registry.config().logs_directory / "emr" / "warm-up.log"))
        )
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        work.mkdir(parents=True)
        own = spark.settings({}, work, Stage(work / "s3", []), [])
        try:
            address = ready.begin(own, log, _ignore)
        except DidNotStart as error:
            return str(error)
        process = registry.spawn(
            [registry.config().interpreter, Path(__file__).with_name("warm_up.py"), work],
            name="warm-up of Spark",
            environment=spark.environment(found, work) | address,
            cwd=work,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        reader = OutputReader(process, log, _ignore)
        try:
            status = process.wait(LONGEST_SECONDS)
        except subprocess.TimeoutExpired:
            status = registry.terminate(process, 0)
        reader.join(5)
        last = [line for line in reader.stderr_tail if line.strip()]
        if status != 0:
            return f"the warm-up ended with status {status}: {last[-1].strip() if last else 'it said nothing'}"
        return "" if ready.end() else "Java could not be cleaned"


def _ignore(line: str, is_stderr: bool) -> None:
    """The log has the line."""
