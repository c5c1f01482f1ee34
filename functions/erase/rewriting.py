"""The Spark job that writes again what a function cannot: Parquet, zstd and very large files."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from contracts import documents
from contracts.forgotten import KEY as FORGOTTEN_KEY
from erase.plan import Progress, Request
from shared import tags
from shared.clients import calling
from shared.objects import Bucket
from shared.observability import logger

_RECEIPT_BYTES = 1 << 24
_ENDED = {"SUCCESS", "FAILED", "CANCELLED"}


@dataclass(frozen=True)
class Rewriting:
    """The application and the code of the job, and the buckets that it works in."""

    emr: Any
    data: Bucket
    artifacts_bucket: str
    name_prefix: str
    application_id: str
    execution_role_arn: str
    entry_point: str
    py_files: str
    log_uri: str
    timeout_minutes: int

    def settle(self, progress: Progress, request: Request) -> bool:
        """Start the job for the files that the search handed over, or take its receipt. False until it is over."""
        if not progress.files:
            return True
        name = re.sub(r"[^0-9TZ]", "", progress.started_at)
        if not progress.job:
            document = {"schemaVersion": "1.0", "files": progress.files}
            self.data.put(f"erasures/{name}.json", json.dumps(document, ensure_ascii=False).encode())
            with calling("emr-serverless StartJobRun"):
                progress.job = self.emr.start_job_run(**self.call(name))["jobRunId"]
            logger.info("erasing job started", extra={"job_run_id": progress.job, "files": len(progress.files)})
            return False
        with calling("emr-serverless GetJobRun"):
            found = self.emr.get_job_run(applicationId=self.application_id, jobRunId=progress.job)["jobRun"]
        if found["state"] not in _ENDED:
            return False
        receipt = self.data.get(f"erasures/{name}.done.json", _RECEIPT_BYTES)
        if found["state"] == "SUCCESS" and receipt is not None:
            for file in documents.read_object(receipt.content, "the receipt of the erasing job")["files"]:
                self._take(file, progress, request)
        else:
            for file in progress.files:
                progress.remain(
                    f"raw/{file['path']} could not be written again: the job {progress.job} ended as {found['state']}"
                )
        progress.files, progress.job = [], ""
        return True

    def _take(self, file: dict[str, Any], progress: Progress, request: Request) -> None:
        key = f"raw/{file['path']}"
        if "problem" not in file:
            progress.search("rows", file["rows"])
            progress.remove("rows", file["removed"])
            progress.remove("files written again", int(file["removed"] > 0))
            self.data.delete_earlier(key)
        elif request.delete_unreadable:
            found = self.data.head(key)
            if found is not None:
                self.data.delete_version(key, found.version_id or "null")
                self.data.delete_earlier(key)
                progress.remove("files that could not be read")
        else:
            progress.remain(f"{key} {file['problem']}: write it again without these people, or delete it")

    def call(self, name: str) -> dict[str, Any]:
        """Return the StartJobRun call. Its client token is the search, so each search has one job."""
        bucket = f"s3://{self.data.name}"
        arguments = {
            "--erase": f"{bucket}/erasures/{name}.json",
            "--receipt": f"{bucket}/erasures/{name}.done.json",
            "--drops": f"{bucket}/raw",
            "--forgotten": f"s3://{self.artifacts_bucket}/{FORGOTTEN_KEY}",
        }
        return {
            "applicationId": self.application_id,
            "clientToken": f"erase-{name}",
            "name": f"{self.name_prefix}-erase-{name}",
            "executionRoleArn": self.execution_role_arn,
            "executionTimeoutMinutes": self.timeout_minutes,
            "jobDriver": {
                "sparkSubmit": {
                    "entryPoint": self.entry_point,
                    "entryPointArguments": [part for pair in arguments.items() for part in pair],
                    "sparkSubmitParameters": f"--py-files {self.py_files}",
                }
            },
            "configurationOverrides": {
                "monitoringConfiguration": {"s3MonitoringConfiguration": {"logUri": self.log_uri}}
            },
            "tags": tags.by_name(self.name_prefix),
        }
