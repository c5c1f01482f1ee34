"""`emr/submit.sh` with the real AWS CLI, on the embedded AWS: a job by hand is the job of the function, once."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from laptop_aws.tests.conformance.emr_jobs import STAGE
from laptop_aws.tests.conformance.hosting import ACCOUNT, REGION, ROLE, Host, archive

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "emr" / "submit.sh"
TOOLS = ROOT / ".envs" / "aws" / "bin"
STACK, LAKE, TABLE = "ncf-shop", "ncf-shop-data", "ncf-shop-runs"
PARENT = "v20250101t000000z-0a1b2c3d"
JOB = """
arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
files = [path.name for path in local(arguments["--source"]).iterdir()]
if "bad.csv" in files:
    sys.exit("REFUSED: bad.csv has no column that is known to hold the users")
"""

Submit = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    assert (TOOLS / "aws").exists(), f"{TOOLS}/aws is missing: run `make .envs/aws/.ready`"
    running = Host(tmp_path_factory.mktemp("local")).start()
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def application(host: Host) -> str:
    """An application; what the function of the stack says of its jobs; and a ledger with an earlier version."""
    emr, s3 = host.client("emr-serverless"), host.client("s3")
    application = str(emr.create_application(type="SPARK", releaseLabel="emr-spark-8.0.0", name="p")["applicationId"])
    s3.create_bucket(Bucket=LAKE)
    s3.put_object(Bucket=LAKE, Key="code/functions.zip", Body=archive({"app.py": ""}))
    s3.put_object(Bucket=LAKE, Key="code/preprocess.py", Body=(STAGE + JOB).encode())
    s3.put_object(Bucket=LAKE, Key="code/files.zip", Body=archive({"empty.py": ""}))
    environment = {
        "NAME_PREFIX": "ncf", "RUNS_TABLE": TABLE, "DATA_BUCKET": LAKE, "ARTIFACTS_BUCKET": LAKE,
        "EMR_APPLICATION_ID": application, "EMR_EXECUTION_ROLE_ARN": ROLE,
        "PREPARATION_ENTRY_POINT": f"s3://{LAKE}/code/preprocess.py",
        "PREPARATION_PY_FILES": f"s3://{LAKE}/code/files.zip", "PREPARATION_CODE_VERSION": "c1",
        "PREPARATION_LOG_URI": f"s3://{LAKE}/logs/", "PREPARATION_TIMEOUT_MINUTES": "60",
        "PREPARATION_LOG_GROUP": "/aws/emr-serverless/ncf-preparation",
        "PREPARATION_PARAMETERS": '{"maximumBadShare": 0.01}',
    }  # fmt: skip
    function = {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "Handler": "app.handler", "Runtime": "python3.13", "Role": ROLE,
            "Code": {"S3Bucket": LAKE, "S3Key": "code/functions.zip"}, "Environment": {"Variables": environment},
        },
    }  # fmt: skip
    key = [{"AttributeName": name, "KeyType": kind} for name, kind in (("pk", "HASH"), ("sk", "RANGE"))]
    host.client("dynamodb").create_table(
        TableName=TABLE,
        KeySchema=key,
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        BillingMode="PAY_PER_REQUEST",
    )
    newest = {"pk": "DATASET", "sk": "NEWEST_CLAIMED", "datasetVersion": PARENT}
    host.client("dynamodb").put_item(TableName=TABLE, Item={name: {"S": value} for name, value in newest.items()})
    template = {"Resources": {"StartPreparationFunction": function}}
    host.client("cloudformation").create_stack(StackName=STACK, TemplateBody=json.dumps(template))
    host.settled_stack(STACK)
    return application


@pytest.fixture(scope="module")
def submit(host: Host, application: str) -> Submit:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment |= {
            "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}", "AWS_ENDPOINT_URL": host.endpoint,
            "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION, "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "local", "AWS_CONFIG_FILE": os.devnull,
        }  # fmt: skip
        return subprocess.run(
            [str(SCRIPT), "--stack", STACK, *arguments], env=environment, capture_output=True, text=True, timeout=500
        )

    return run


def job_runs(host: Host, application: str) -> list[dict[str, Any]]:
    emr = host.client("emr-serverless")
    found = emr.list_job_runs(applicationId=application)["jobRuns"]
    return [emr.get_job_run(applicationId=application, jobRunId=run["id"])["jobRun"] for run in found]


def test_a_drop_is_prepared_once_with_the_parameters_of_the_function(
    host: Host, application: str, submit: Submit
) -> None:
    s3 = host.client("s3")
    s3.put_object(Bucket=LAKE, Key="raw/first/interactions.csv", Body=b"user_id,item_id\n")
    said = {"schemaVersion": "1.0", "userColumn": "who", "maximumBadShare": 0.5}
    s3.put_object(Bucket=LAKE, Key="raw/first/_drop.json", Body=json.dumps(said).encode())
    first, again = (submit("first", "--parameters", '{"split": "leave-last-out"}') for _ in range(2))
    assert (first.returncode, first.stderr) == (0, "")
    [job] = job_runs(host, application)
    version = job["name"].removeprefix("ncf-")
    assert f"job run {job['jobRunId']} of application {application}\n" in first.stdout
    assert first.stdout.endswith(f"SUCCESS\n✓ s3://{LAKE}/datasets/{version}/\n")
    assert f"job run {job['jobRunId']} " in again.stdout and again.returncode == 0
    words = job["jobDriver"]["sparkSubmit"]["entryPointArguments"]
    arguments = dict(zip(words[::2], words[1::2], strict=True))
    assert arguments == {
        "--source": f"s3://{LAKE}/raw/first/",
        "--output": f"s3://{LAKE}/datasets",
        "--quarantine": f"s3://{LAKE}/quarantine",
        "--dataset-version": version,
        "--code-version": "c1",
        "--forgotten": f"s3://{LAKE}/serving/forgotten.json",
        "--parent-version": PARENT,
        "--user-column": "who",
        "--maximum-bad-share": "0.5",
        "--split": "leave-last-out",
    }
    assert job["jobDriver"]["sparkSubmit"]["sparkSubmitParameters"] == f"--py-files s3://{LAKE}/code/files.zip"
    assert job["executionTimeoutMinutes"] == 60


def test_a_failed_job_ends_with_its_reason_and_the_next_attempt_is_another_job(
    host: Host, application: str, submit: Submit
) -> None:
    host.client("s3").put_object(Bucket=LAKE, Key="raw/bad/bad.csv", Body=b"x\n")
    first, second = submit("bad"), submit("bad", "--attempt", "2")
    reason = "REFUSED: bad.csv has no column that is known to hold the users"
    assert (first.returncode, second.returncode) == (1, 1)
    assert first.stderr.startswith("✗ Job failed") and first.stderr.rstrip().endswith(reason)
    failed = [job for job in job_runs(host, application) if job["state"] == "FAILED"]
    assert len({job["jobRunId"] for job in failed}) == 2 and len({job["name"] for job in failed}) == 1


def test_what_cannot_be_submitted_is_refused_with_the_remedy(host: Host, submit: Submit) -> None:
    s3 = host.client("s3")
    s3.put_object(Bucket=LAKE, Key="raw/more/interactions.csv", Body=b"")
    s3.put_object(Bucket=LAKE, Key="raw/more/_drop.json", Body=b'{"schemaVersion": "1.0", "kind": "append"}')
    for arguments, words in (
        (("absent",), f"s3://{LAKE}/raw/absent/ has no files: upload them, or correct SOURCE"),
        (("more",), "_SUCCESS, which starts the machine"),
        (("first", "--attempt", "0"), "--attempt must be a number from 1 to 9999, not 0"),
        (("first", "--parameters", "{"), "parameters must be a JSON object"),
        (("first", "second"), "second is one SOURCE too many"),
        ((), "SOURCE is missing"),
        (("first", "--force"), "--force is not an option"),
    ):
        refused = submit(*arguments)
        assert refused.returncode == 2, refused
        assert words in refused.stderr and refused.stdout == ""


def test_the_shell_script_has_no_finding_of_shellcheck() -> None:
    found = subprocess.run([TOOLS / "shellcheck", SCRIPT], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, "")
