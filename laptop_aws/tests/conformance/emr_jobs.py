"""Job runs of EMR Serverless: their scripts, requests, ends and output."""

from __future__ import annotations

import textwrap
from typing import Any

from laptop_aws.tests.conformance.hosting import ROLE, Host, eventually, unique

TERMINAL = ("SUCCESS", "FAILED", "CANCELLED")

# Finds the folder that replaces a bucket, from Spark's settings.
STAGE = """
import os, pathlib, re, shlex, sys
from urllib.parse import urlparse

def local(uri):
    bucket, key = urlparse(uri).netloc, urlparse(uri).path.lstrip("/")
    words = shlex.split(os.environ["PYSPARK_SUBMIT_ARGS"])
    mount = next(word for word in words if word.startswith(f"spark.hadoop.fs.viewfs.mounttable.{bucket}.linkFallback="))
    return pathlib.Path(urlparse(mount.partition("=")[2]).path) / key
"""


def put_script(host: Host, lake: str, source: str) -> str:
    key = f"code/{unique('job')}.py"
    host.client("s3").put_object(Bucket=lake, Key=key, Body=(STAGE + textwrap.dedent(source)).encode())
    return f"s3://{lake}/{key}"


def job_request(
    application: str, entry_point: str, *arguments: str, parameters: str = "", **changes: Any
) -> dict[str, Any]:
    submit: dict[str, Any] = {"entryPoint": entry_point, "entryPointArguments": list(arguments)}
    if parameters:
        submit["sparkSubmitParameters"] = parameters
    return {"applicationId": application, "executionRoleArn": ROLE, "jobDriver": {"sparkSubmit": submit}} | changes


def ended(host: Host, application: str, job_run: str, seconds: float = 120) -> dict[str, Any]:
    def probe() -> Any:
        found = host.client("emr-serverless").get_job_run(applicationId=application, jobRunId=job_run)["jobRun"]
        return found if found["state"] in TERMINAL else None

    return dict(eventually(probe, seconds))


def run(host: Host, request: dict[str, Any], seconds: float = 120) -> dict[str, Any]:
    started = host.client("emr-serverless").start_job_run(**request)
    return ended(host, request["applicationId"], started["jobRunId"], seconds)


def keys(host: Host, lake: str, prefix: str) -> list[str]:
    found = host.client("s3").list_objects_v2(Bucket=lake, Prefix=prefix).get("Contents", [])
    return [entry["Key"] for entry in found]


def running_log(host: Host, job_run: str) -> str:
    path = host.root / "logs" / "emr" / f"{job_run}.log"
    return path.read_text() if path.exists() else ""
