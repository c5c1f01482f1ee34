"""Job runs and applications of the emulated EMR Serverless go through AWS's states, with its events and refusals."""

from __future__ import annotations

import json
import signal
from typing import Any

from laptop_aws.tests.conformance.emr_jobs import ended, job_request, put_script, run, running_log
from laptop_aws.tests.conformance.hosting import ACCOUNT, REGION, Host, eventually, unique
from laptop_aws.tests.conformance.sagemaker_fixtures import EventTap, is_alive, refusal

# ---- states and events -------------------------------------------------------------------------------------------


def test_each_state_is_an_event_in_the_documented_shape(host: Host, application: str, lake: str) -> None:
    tap = EventTap(host, "aws.emr-serverless", "EMR Serverless Job Run State Change")
    found = run(host, job_request(application, put_script(host, lake, "sys.exit(1)"), name="prepare-v1"))
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


def test_the_same_client_token_starts_one_job(host: Host, application: str, lake: str) -> None:
    client, token = host.client("emr-serverless"), unique("token")
    request = job_request(application, put_script(host, lake, ""), clientToken=token)
    first, second = client.start_job_run(**request), client.start_job_run(**request)
    assert first["jobRunId"] == second["jobRunId"]
    assert refusal(client.start_job_run, **request | {"name": "other"})[0] == "ConflictException"
    ended(host, application, first["jobRunId"])


def test_a_cancelled_job_is_cancelled_with_its_process_and_its_java(host: Host, application: str, lake: str) -> None:
    client = host.client("emr-serverless")
    report = "import time; print('gateway', os.environ['PYSPARK_GATEWAY_PORT'], 'pid', os.getpid(), flush=True)"
    script = put_script(host, lake, f"{report}; time.sleep(600)")
    identifier = client.start_job_run(**job_request(application, script))["jobRunId"]
    eventually(lambda: "pid" in running_log(host, identifier))
    pid = int(running_log(host, identifier).split("pid ")[1].split()[0])
    client.cancel_job_run(applicationId=application, jobRunId=identifier)
    found = ended(host, application, identifier)
    assert found["state"] == "CANCELLED"
    assert not is_alive(pid)
    code, message = refusal(client.cancel_job_run, applicationId=application, jobRunId=identifier)
    assert (code, "CANCELLED" in message) == ("ValidationException", True)
    next_run = run(host, job_request(application, put_script(host, lake, report)))["jobRunId"]
    java, other_java = (running_log(host, one).split("gateway ")[1].split()[0] for one in (identifier, next_run))
    assert java != other_java, "the Java of the cancelled job run serves again"


def test_a_failed_attempt_is_tried_again_as_the_policy_says(host: Host, application: str, lake: str) -> None:
    script = put_script(
        host,
        lake,
        """
        marker = local(sys.argv[1]) / "attempts"
        marker.parent.mkdir(parents=True, exist_ok=True)
        tries = len(marker.read_text()) if marker.exists() else 0
        marker.write_text("x" * (tries + 1))
        sys.exit(0 if tries == 1 else 1)
        """,
    )
    uri = f"s3://{lake}/{unique('retry')}"
    found = run(host, job_request(application, script, uri, retryPolicy={"maxAttempts": 3}))
    assert (found["state"], found["attempt"]) == ("SUCCESS", 2)


def test_jobs_are_listed_newest_first_and_paged(host: Host, lake: str) -> None:
    client = host.client("emr-serverless")
    own = client.create_application(type="SPARK", releaseLabel="emr-spark-8.0.0")["applicationId"]
    fine, bad = put_script(host, lake, ""), put_script(host, lake, "sys.exit(1)")
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


def test_refusals_are_those_of_aws(host: Host, application: str, lake: str) -> None:
    client = host.client("emr-serverless")
    assert refusal(client.get_application, applicationId="absent")[0] == "ResourceNotFoundException"
    assert refusal(client.get_job_run, applicationId=application, jobRunId="absent")[0] == "ResourceNotFoundException"
    script = put_script(host, lake, "")
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
