"""The StartJobRun call for a preparation. Pure."""

from __future__ import annotations

from typing import Any

from contracts.forgotten import KEY as FORGOTTEN_KEY
from contracts.unions import key_of
from shared import names, tags
from start_preparation.plan import PARAMETERS, Preparation


def start_job_run(
    preparation: Preparation,
    *,
    attempt: int,
    parent_version: str | None,
    name_prefix: str,
    data_bucket: str,
    artifacts_bucket: str,
    application_id: str,
    execution_role_arn: str,
    entry_point: str,
    py_files: str,
    code_version: str,
    log_uri: str,
    log_group: str,
    timeout_minutes: int,
) -> dict[str, Any]:
    """Return the call. Its client token is the version and the attempt, so EMR Serverless starts each attempt once."""
    arguments = {
        "--source": preparation.source,
        "--output": f"s3://{data_bucket}/datasets",
        "--quarantine": f"s3://{data_bucket}/quarantine",
        "--dataset-version": preparation.version,
        "--code-version": code_version,
        "--forgotten": f"s3://{artifacts_bucket}/{FORGOTTEN_KEY}",
    }
    if preparation.is_union:
        arguments["--drops"] = f"s3://{data_bucket}/raw"
        arguments["--union"] = f"s3://{data_bucket}/{key_of(preparation.version)}"
    if parent_version:
        arguments["--parent-version"] = parent_version
    if preparation.items:
        arguments["--items"] = preparation.items
    arguments |= {PARAMETERS[name]: value for name, value in preparation.parameters.items()}
    return {
        "applicationId": application_id,
        "clientToken": f"{preparation.version}-{attempt}",
        "name": names.preparation_job(name_prefix, preparation.version),
        "executionRoleArn": execution_role_arn,
        "executionTimeoutMinutes": timeout_minutes,
        "jobDriver": {
            "sparkSubmit": {
                "entryPoint": entry_point,
                "entryPointArguments": [part for pair in arguments.items() for part in pair],
                "sparkSubmitParameters": f"--py-files {py_files}",
            }
        },
        "configurationOverrides": {
            "monitoringConfiguration": {
                "s3MonitoringConfiguration": {"logUri": log_uri},  # written when the job ends
                "cloudWatchLoggingConfiguration": {  # while it runs, for people who watch
                    "enabled": True,
                    "logGroupName": log_group,
                    "logStreamNamePrefix": f"{preparation.version}-{attempt}",
                    "logTypes": {"SPARK_DRIVER": ["STDOUT"]},
                },
            }
        },
        "tags": tags.by_name(name_prefix),
    }
