"""Lambda runs function code as AWS does."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from laptop_aws.tests.conformance.hosting import LAMBDA_PYTHON, Host, archive, eventually, unique

MakeHost = Callable[..., Host]


def test_an_exception_keeps_its_type_and_the_environment_stays_warm(host: Host) -> None:
    name = host.function(
        """
        import os
        class BadManifest(Exception):
            pass
        calls = 0
        def handler(event, context):
            global calls
            calls += 1
            if event.get("fail"):
                raise BadManifest("train/part-0.parquet is missing")
            return {"calls": calls, "pid": os.getpid()}
        """
    )
    before, _ = host.invoke(name)
    failure, kind = host.invoke(name, {"fail": True})
    after, _ = host.invoke(name)
    assert kind == "Unhandled"
    assert failure["errorType"] == "BadManifest"
    assert failure["errorMessage"] == "train/part-0.parquet is missing"
    assert "raise BadManifest" in failure["stackTrace"][-1]
    assert len(failure["requestId"]) == 36
    assert after == {"calls": 3, "pid": before["pid"]}


@pytest.mark.parametrize(
    ("source", "handler", "error_type", "part_of_message"),
    [
        (
            "import pandas\ndef handler(e, c): pass",
            "app.handler",
            "Runtime.ImportModuleError",
            "No module named 'pandas'",
        ),
        (
            "def other(e, c): pass",
            "app.handler",
            "Runtime.HandlerNotFound",
            "Handler 'handler' missing on module 'app'",
        ),
        ("def handler(e, c)\n  pass", "app.handler", "Runtime.UserCodeSyntaxError", "Syntax error in module 'app'"),
        ("raise KeyError('RUNS_TABLE')", "app.handler", "KeyError", "RUNS_TABLE"),
        (
            "def handler(e, c): return {1, 2}",
            "app.handler",
            "Runtime.MarshalError",
            "Object of type set is not JSON serializable",
        ),
        ("def handler(e, c): return 'x' * 7_000_000", "app.handler", "Function.ResponseSizeTooLarge", "6291556"),
        ("import os\ndef handler(e, c): os._exit(3)", "app.handler", "Runtime.ExitError", "exited"),
        ("import sys\ndef handler(e, c): sys.exit(1)", "app.handler", "Runtime.ExitError", "exited"),
    ],
)
def test_each_failure_has_the_error_type_of_aws(
    host: Host, source: str, handler: str, error_type: str, part_of_message: str
) -> None:
    payload, kind = host.invoke(host.function(source, handler=handler))
    assert kind == "Unhandled"
    assert payload["errorType"] == error_type
    assert part_of_message in payload["errorMessage"]


def test_a_timeout_is_sandbox_timedout_and_the_next_invocation_works(host: Host) -> None:
    name = host.function(
        "import time\ndef handler(e, c):\n    time.sleep(e.get('sleep', 0))\n    return 'done'", Timeout=1
    )
    payload, kind = host.invoke(name, {"sleep": 5})
    assert kind == "Unhandled"
    assert payload["errorType"] == "Sandbox.Timedout"
    assert "Task timed out after 1" in payload["errorMessage"]
    assert host.invoke(name) == ("done", None)


def test_prints_and_log_records_reach_cloudwatch_logs(host: Host) -> None:
    name = host.function(
        """
        import logging, os, subprocess, sys
        logger = logging.getLogger("shop")
        logger.setLevel("INFO")
        print("while importing")
        def handler(event, context):
            print("printed")
            logger.info("logged %s", 42)
            logging.getLogger("quiet").info("below the root level")
            subprocess.run([sys.executable, "-c", "print('of a child')"])
            return context.log_stream_name
        """
    )
    stream, error = host.invoke(name)
    assert error is None
    lines = host.log_lines(f"/aws/lambda/{name}")
    assert any("while importing" in line for line in lines)
    assert "printed" in lines
    assert "of a child" in lines
    assert any(line.startswith("[INFO]\t") and line.endswith("\tlogged 42") for line in lines)
    assert not any("below the root level" in line for line in lines)
    assert lines[0].startswith("START RequestId: ") and lines[-1].startswith("REPORT RequestId: ")
    host.invoke(name)
    streams = host.client("logs").describe_log_streams(logGroupName=f"/aws/lambda/{name}")["logStreams"]
    assert [found["logStreamName"] for found in streams] == [stream]


def test_the_tail_of_the_log_comes_with_the_answer(host: Host) -> None:
    name = host.function("def handler(e, c): print('said this')")
    answer = host.client("lambda").invoke(FunctionName=name, LogType="Tail")
    assert "said this" in base64.b64decode(answer["LogResult"]).decode()


def test_json_log_format_writes_documents_at_the_chosen_level(host: Host) -> None:
    name = host.function(
        "import logging\ndef handler(e, c): logging.getLogger('shop').info('hello')",
        LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "INFO"},
    )
    host.invoke(name)
    documents = [json.loads(line) for line in host.log_lines(f"/aws/lambda/{name}") if line.startswith("{")]
    assert [(found["level"], found["message"], found["logger"]) for found in documents] == [("INFO", "hello", "shop")]


def test_embedded_metrics_in_the_log_become_metrics(host: Host) -> None:
    namespace = unique("Shop")
    name = host.function(
        f"""
        import json, time
        def handler(event, context):
            print(json.dumps({{"_aws": {{"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [
                {{"Namespace": "{namespace}", "Dimensions": [["service"]],
                  "Metrics": [{{"Name": "OrderServed", "Unit": "Count"}}]}}]}},
                "service": "orders", "OrderServed": [3.0]}}))
        """
    )
    host.invoke(name)
    found = host.client("cloudwatch").list_metrics(Namespace=namespace)["Metrics"]
    assert [(metric["MetricName"], metric["Dimensions"]) for metric in found] == [
        ("OrderServed", [{"Name": "service", "Value": "orders"}])
    ]


def test_code_runs_beside_boto3_alone(host: Host) -> None:
    name = host.function(
        """
        import importlib.util, sys
        def handler(event, context):
            found = [name for name in event["names"] if importlib.util.find_spec(name)]
            return {"executable": sys.executable, "found": found}
        """
    )
    answer, _ = host.invoke(
        name, {"names": ["boto3", "botocore", "torch", "ministack", "aws_lambda_powertools", "laptop_aws"]}
    )
    assert answer["found"] == ["boto3", "botocore"]
    assert Path(answer["executable"]).parent == LAMBDA_PYTHON.parent


def test_environments_of_the_same_code_share_it_unpacked(host: Host) -> None:
    source = f"""
        import os, pathlib
        ABOUT = {"x" * 200_000!r}
        def handler(event, context):
            file = pathlib.Path(__file__).resolve()
            compiled = sorted(path.name for path in file.parent.glob("__pycache__/*"))
            return {{"file": str(file), "mode": file.stat().st_mode & 0o222, "compiled": compiled}}
        """
    names = [host.function(source, handler=handler) for handler in ("app.handler", "app.handler")]
    first, second = (host.invoke(name)[0] for name in names)
    assert first["file"] == second["file"]
    assert (first["mode"], second["mode"]) == (0, 0)
    compiled = eventually(lambda: host.invoke(names[0])[0]["compiled"])
    assert compiled[0].startswith("app.cpython-")
    other = host.function("def handler(event, context): return __file__")
    assert host.invoke(other)[0] != first["file"]


def test_nothing_of_the_hosts_environment_reaches_a_function(another_host: MakeHost) -> None:
    started = another_host(
        AWS_ACCESS_KEY_ID="AKIAREALREALREALREAL",
        AWS_SECRET_ACCESS_KEY="real-secret",
        AWS_SESSION_TOKEN="real-token",
        AWS_PROFILE="production",
        HTTPS_PROXY="http://proxy.example:3128",
        SOME_PERSONAL_SETTING="x",
    ).start()
    name = started.function(
        "import os\ndef handler(e, c): return dict(os.environ)",
        Environment={
            "Variables": {"RUNS_TABLE": "runs", "AWS_ENDPOINT_URL": "https://dynamodb.us-east-1.amazonaws.com"}
        },
    )
    seen, _ = started.invoke(name)
    assert seen["RUNS_TABLE"] == "runs"
    assert seen["AWS_ENDPOINT_URL"] == started.endpoint
    assert seen["AWS_ACCESS_KEY_ID"] == "000000000000"
    assert seen["AWS_LAMBDA_FUNCTION_NAME"] == name
    assert seen["AWS_REGION"] == "us-east-1"
    assert seen["TZ"] == "UTC"
    assert "real-secret" not in seen.values() and "real-token" not in seen.values()
    for leaked in (
        "AWS_PROFILE",
        "HTTPS_PROXY",
        "SOME_PERSONAL_SETTING",
        "PYTHONPATH",
        "VIRTUAL_ENV",
        "PERSIST_STATE",
        "STATE_DIR",
    ):
        assert leaked not in seen


def test_without_the_lambda_environment_the_hosts_interpreter_stands_in_and_the_log_says_so(
    another_host: MakeHost, tmp_path: Path
) -> None:
    started = another_host(LAPTOP_AWS_LAMBDA_PYTHON=str(tmp_path / "missing" / "python")).start()
    assert started.invoke(started.function("def handler(e, c): return 'ran'")) == ("ran", None)
    assert "functions run in the emulator's own interpreter" in (started.root / "logs" / "emulator.log").read_text()


def test_a_function_cannot_leave_this_machine(host: Host) -> None:
    name = host.function(
        """
        import socket
        def handler(event, context):
            tried = {}
            for what, call in {
                "name": lambda: socket.create_connection(("sts.us-east-1.amazonaws.com", 443), timeout=1),
                "address": lambda: socket.create_connection(("192.0.2.1", 443), timeout=1),
                "datagram": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53)),
            }.items():
                try:
                    call()
                    tried[what] = "went out"
                except OSError as error:
                    tried[what] = type(error).__name__
            return tried
        """
    )
    answer, error = host.invoke(name)
    assert error is None
    assert answer == {"name": "LeavesLoopback", "address": "LeavesLoopback", "datagram": "LeavesLoopback"}


def test_a_function_reaches_the_emulator_with_plain_boto3(host: Host) -> None:
    bucket = unique("bucket")
    host.client("s3").create_bucket(Bucket=bucket)
    name = host.function(
        """
        import boto3
        s3 = boto3.client("s3")
        def handler(event, context):
            s3.put_object(Bucket=event["bucket"], Key="a", Body=b"1")
            return boto3.client("sts").get_caller_identity()["Account"]
        """
    )
    assert host.invoke(name, {"bucket": bucket}) == ("000000000000", None)
    assert host.client("s3").get_object(Bucket=bucket, Key="a")["Body"].read() == b"1"


def test_a_layers_python_folder_can_be_imported_and_the_functions_own_code_wins(host: Host) -> None:
    layer = host.client("lambda").publish_layer_version(
        LayerName=unique("layer"),
        Content={
            "ZipFile": archive(
                {
                    "python/preparation_code/__init__.py": "",
                    "python/preparation_code/preprocess.py": "print('spark')",
                    "python/both.py": "where = 'layer'",
                    "python/lib/python3.13/site-packages/deep.py": "where = 'layer'",
                }
            )
        },
    )["LayerVersionArn"]
    name = host.function(
        """
        import importlib.resources, both, deep
        def handler(event, context):
            text = (importlib.resources.files("preparation_code") / "preprocess.py").read_text()
            return [text, both.where, deep.where]
        """,
        files={"both.py": "where = 'function'"},
        Layers=[layer],
    )
    assert host.invoke(name) == (["print('spark')", "function", "layer"], None)


def test_the_context_object_is_as_on_aws(host: Host) -> None:
    name = host.function(
        """ def handler(event, context): return { "name": context.function_name, "arn": context.invoked_function_arn,
        "id": context.aws_request_id, "left": context.get_remaining_time_in_millis(), "memory":
        context.memory_limit_in_mb, "group": context.log_group_name, } """,
        Timeout=7,
        MemorySize=256,
    )
    seen, _ = host.invoke(name)
    assert seen["name"] == name and seen["arn"].endswith(f":function:{name}") and len(seen["id"]) == 36
    assert 5000 < seen["left"] <= 7000
    assert (seen["memory"], seen["group"]) == ("256", f"/aws/lambda/{name}")


def test_concurrent_invocations_have_environments_of_their_own(host: Host) -> None:
    name = host.function("import os, time\ndef handler(e, c):\n    time.sleep(0.4)\n    return os.getpid()")
    import concurrent.futures

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        pids = [answer for answer, _ in pool.map(lambda _: host.invoke(name), range(3))]
    assert len(set(pids)) == 3


def test_reserved_concurrency_zero_throttles(host: Host) -> None:
    name = host.function("def handler(e, c): return 1")
    host.client("lambda").put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    with pytest.raises(host.client("lambda").exceptions.TooManyRequestsException):
        host.client("lambda").invoke(FunctionName=name)


def test_an_update_of_the_code_is_what_runs_next(host: Host) -> None:
    name = host.function("def handler(e, c): return 'old'")
    assert host.invoke(name)[0] == "old"
    host.client("lambda").update_function_code(
        FunctionName=name, ZipFile=archive({"app.py": "def handler(e, c): return 'new'"})
    )
    assert host.invoke(name)[0] == "new"


def test_import_that_never_ends_fails_the_invocation(another_host: MakeHost) -> None:
    started = another_host(LAPTOP_AWS_LAMBDA_INIT_SECONDS="1").start()
    name = started.function("import time\ntime.sleep(60)\ndef handler(e, c): pass", Timeout=1)
    payload, kind = started.invoke(name)
    assert kind == "Unhandled" and payload["errorType"] == "Runtime.ExitError"


def test_all_invocations_count_in_the_functions_metrics(host: Host) -> None:
    name = host.function("def handler(e, c): raise ValueError('no')")
    host.client("lambda").invoke(FunctionName=name, InvocationType="Event")

    def sums() -> dict[str, float]:
        now = time.time()
        found = {}
        for metric in ("Invocations", "Errors"):
            points = host.client("cloudwatch").get_metric_statistics(
                Namespace="AWS/Lambda",
                MetricName=metric,
                Dimensions=[{"Name": "FunctionName", "Value": name}],
                StartTime=now - 300,
                EndTime=now + 60,
                Period=3600,
                Statistics=["Sum"],
            )["Datapoints"]
            found[metric] = sum(point["Sum"] for point in points)
        return found

    eventually(lambda: sums() == {"Invocations": 3.0, "Errors": 3.0})
