"""Deployments that depend on more than the gate: on a person, a deadline, a concurrent run, or an alarm. Every run here
trains on a copy of an existing dataset without one interaction, under a policy that allows any loss: its model is
another one, which passes the gate.
"""

import json
import re
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from tests.e2e.deployed_stack import DeployedStack, eventually
from tests.e2e.drops import shop_files

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def source(stack: DeployedStack, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The dataset version of the model that serves before these tests."""
    if not stack.serving():
        version = stack.prepared_from("source", shop_files(tmp_path_factory.mktemp("source"), weeks=10))
        assert stack.ended(version)["status"] == "DEPLOYED"
    stack.allow_any_loss()
    return str(stack.serving()["datasetVersion"])


# A person


@pytest.fixture(scope="module")
def waiting(stack: DeployedStack, source: str) -> list[str]:
    """Three versions whose models passed the gate and wait for a person."""
    with stack.configured("register", APPROVAL="manual"):
        versions = stack.copies(source, 3)
        for version in versions:
            eventually(partial(package_of, stack, version), f"a registered model of {version}")
            eventually(partial(is_awaited, stack, version), f"a question about {version}")
    return versions


def package_of(stack: DeployedStack, version: str) -> str:
    return str(stack.decision(version, "registration").get("figures", {}).get("modelPackageArn", ""))


def is_awaited(stack: DeployedStack, version: str) -> bool:
    return any(token["jobName"] == package_of(stack, version) for token in stack.tokens())


def decide(stack: DeployedStack, version: str, status: str, words: str) -> None:
    """Decides as a person does in the console, by the CLI, or in Studio."""
    stack.client("sagemaker").update_model_package(
        ModelPackageArn=package_of(stack, version), ModelApprovalStatus=status, ApprovalDescription=words
    )


def test_nothing_is_deployed_before_a_person_decides(stack: DeployedStack, waiting: list[str], source: str) -> None:
    assert stack.serving()["datasetVersion"] == source
    assert [stack.run(version)["status"] for version in waiting] == ["RUNNING"] * 3


def test_a_rejected_model_ends_with_the_persons_reason(stack: DeployedStack, waiting: list[str], source: str) -> None:
    decide(stack, waiting[0], "Rejected", "the lists are all alike")
    run = stack.ended(waiting[0])
    assert (run["status"], run["reasons"]) == ("REJECTED", ["the model was not approved: the lists are all alike"])
    assert stack.serving()["datasetVersion"] == source


def test_an_approved_model_is_deployed(stack: DeployedStack, waiting: list[str]) -> None:
    decide(stack, waiting[2], "Approved", "fine")
    assert stack.ended(waiting[2])["status"] == "DEPLOYED"
    assert stack.serving()["datasetVersion"] == waiting[2]


def test_an_undecided_model_is_rejected_in_the_registry_after_the_deadline(
    stack: DeployedStack, waiting: list[str]
) -> None:
    with stack.configured("reconcile", APPROVAL_DEADLINE_HOURS="0"):
        answer = stack.client("lambda").invoke(FunctionName="ncf-reconcile", Payload=b"{}")
        assert json.loads(answer["Payload"].read())["expired"] == 1
    run = stack.ended(waiting[1])
    assert (run["status"], run["reasons"]) == (
        "REJECTED", ["the model was not approved: no decision within 0 h"],
    )  # fmt: skip
    package = stack.client("sagemaker").describe_model_package(ModelPackageName=package_of(stack, waiting[1]))
    assert package["ModelApprovalStatus"] == "Rejected"


# A failure, fixed


@pytest.mark.fault("M10")
def test_a_failed_run_continues_from_the_failed_state_by_one_command(stack: DeployedStack, source: str) -> None:
    s3, bucket = stack.client("s3"), stack.outputs["ArtifactsBucketName"]
    s3.put_object(Bucket=bucket, Key="policy/gate.json", Body=b'{"sliceGains": {"fullNdgc": 0.01}}')
    try:
        [version] = stack.copies(source, 1)
        failed = stack.ended(version)
    finally:
        stack.allow_any_loss()
    assert failed["status"] == "FAILED"
    assert "fullNdgc" in " ".join(failed["reasons"])

    with stack.configured("scale-endpoint", ENDPOINT_MAXIMUM_INSTANCES="3"):
        said = stack.command("restart")
        targets = stack.client("application-autoscaling")
        [target] = eventually(
            lambda: targets.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"],
            "an endpoint that scales",
        )
    assert (target["ResourceId"], target["MaxCapacity"]) == ("endpoint/ncf-recommender/variant/AllTraffic", 3)
    assert said.returncode == 0, said.stdout + said.stderr
    assert f"model {version}-r1 serves" in said.stdout
    assert stack.serving()["datasetVersion"] == version
    # Finished steps are not repeated: the only training job is that of the first execution.
    jobs = stack.client("sagemaker").list_training_jobs(NameContains=version)["TrainingJobSummaries"]
    assert [job["TrainingJobName"] for job in jobs] == [f"ncf-{version}-r1"]
    restarted = stack.run(version)["executionArn"].rpartition(":")[2]
    remembered = stack.decision(version, f"restart#{restarted}")
    assert (remembered["verdict"], remembered["reasons"]) == ("RESTARTED", failed["reasons"])

    again = stack.command("restart", f"{version}-r1")
    assert again.returncode == 2
    assert "is DEPLOYED, and only a failed run can be restarted" in again.stdout + again.stderr
    anew = stack.command("restart", "--anew", f"{version}-r1")
    assert anew.returncode == 0, anew.stdout + anew.stderr
    assert f"{version}-r2 changes nothing" in anew.stdout, "the same data give an equal model"


# Another run


@pytest.mark.fault("R08", "M09")
def test_two_concurrent_runs_deploy_one_at_a_time_and_the_newest_data_serve(stack: DeployedStack, source: str) -> None:
    older, newer = stack.copies(source, 2)
    assert stack.ended(newer)["status"] == "DEPLOYED"
    run = stack.ended(older)
    assert run["status"] in ("DEPLOYED", "REJECTED"), run
    if run["status"] == "REJECTED":
        assert re.search(r"is older than .*, which serves", " ".join(run["reasons"])), run
    assert stack.serving()["datasetVersion"] == newer
    eventually(lambda: stack.item("LOCK", "DEPLOYMENT").get("runId") is None, "the deployment lock released")


# A trial


def test_a_trial_keeps_people_on_their_side_and_its_better_model_serves(stack: DeployedStack, source: str) -> None:
    """The customers of `trial` choose more of what the other model shows."""
    serving = stack.serving()
    other = serving["previous"]["runId"]
    met: dict[int, set[tuple[str, str]]] = defaultdict(set)
    with ThreadPoolExecutor(1) as pool:
        trying = pool.submit(stack.command, "trial")
        while not trying.done():
            for user in range(20):
                answer = stack.call("GET", f"/users/nobody-{user}/recommendations").body
                if "trial" in answer:  # each environment of the function knows of the trial within a minute
                    met[user].add((answer["trial"]["variant"], answer["model"]["version"]))
            time.sleep(0.5)
        said = trying.result()
    assert said.returncode == 0, said.stdout + said.stderr
    assert f"model {other} answers 50 % of the requests, {serving['runId']} the rest" in said.stdout
    assert f"{other} serves, the better one" in said.stdout, said.stdout
    assert all(len(sides) == 1 for sides in met.values()), met
    assert set().union(*met.values()) == {("AllTraffic", serving["runId"]), ("Other", other)}

    [trial] = [item["trialId"] for item in stack.of_kind("TRIAL")]
    ended = stack.item(f"TRIAL#{trial}", "STATE")
    assert (ended["status"], ended["verdict"], ended["end"]) == ("ENDED", "OTHER_IS_BETTER", "the second model serves")
    assert stack.serving()["runId"] == other
    assert stack.serving()["why"].startswith(f"trial {trial}: {other} earns more clicks")
    eventually(lambda: stack.item("LOCK", "DEPLOYMENT").get("runId") is None, "the deployment lock released")

    def without_a_trial() -> Any:
        answers = [stack.call("GET", f"/users/nobody-{user}/recommendations").body for user in range(20)]
        return answers if not any("trial" in answer for answer in answers) else None

    answers = eventually(without_a_trial, "answers without a trial")
    assert all(answer["model"] == {"version": other, "variant": "AllTraffic"} for answer in answers)


# An alarm


@pytest.mark.fault("P10", "P11")
def test_an_alarm_during_the_deployment_brings_the_earlier_model_back(stack: DeployedStack, source: str) -> None:
    cloudwatch, sagemaker = stack.client("cloudwatch"), stack.client("sagemaker")
    name, before = stack.outputs["EndpointName"], stack.serving()["runId"]

    with stack.configured("deploy", DEPLOYMENT_STRATEGY="CANARY", DEPLOYMENT_STEP_WAIT_SECONDS="60"):
        [version] = stack.copies(source, 1)

        def pending() -> Any:
            return sagemaker.describe_endpoint(EndpointName=name).get("PendingDeploymentSummary")

        summary = eventually(pending, "the new fleet being created")
        # This test runs last: the alarm stays in ALARM for a minute or two, and deployments would wait for it.
        cloudwatch.put_metric_data(
            Namespace="AWS/SageMaker",
            MetricData=[
                {
                    "MetricName": "Invocation5XXErrors",
                    "Dimensions": [
                        {"Name": "EndpointName", "Value": name},
                        {"Name": "VariantName", "Value": "AllTraffic"},
                    ],
                    "Value": 100,
                    "Unit": "Count",
                }
            ],
        )
        run = stack.ended(version)
    assert summary["EndpointConfigName"] == f"ncf-{version}-r1"
    assert run["status"] == "ROLLED_BACK", run
    assert "rolled the update back" in " ".join(run["reasons"])
    assert stack.serving()["runId"] == before
    assert sagemaker.describe_endpoint(EndpointName=name)["EndpointConfigName"] == f"ncf-{before}"
