"""The emulated EMR Serverless against what AWS does. Entry points are plain Python, for speed; one is Spark."""

from __future__ import annotations

import gzip
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyspark

from laptop_aws.emr_serverless.class_archive import FOLDER
from laptop_aws.tests.conformance.emr_jobs import job_request, keys, put_script, run, running_log
from laptop_aws.tests.conformance.hosting import Host, eventually, unique
from laptop_aws.tests.conformance.sagemaker_fixtures import EventTap, is_alive

# ---- what a job sees and leaves ----------------------------------------------------------------------------------


def test_arguments_arrive_unchanged_and_their_objects_are_there(host: Host, application: str, lake: str) -> None:
    for key in ("raw/d1/a.csv", "raw/d1/sub/b.csv", "raw/d10/c.csv", "items.csv"):
        host.client("s3").put_object(Bucket=lake, Key=key, Body=key.encode())
    script = put_script(
        host,
        lake,
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
        f"s3://{lake}/raw/d1/",
        "--output",
        f"s3://{lake}/out",
        f"--items=s3://{lake}/items.csv",
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
    seen = json.loads(host.client("s3").get_object(Bucket=lake, Key="out/seen.json")["Body"].read())
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
    host: Host, application: str, lake: str
) -> None:
    host.client("s3").put_bucket_notification_configuration(
        Bucket=lake, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    tap = EventTap(host, "aws.s3", "Object Created")
    script = put_script(
        host,
        lake,
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
    assert run(host, job_request(application, script, f"s3://{lake}/{prefix}"))["state"] == "SUCCESS"
    tap.until(lambda event: event["detail"]["object"]["key"] == f"{prefix}/manifest.json")
    written = [
        event["detail"]["object"]["key"] for event in tap.events if event["detail"]["object"]["key"].startswith(prefix)
    ]
    assert written == [f"{prefix}/{name}" for name in ("z.parquet", "a.parquet", "manifest.json")]
    assert keys(host, lake, prefix) == sorted(written), "Hadoop's checksum files stay behind"


def test_deleted_and_untouched_files_are_as_on_s3(host: Host, application: str, lake: str) -> None:
    prefix = unique("edit")
    for name in ("gone", "same", "changed"):
        host.client("s3").put_object(Bucket=lake, Key=f"{prefix}/{name}", Body=b"before")
    before = host.client("s3").head_object(Bucket=lake, Key=f"{prefix}/same")["LastModified"]
    script = put_script(
        host,
        lake,
        'folder = local(sys.argv[1]); (folder / "gone").unlink(); (folder / "changed").write_text("after it")',
    )
    run(host, job_request(application, script, f"s3://{lake}/{prefix}/"))
    assert keys(host, lake, prefix) == [f"{prefix}/changed", f"{prefix}/same"]
    assert host.client("s3").get_object(Bucket=lake, Key=f"{prefix}/changed")["Body"].read() == b"after it"
    assert host.client("s3").head_object(Bucket=lake, Key=f"{prefix}/same")["LastModified"] == before


def test_a_refusal_keeps_its_report_and_its_last_words(host: Host, application: str, lake: str) -> None:
    script = put_script(
        host,
        lake,
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
        f"s3://{lake}/{prefix}",
        configurationOverrides={
            "monitoringConfiguration": {"s3MonitoringConfiguration": {"logUri": f"s3://{lake}/logs/emr/"}}
        },
    )
    found = run(host, request)
    assert found["state"] == "FAILED"
    assert found["stateDetails"] == (
        "Job failed, please check complete logs in configured logging destination. ExitCode: 2. "
        "Last few exceptions: REFUSED: the source has no rows"
    )
    assert keys(host, lake, prefix) == [f"{prefix}/report.json"]
    logs = f"logs/emr/applications/{application}/jobs/{found['jobRunId']}/SPARK_DRIVER"
    for name, text in (("stdout", "step=read rows=0\n"), ("stderr", "a warning\nREFUSED: the source has no rows\n")):
        content = host.client("s3").get_object(Bucket=lake, Key=f"{logs}/{name}.gz")["Body"].read()
        assert gzip.decompress(content).decode() == text


def test_details_are_cut_to_what_aws_allows(host: Host, application: str, lake: str) -> None:
    script = put_script(host, lake, 'sys.exit("REFUSED: " + "x" * 500)')
    found = run(host, job_request(application, script))
    assert len(found["stateDetails"]) == 256
    assert "ExitCode: 1. Last few exceptions: REFUSED: xxx" in found["stateDetails"]


def test_python_files_are_importable(host: Host, application: str, lake: str) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        zipped.writestr("shipped.py", "ANSWER = 42")
    host.client("s3").put_object(Bucket=lake, Key="code/shipped.zip", Body=buffer.getvalue())
    script = put_script(host, lake, "import shipped; sys.exit(f'answer {shipped.ANSWER}')")
    request = job_request(application, script, parameters=f"--py-files s3://{lake}/code/shipped.zip")
    assert "answer 42" in run(host, request)["stateDetails"]


def test_a_key_that_would_leave_the_folder_fails_the_job(host: Host, application: str, lake: str) -> None:
    host.client("s3").put_object(Bucket=lake, Key="evil/../../../escaped.txt", Body=b"x")
    found = run(host, job_request(application, put_script(host, lake, ""), f"s3://{lake}/evil/"))
    assert found["state"] == "FAILED"
    assert "'evil/../../../escaped.txt' cannot be a file below a folder" in found["stateDetails"]
    assert not any("escaped.txt" in names for _, _, names in os.walk(host.root))  # folders go away meanwhile


def test_a_missing_entry_point_fails_the_job(host: Host, application: str, lake: str) -> None:
    found = run(host, job_request(application, f"s3://{lake}/code/absent.py"))
    assert (found["state"], found["stateDetails"]) == (
        "FAILED",
        f"Job failed. s3://{lake}/code/absent.py does not exist",
    )


# ---- Spark -------------------------------------------------------------------------------------------------------


def test_spark_reads_and_writes_the_same_uris_as_on_aws(host: Host, application: str, lake: str) -> None:
    rows = "user_id,item_id\n" + "".join(f"u{number % 7},i{number}\n" for number in range(100))
    host.client("s3").put_object(Bucket=lake, Key="spark/in/rows.csv", Body=rows.encode())
    script = put_script(
        host,
        lake,
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
    found = run(host, job_request(application, script, f"s3://{lake}/spark/in/", f"s3://{lake}/spark/out"), 150)
    log = running_log(host, found["jobRunId"])
    assert found["state"] == "SUCCESS", log
    assert "rows 100" in log
    assert "master local[2] version 4.0.2" in log
    assert f"uris s3://{lake}/spark/out/rows/_SUCCESS" in log
    names = [key.rpartition("/")[2] for key in keys(host, lake, "spark/out/rows/")]
    assert names[0] == "_SUCCESS"
    assert names[1].endswith(".snappy.parquet")
    assert len(names) == 2


def test_a_started_application_keeps_its_java_and_each_job_run_has_its_own_spark(
    host: Host, application: str, lake: str
) -> None:
    script = put_script(
        host,
        lake,
        """
        from pyspark.sql import SparkSession
        spark = SparkSession.builder.getOrCreate()
        spark.conf.set("spark.sql.shuffle.partitions", "9")
        print("java", spark._jvm.java.lang.ProcessHandle.current().pid())
        print("before", spark.sparkContext.getConf().get("spark.test.before", "nothing"), spark.catalog.listTables())
        spark.range(3).createOrReplaceGlobalTempView("left")
        print("rows", spark.read.text(sys.argv[1]).count(), flush=True)
        os._exit(int(sys.argv[2]))  # without a word to Spark
        """,
    )

    def said(rows: int, status: int, parameters: str = "") -> dict[str, str]:
        prefix = unique("kept")
        host.client("s3").put_object(Bucket=lake, Key=f"{prefix}/rows.txt", Body=b"row\n" * rows)
        request = job_request(application, script, f"s3://{lake}/{prefix}/", str(status), parameters=parameters)
        found = run(host, request, 150)
        log = running_log(host, found["jobRunId"])
        assert found["state"] == ("FAILED" if status else "SUCCESS"), log
        return dict(
            line.split(" ", 1) for line in log.splitlines() if line.split(" ", 1)[0] in ("java", "before", "rows")
        )

    first = said(3, 0, "--conf spark.test.before=something")
    assert (first["before"], first["rows"]) == ("something []", "3")
    second = said(4, 1)
    assert (second["before"], second["rows"]) == ("nothing []", "4"), "it has the first one's settings or files"
    third = said(5, 0)
    assert (third["before"], third["rows"]) == ("nothing []", "5")
    assert first["java"] == second["java"] == third["java"]
    host.client("emr-serverless").stop_application(applicationId=application)
    # The Java writes an archive of its classes as it ends, if there is none.
    eventually(lambda: not is_alive(int(first["java"])), 150)
    archives = Path(pyspark.__file__).parent / FOLDER
    eventually(lambda: list(archives.glob("*.jsa")))


def test_a_host_that_is_asked_to_has_a_java_ready_for_the_first_job_run(another_host: Callable[..., Host]) -> None:
    host = another_host(LAPTOP_AWS_READY_SPARK="1").start()
    eventually((host.root / "work" / "emr-serverless").exists)
    host.client("s3").create_bucket(Bucket="lake")
    own = host.client("emr-serverless").create_application(type="SPARK", releaseLabel="emr-spark-8.0.0")
    script = put_script(
        host,
        "lake",
        """
        from pyspark.sql import SparkSession
        spark = SparkSession.builder.getOrCreate()
        runtime = spark._jvm.java.lang.management.ManagementFactory.getRuntimeMXBean()
        print("started", runtime.getStartTime() / 1000)
        print("before", spark.catalog.listTables(), spark.sparkContext.appName, spark.range(5).count(), flush=True)
        """,
    )
    found = run(host, job_request(own["applicationId"], script), 150)
    log = running_log(host, found["jobRunId"])
    assert found["state"] == "SUCCESS", log
    said = dict(line.split(" ", 1) for line in log.splitlines() if line.startswith(("started ", "before ")))
    assert float(said["started"]) < found["startedAt"].timestamp(), "the job run has a Java of its own"
    assert said["before"].startswith("[] ") and "warm-up" not in said["before"] and said["before"].endswith(" 5")
    assert "a Java is ready for Spark" in (host.root / "logs" / "emulator.log").read_text()
