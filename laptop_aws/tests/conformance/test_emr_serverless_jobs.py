"""The emulated EMR Serverless against what AWS does. Entry points are plain Python, for speed; one is Spark."""

from __future__ import annotations

import gzip
import io
import json
import signal
import textwrap
import zipfile
from typing import Any

import pytest

from laptop_aws.tests.conformance.hosting import ACCOUNT, REGION, ROLE, Host, eventually, unique
from laptop_aws.tests.conformance.sagemaker_fixtures import EventTap, is_alive, refusal

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


@pytest.fixture(scope="module")
def application(host: Host) -> str:
    return str(
        host.client("emr-serverless").create_application(type="SPARK", releaseLabel="emr-spark-8.0.0", name="prep")[
            "applicationId"
        ]
    )


@pytest.fixture(scope="module")
def place(host: Host) -> str:
    name = unique("lake")
    host.client("s3").create_bucket(Bucket=name)
    return name


def put_script(host: Host, place: str, source: str) -> str:
    key = f"code/{unique('job')}.py"
    host.client("s3").put_object(Bucket=place, Key=key, Body=(STAGE + textwrap.dedent(source)).encode())
    return f"s3://{place}/{key}"


def job_request(
    application: str, entry_point: str, *arguments: str, parameters: str = "", **changes: Any
) -> dict[str, Any]:
    submit: dict[str, Any] = {"entryPoint": entry_point, "entryPointArguments": list(arguments)}
    if parameters:
        submit["sparkSubmitParameters"] = parameters
    return {"applicationId": application, "executionRoleArn": ROLE, "jobDriver": {"sparkSubmit": submit}} | changes


def ended(host: Host, application: str, job_run: str, seconds: float = 30) -> dict[str, Any]:
    def probe() -> Any:
        found = host.client("emr-serverless").get_job_run(applicationId=application, jobRunId=job_run)["jobRun"]
        return found if found["state"] in TERMINAL else None

    return dict(eventually(probe, seconds))


def run(host: Host, request: dict[str, Any], seconds: float = 30) -> dict[str, Any]:
    started = host.client("emr-serverless").start_job_run(**request)
    return ended(host, request["applicationId"], started["jobRunId"], seconds)


def keys(host: Host, place: str, prefix: str) -> list[str]:
    found = host.client("s3").list_objects_v2(Bucket=place, Prefix=prefix).get("Contents", [])
    return [entry["Key"] for entry in found]


def running_log(host: Host, job_run: str) -> str:
    path = host.root / "logs" / "emr" / f"{job_run}.log"
    return path.read_text() if path.exists() else ""


# ---- what a job sees and leaves ----------------------------------------------------------------------------------


def test_arguments_arrive_unchanged_and_their_objects_are_there(host: Host, application: str, place: str) -> None:
    for key in ("raw/d1/a.csv", "raw/d1/sub/b.csv", "raw/d10/c.csv", "items.csv"):
        host.client("s3").put_object(Bucket=place, Key=key, Body=key.encode())
    script = put_script(
        host,
        place,
        """
        import json
        source = local(sys.argv[2])
        files = sorted(path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file())
        others = sorted(path.name for path in source.parent.iterdir())
        target = local(sys.argv[4])
        target.mkdir(parents=True)
        (target / "seen.json").write_text(json.dumps({"argv": sys.argv[1:], "files": files, "others": others,
                                                      "items": local(sys.argv[5].partition("=")[2]).read_text(),
                                                      "environment": dict(os.environ)}))
        """,
    )
    arguments = (
        "--source",
        f"s3://{place}/raw/d1/",
        "--output",
        f"s3://{place}/out",
        f"--items=s3://{place}/items.csv",
    )
    request = job_request(
        application,
        script,
        *arguments,
        parameters="--conf spark.executor.memory=14g --conf spark.sql.shuffle.partitions=7 "
        "--conf spark.emr-serverless.driverEnv.STAGE=dev",
    )
    found = run(host, request)
    assert (found["state"], found["stateDetails"]) == ("SUCCESS", "")
    seen = json.loads(host.client("s3").get_object(Bucket=place, Key="out/seen.json")["Body"].read())
    assert seen["argv"] == list(arguments)
    assert seen["files"] == ["a.csv", "sub/b.csv"]
    assert seen["others"] == ["d1"], "only what an argument names is fetched"
    assert seen["items"] == "items.csv"
    environment = seen["environment"]
    assert environment["SPARK_LOCAL_IP"] == "127.0.0.1"
    assert environment["STAGE"] == "dev"
    assert "spark.sql.shuffle.partitions=7" in environment["PYSPARK_SUBMIT_ARGS"]
    assert "14g" not in environment["PYSPARK_SUBMIT_ARGS"], "a laptop has no executors of 14 GiB"
    assert "--master 'local[2]' --driver-memory 1g" in environment["PYSPARK_SUBMIT_ARGS"]


def test_results_reach_s3_in_the_order_of_writing_with_the_manifest_last(
    host: Host, application: str, place: str
) -> None:
    host.client("s3").put_bucket_notification_configuration(
        Bucket=place, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    tap = EventTap(host, "aws.s3", "Object Created")
    script = put_script(
        host,
        place,
        """
        import time
        target = local(sys.argv[1])
        target.mkdir(parents=True)
        for name in ("manifest.json", "z.parquet", "a.parquet", ".a.parquet.crc"):
            (target / name).write_text(name)
            time.sleep(0.02)
        """,
    )
    prefix = unique("version")
    assert run(host, job_request(application, script, f"s3://{place}/{prefix}"))["state"] == "SUCCESS"
    tap.until(lambda event: event["detail"]["object"]["key"] == f"{prefix}/manifest.json")
    written = [
        event["detail"]["object"]["key"] for event in tap.events if event["detail"]["object"]["key"].startswith(prefix)
    ]
    assert written == [f"{prefix}/{name}" for name in ("z.parquet", "a.parquet", "manifest.json")]
    assert keys(host, place, prefix) == sorted(written), "Hadoop's checksum files stay behind"


def test_deleted_and_untouched_files_are_as_on_s3(host: Host, application: str, place: str) -> None:
    prefix = unique("edit")
    for name in ("gone", "same", "changed"):
        host.client("s3").put_object(Bucket=place, Key=f"{prefix}/{name}", Body=b"before")
    before = host.client("s3").head_object(Bucket=place, Key=f"{prefix}/same")["LastModified"]
    script = put_script(
        host,
        place,
        'folder = local(sys.argv[1]); (folder / "gone").unlink(); (folder / "changed").write_text("after it")',
    )
    run(host, job_request(application, script, f"s3://{place}/{prefix}/"))
    assert keys(host, place, prefix) == [f"{prefix}/changed", f"{prefix}/same"]
    assert host.client("s3").get_object(Bucket=place, Key=f"{prefix}/changed")["Body"].read() == b"after it"
    assert host.client("s3").head_object(Bucket=place, Key=f"{prefix}/same")["LastModified"] == before


def test_a_refusal_keeps_its_report_and_its_last_words(host: Host, application: str, place: str) -> None:
    script = put_script(
        host,
        place,
        """
        folder = local(sys.argv[1])
        folder.mkdir(parents=True)
        (folder / "report.json").write_text("{}")
        print("step=read rows=0")
        print("a warning", file=sys.stderr)
        print("REFUSED: the source has no rows", file=sys.stderr)
        sys.exit(2)
        """,
    )
    prefix = unique("quarantine")
    request = job_request(
        application,
        script,
        f"s3://{place}/{prefix}",
        configurationOverrides={
            "monitoringConfiguration": {"s3MonitoringConfiguration": {"logUri": f"s3://{place}/logs/emr/"}}
        },
    )
    found = run(host, request)
    assert found["state"] == "FAILED"
    assert found["stateDetails"] == (
        "Job failed, please check complete logs in configured logging destination. ExitCode: 2. "
        "Last few exceptions: REFUSED: the source has no rows"
    )
    assert keys(host, place, prefix) == [f"{prefix}/report.json"]
    logs = f"logs/emr/applications/{application}/jobs/{found['jobRunId']}/SPARK_DRIVER"
    for name, text in (("stdout", "step=read rows=0\n"), ("stderr", "a warning\nREFUSED: the source has no rows\n")):
        content = host.client("s3").get_object(Bucket=place, Key=f"{logs}/{name}.gz")["Body"].read()
        assert gzip.decompress(content).decode() == text


def test_details_are_cut_to_what_aws_allows(host: Host, application: str, place: str) -> None:
    script = put_script(host, place, 'sys.exit("REFUSED: " + "x" * 500)')
    found = run(host, job_request(application, script))
    assert len(found["stateDetails"]) == 256
    assert "ExitCode: 1. Last few exceptions: REFUSED: xxx" in found["stateDetails"]


def test_python_files_are_importable(host: Host, application: str, place: str) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        zipped.writestr("shipped.py", "ANSWER = 42")
    host.client("s3").put_object(Bucket=place, Key="code/shipped.zip", Body=buffer.getvalue())
    script = put_script(host, place, "import shipped; sys.exit(f'answer {shipped.ANSWER}')")
    request = job_request(application, script, parameters=f"--py-files s3://{place}/code/shipped.zip")
    assert "answer 42" in run(host, request)["stateDetails"]


def test_a_key_that_would_leave_the_folder_fails_the_job(host: Host, application: str, place: str) -> None:
    host.client("s3").put_object(Bucket=place, Key="evil/../../../escaped.txt", Body=b"x")
    found = run(host, job_request(application, put_script(host, place, ""), f"s3://{place}/evil/"))
    assert found["state"] == "FAILED"
    assert "'evil/../../../escaped.txt' cannot be a file below a folder" in found["stateDetails"]
    assert not list(host.root.rglob("escaped.txt"))


def test_a_missing_entry_point_fails_the_job(host: Host, application: str, place: str) -> None:
    found = run(host, job_request(application, f"s3://{place}/code/absent.py"))
    assert (found["state"], found["stateDetails"]) == (
        "FAILED",
        f"Job failed. s3://{place}/code/absent.py does not exist",
    )


# ---- states and events -------------------------------------------------------------------------------------------


def test_each_state_is_an_event_in_the_documented_shape(host: Host, application: str, place: str) -> None:
    tap = EventTap(host, "aws.emr-serverless", "EMR Serverless Job Run State Change")
    found = run(host, job_request(application, put_script(host, place, "sys.exit(1)"), name="prepare-v1"))
    tap.until(lambda event: event["detail"]["state"] == "FAILED" and event["detail"]["jobRunId"] == found["jobRunId"])
    own = [event for event in tap.events if event["detail"]["jobRunId"] == found["jobRunId"]]
    assert [(event["detail"].get("previousState"), event["detail"]["state"]) for event in own] == [
        (None, "SUBMITTED"),
        ("SUBMITTED", "PENDING"),
        ("PENDING", "SCHEDULED"),
        ("SCHEDULED", "RUNNING"),
        ("RUNNING", "FAILED"),
    ]
    last = own[-1]
    assert (last["source"], last["resources"], last["account"]) == ("aws.emr-serverless", [], ACCOUNT)
    detail = last["detail"]
    assert detail["jobRunName"] == "prepare-v1"
    assert detail["applicationId"] == application
    assert detail["releaseLabel"] == "emr-spark-8.0.0"
    assert detail["arn"] == (
        f"arn:aws:emr-serverless:{REGION}:{ACCOUNT}:/applications/{application}/jobruns/{found['jobRunId']}"
    )
    assert detail["createdAt"] < detail["updatedAt"]
    assert detail["updatedAt"].endswith("Z")


def test_the_same_client_token_starts_one_job(host: Host, application: str, place: str) -> None:
    client, token = host.client("emr-serverless"), unique("token")
    request = job_request(application, put_script(host, place, ""), clientToken=token)
    first, second = client.start_job_run(**request), client.start_job_run(**request)
    assert first["jobRunId"] == second["jobRunId"]
    assert refusal(client.start_job_run, **request | {"name": "other"})[0] == "ConflictException"
    ended(host, application, first["jobRunId"])


def test_a_cancelled_job_is_cancelled_with_its_process(host: Host, application: str, place: str) -> None:
    client = host.client("emr-serverless")
    script = put_script(host, place, "import time; print('pid', os.getpid(), flush=True); time.sleep(600)")
    identifier = client.start_job_run(**job_request(application, script))["jobRunId"]
    eventually(lambda: "pid" in running_log(host, identifier))
    pid = int(running_log(host, identifier).split("pid ")[1].split()[0])
    client.cancel_job_run(applicationId=application, jobRunId=identifier)
    found = ended(host, application, identifier)
    assert found["state"] == "CANCELLED"
    assert not is_alive(pid)
    code, message = refusal(client.cancel_job_run, applicationId=application, jobRunId=identifier)
    assert (code, "CANCELLED" in message) == ("ValidationException", True)


def test_a_failed_attempt_is_tried_again_as_the_policy_says(host: Host, application: str, place: str) -> None:
    script = put_script(
        host,
        place,
        """
        marker = local(sys.argv[1]) / "attempts"
        marker.parent.mkdir(parents=True, exist_ok=True)
        tries = len(marker.read_text()) if marker.exists() else 0
        marker.write_text("x" * (tries + 1))
        sys.exit(0 if tries == 1 else 1)
        """,
    )
    uri = f"s3://{place}/{unique('retry')}"
    found = run(host, job_request(application, script, uri, retryPolicy={"maxAttempts": 3}))
    assert (found["state"], found["attempt"]) == ("SUCCESS", 2)


def test_jobs_are_listed_newest_first_and_paged(host: Host, place: str) -> None:
    client = host.client("emr-serverless")
    own = client.create_application(type="SPARK", releaseLabel="emr-spark-8.0.0")["applicationId"]
    fine, bad = put_script(host, place, ""), put_script(host, place, "sys.exit(1)")
    started = [
        run(host, job_request(own, script, name=f"n{number}"))["jobRunId"]
        for number, script in enumerate((fine, bad, fine))
    ]
    pages = list(client.get_paginator("list_job_runs").paginate(applicationId=own, PaginationConfig={"PageSize": 2}))
    assert [entry["id"] for page in pages for entry in page["jobRuns"]] == started[::-1]
    assert [len(page["jobRuns"]) for page in pages] == [2, 1]
    failed = client.list_job_runs(applicationId=own, states=["FAILED"])["jobRuns"]
    assert [(entry["id"], entry["name"]) for entry in failed] == [(started[1], "n1")]


# ---- applications and refusals -----------------------------------------------------------------------------------


def test_an_application_goes_through_its_life(host: Host) -> None:
    client = host.client("emr-serverless")
    request = {"type": "SPARK", "releaseLabel": "emr-spark-8.0.0", "name": "life", "clientToken": unique("token")}
    created = client.create_application(**request)
    assert client.create_application(**request)["applicationId"] == created["applicationId"]
    assert refusal(client.create_application, **request | {"name": "other"})[0] == "ConflictException"
    identifier = created["applicationId"]

    def state() -> Any:
        return client.get_application(applicationId=identifier)["application"]["state"]

    assert created["arn"] == f"arn:aws:emr-serverless:{REGION}:{ACCOUNT}:/applications/{identifier}"
    assert state() == "CREATED"
    client.start_application(applicationId=identifier)
    assert state() == "STARTED"
    assert refusal(client.delete_application, applicationId=identifier)[0] == "ValidationException"
    client.stop_application(applicationId=identifier)
    client.delete_application(applicationId=identifier)
    assert state() == "TERMINATED"
    assert identifier not in [entry["id"] for entry in client.list_applications()["applications"]]


def test_refusals_are_those_of_aws(host: Host, application: str, place: str) -> None:
    client = host.client("emr-serverless")
    assert refusal(client.get_application, applicationId="absent")[0] == "ResourceNotFoundException"
    assert refusal(client.get_job_run, applicationId=application, jobRunId="absent")[0] == "ResourceNotFoundException"
    script = put_script(host, place, "")
    assert refusal(client.start_job_run, **job_request("absent", script))[0] == "ResourceNotFoundException"
    code, message = refusal(client.start_job_run, **job_request(application, script, parameters="--jars s3://b/x.jar"))
    assert (code, "--jars is not honoured" in message) == ("ValidationException", True)
    unchecked = host.unchecked_client("emr-serverless")
    code, message = refusal(unchecked.start_job_run, applicationId=application, executionRoleArn="role")
    assert code == "ValidationException"
    assert "Value 'role' at 'executionRoleArn' failed to satisfy constraint" in message


def test_a_stack_holds_an_application(host: Host) -> None:
    cloudformation, stack = host.client("cloudformation"), unique("stack")

    def template(minutes: int, label: str = "emr-spark-8.0.0") -> str:
        properties = {
            "Name": "prep",
            "Type": "SPARK",
            "ReleaseLabel": label,
            "Architecture": "ARM64",
            "AutoStartConfiguration": {"Enabled": "true"},
            "AutoStopConfiguration": {"Enabled": True, "IdleTimeoutMinutes": str(minutes)},
            "MaximumCapacity": {"Cpu": "16 vCPU", "Memory": "64 GB"},
            "InitialCapacity": [
                {
                    "Key": "Driver",
                    "Value": {"WorkerCount": 1, "WorkerConfiguration": {"Cpu": "2 vCPU", "Memory": "4 GB"}},
                }
            ],
            "Tags": [{"Key": "a", "Value": "1"}],
        }
        return json.dumps(
            {
                "Resources": {"App": {"Type": "AWS::EMRServerless::Application", "Properties": properties}},
                "Outputs": {
                    "Ref": {"Value": {"Ref": "App"}},
                    "Id": {"Value": {"Fn::GetAtt": ["App", "ApplicationId"]}},
                    "Arn": {"Value": {"Fn::GetAtt": ["App", "Arn"]}},
                },
            }
        )

    cloudformation.create_stack(StackName=stack, TemplateBody=template(15))
    found = host.settled_stack(stack)
    assert found["StackStatus"] == "CREATE_COMPLETE"
    outputs = {entry["OutputKey"]: entry["OutputValue"] for entry in found["Outputs"]}
    identifier = outputs["Ref"]
    assert outputs == {
        "Ref": identifier,
        "Id": identifier,
        "Arn": f"arn:aws:emr-serverless:{REGION}:{ACCOUNT}:/applications/{identifier}",
    }

    def application() -> Any:
        return host.client("emr-serverless").get_application(applicationId=identifier)["application"]

    described = application()
    assert described["autoStopConfiguration"] == {"enabled": True, "idleTimeoutMinutes": 15}
    assert described["initialCapacity"]["Driver"]["workerCount"] == 1
    assert (described["architecture"], described["tags"]) == ("ARM64", {"a": "1"})

    cloudformation.update_stack(StackName=stack, TemplateBody=template(30))
    assert host.settled_stack(stack)["StackStatus"] == "UPDATE_COMPLETE"
    assert application()["autoStopConfiguration"]["idleTimeoutMinutes"] == 30
    cloudformation.delete_stack(StackName=stack)
    eventually(lambda: application()["state"] == "TERMINATED")


# ---- what outlives what ------------------------------------------------------------------------------------------


def test_a_job_that_ran_when_the_host_ended_is_failed_and_leaves_no_process(another_host: Any) -> None:
    host = another_host().start()
    client = host.client("emr-serverless")
    host.client("s3").create_bucket(Bucket="lake")
    application = client.create_application(type="SPARK", releaseLabel="emr-spark-8.0.0")["applicationId"]
    script = put_script(host, "lake", "import time; print('pid', os.getpid(), flush=True); time.sleep(600)")
    identifier = client.start_job_run(**job_request(application, script))["jobRunId"]
    eventually(lambda: "pid" in running_log(host, identifier))
    pid = int(running_log(host, identifier).split("pid ")[1].split()[0])
    assert host.stop(signal.SIGTERM) == 0
    eventually(lambda: not is_alive(pid))
    again = another_host(host.root).start()
    found = ended(again, application, identifier)
    assert found["state"] == "FAILED"
    assert "the embedded AWS ended while it ran" in found["stateDetails"]


# ---- Spark -------------------------------------------------------------------------------------------------------


def test_spark_reads_and_writes_the_same_uris_as_on_aws(host: Host, application: str, place: str) -> None:
    rows = "user_id,item_id\n" + "".join(f"u{number % 7},i{number}\n" for number in range(100))
    host.client("s3").put_object(Bucket=place, Key="spark/in/rows.csv", Body=rows.encode())
    script = put_script(
        host,
        place,
        """
        from pyspark.sql import SparkSession
        spark = SparkSession.builder.getOrCreate()
        frame = spark.read.csv(sys.argv[1], header=True)
        frame.coalesce(1).write.mode("overwrite").parquet(sys.argv[2] + "/rows")
        path = spark._jvm.org.apache.hadoop.fs.Path(sys.argv[2] + "/rows")
        listed = path.getFileSystem(spark._jsc.hadoopConfiguration()).listStatus(path)
        print("uris", sorted(str(entry.getPath()) for entry in listed)[0])
        print("rows", spark.read.parquet(sys.argv[2] + "/rows").count())
        print("master", spark.sparkContext.master, "version", spark.version)
        """,
    )
    found = run(host, job_request(application, script, f"s3://{place}/spark/in/", f"s3://{place}/spark/out"), 150)
    log = running_log(host, found["jobRunId"])
    assert found["state"] == "SUCCESS", log
    assert "rows 100" in log
    assert "master local[2] version 4.0.2" in log
    assert f"uris s3://{place}/spark/out/rows/_SUCCESS" in log
    names = [key.rpartition("/")[2] for key in keys(host, place, "spark/out/rows/")]
    assert names[0] == "_SUCCESS"
    assert names[1].endswith(".snappy.parquet")
    assert len(names) == 2
