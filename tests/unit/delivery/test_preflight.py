"""Preflight finds what would stop a deployment, and reads only. AWS's answers are those of botocore's models."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from delivery import command
from delivery.preflight import account, settings
from delivery.preflight.account import Account
from delivery.preflight.findings import Finding, Level, text
from delivery.preflight.settings import Settings, SettingsError

ROOT = Path(__file__).resolve().parents[3]
DIGEST = "sha256:" + "5f" * 32
IMAGE = f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/ncf@{DIGEST}"


@pytest.fixture(scope="module")
def template() -> settings.Template:
    return settings.read(ROOT, "dev").template


def wanted(template: settings.Template, **values: str) -> Settings:
    defaults = settings.read(ROOT, "staging").values
    return Settings("dev", "ncf-dev", {**defaults, "NamePrefix": "ncf-dev", **values}, template)


class Stubs:
    """Clients that answer what was prepared, and fail for any other call."""

    def __init__(self) -> None:
        self.clients: dict[str, Any] = {}
        self.stubbers: dict[str, Stubber] = {}

    def answer(self, service: str, operation: str, answer: dict[str, Any], given: dict[str, Any] | None = None) -> None:
        if service not in self.clients:
            self.clients[service] = boto3.client(
                service, region_name="eu-west-1", aws_access_key_id="k", aws_secret_access_key="s"
            )
            self.stubbers[service] = Stubber(self.clients[service])
            self.stubbers[service].activate()
        self.stubbers[service].add_response(operation, answer, given)

    def __call__(self, service: str, **settings: Any) -> Any:
        return self.clients[service]

    @property
    def account(self) -> Account:
        return Account(self, "eu-west-1")


def levels(findings: list[Finding]) -> list[Level]:
    return [finding.level for finding in findings]


@pytest.mark.parametrize(("environment", "lacks"), [("dev", []), ("staging", []), ("prod", ["ApprovalMode"])])
def test_every_environment_is_complete_but_for_whom_to_tell(environment: str, lacks: list[str]) -> None:
    found = settings.check(settings.read(ROOT, environment), "eu-west-1")
    assert [one.what.split(": ")[1].split(" ")[0] for one in found if one.level is not Level.FINE] == lacks


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"Endpoints": "2"}, "Endpoints is not a parameter"),
        ({"ModelImageUri": IMAGE}, "it must be the name of an SSM parameter, such as /ncf/model-image"),
        ({"ApprovalMode": "maybe"}, "ApprovalMode is 'maybe', not one of"),
        ({"KeptVersions": "0"}, "KeptVersions is 0, not 1 to 100"),
        ({"KeptVersions": "many"}, "KeptVersions is 'many', not a number"),
        ({"NamePrefix": "ncf-v2026"}, "NamePrefix is 'ncf-v2026'"),
        ({"DeploymentStrategy": "CANARY"}, "set EndpointInstanceCount to 2 or more"),
        (
            {"DeploymentStrategy": "LINEAR", "EndpointInstanceCount": "2", "DeploymentStepPercent": "5"},
            "DeploymentStepPercent must be 10 to 50",
        ),
        ({"JwtIssuer": "https://shop.example"}, "JwtIssuer needs JwtAudience"),
        ({"JwtAudience": "shop"}, "JwtAudience needs JwtIssuer"),
        ({"EndpointInstanceType": "ml.c5.large"}, "leave EndpointInferenceAmiVersion empty"),
        ({"JwtReadScopes": "shop/read"}, "so they need JwtIssuer"),
        ({"PreparationScheduleState": "ENABLED"}, "needs PreparationSource"),
    ],
)
def test_a_value_that_cloudformation_would_refuse_is_named(
    template: settings.Template, values: dict[str, str], words: str
) -> None:
    [found] = settings.check(wanted(template, **values), "eu-west-1")
    assert (found.level, words in found.what) == (Level.FAULT, True), found.what


def test_what_fits_is_said_in_one_line(template: settings.Template) -> None:
    fitting = {"DeploymentStrategy": "CANARY", "EndpointInstanceCount": "2", "DeploymentStepPercent": "5"}
    assert levels(settings.check(wanted(template, **fitting), "eu-west-1")) == [Level.FINE]


def test_an_environment_that_there_is_not_is_named() -> None:
    with pytest.raises(SettingsError, match="no environment 'production'; it has default, local, dev, staging, prod"):
        settings.read(ROOT, "production")


@pytest.mark.parametrize(
    ("media", "level"),
    [
        ("application/vnd.docker.distribution.manifest.v2+json", Level.FINE),
        ("application/vnd.oci.image.index.v1+json", Level.FAULT),
        ("application/vnd.docker.distribution.manifest.list.v2+json", Level.FAULT),
        ("application/vnd.oci.image.manifest.v1+json", Level.FAULT),
    ],
)
def test_an_image_that_sagemaker_would_refuse_is_found(template: settings.Template, media: str, level: Level) -> None:
    stubs = Stubs()
    stubs.answer("ssm", "get_parameter", {"Parameter": {"Value": IMAGE}}, {"Name": "/ncf/model-image"})
    stubs.answer(
        "ecr",
        "batch_get_image",
        {"images": [{"imageManifestMediaType": media}]},
        {"registryId": "123456789012", "repositoryName": "team/ncf", "imageIds": [{"imageDigest": DIGEST}]},
    )
    found = account.image(stubs.account, wanted(template))
    assert levels(found) == [level]
    assert found[0].command.startswith("make image") is (level is Level.FAULT)


def test_an_image_that_is_not_there_or_in_another_region_is_found(template: settings.Template) -> None:
    stubs = Stubs()
    stubs.answer("ecr", "batch_get_image", {"failures": [{"failureReason": "Requested image not found"}]})
    [found] = account.image(stubs.account, wanted(template), IMAGE)
    assert "Requested image not found" in found.what
    stubs.answer("ecr", "batch_get_image", {"images": [{"imageManifestMediaType": account.DOCKER_MANIFEST}]})
    elsewhere = dataclasses.replace(stubs.account, region="eu-central-1")
    assert levels(account.image(elsewhere, wanted(template), IMAGE)) == [Level.FINE, Level.FAULT]


def test_an_image_that_nobody_has_named_or_that_has_no_digest_is_found(template: settings.Template) -> None:
    stubs = Stubs()
    stubs.answer("ssm", "get_parameter", {"Parameter": {"Value": "team/ncf:latest"}})
    [found] = account.image(stubs.account, wanted(template))
    assert (found.level, "'team/ncf:latest', of the SSM parameter /ncf/model-image" in found.what) == (
        Level.FAULT,
        True,
    )
    stubs.stubbers["ssm"].add_client_error("get_parameter", "ParameterNotFound")
    [found] = account.image(stubs.account, wanted(template))
    assert (found.level, "does not exist" in found.what) == (Level.FAULT, True)


def quota(name: str, value: float) -> dict[str, Any]:
    return {"QuotaName": name, "Value": value, "QuotaCode": "L-1"}


def test_quotas_are_compared_with_what_a_run_and_a_deployment_need(template: settings.Template) -> None:
    stubs = Stubs()
    endpoint, training = "ml.g4dn.xlarge for endpoint usage", "ml.g4dn.xlarge for spot training job usage"
    batch = "ml.m5.xlarge for transform job usage"
    for defaults, applied in (
        ([quota(endpoint, 0), quota(training, 0), quota(batch, 2)], [quota(endpoint, 3)]),
        ([quota("Max concurrent vCPUs per account", 16)], []),
        ([quota("Concurrent executions", 1000)], []),
    ):
        stubs.answer("service-quotas", "list_aws_default_service_quotas", {"Quotas": defaults})
        stubs.answer("service-quotas", "list_service_quotas", {"Quotas": applied})
    found = account.quotas(stubs.account, wanted(template, EndpointInstanceCount="2"))
    assert levels(found) == [Level.FAULT, Level.FAULT, Level.FINE, Level.FINE, Level.FINE]
    assert found[0].what == f"sagemaker: {endpoint}: 3, and 4 are needed"  # two fleets of two, side by side
    assert found[1].command.endswith("--service-code sagemaker --quota-code L-1 --desired-value 1")


TYPES: account.Types = {
    "AWS::Lambda::Function": {
        "handlers": {"create": {"permissions": ["lambda:CreateFunction", "ec2:DescribeVpcs", "s3:*"]}}
    },
    "AWS::DynamoDB::Table": {"handlers": {"create": {"permissions": ["dynamodb:CreateTable"]}}},
}


def test_the_types_of_the_template_are_looked_up_in_the_region(template: settings.Template) -> None:
    stubs, given = Stubs(), wanted(template)
    types = sorted(
        name for name in given.resource_types() if not name.startswith(("AWS::CloudFormation::", "Custom::"))
    )
    assert {"AWS::Lambda::Function", "AWS::IAM::Role", "AWS::DynamoDB::Table"} <= set(types)
    for name in types[:-1]:
        stubs.answer("cloudformation", "describe_type", {"Schema": '{"a": 1}'}, {"Type": "RESOURCE", "TypeName": name})
    stubs.stubbers["cloudformation"].add_client_error("describe_type", "TypeNotFoundException")
    assert account.types_of(stubs.account, given) == {name: {"a": 1} for name in types[:-1]} | {types[-1]: None}


def test_a_region_without_a_service_or_an_instance_type_is_found(template: settings.Template) -> None:
    stubs = Stubs()
    given = wanted(template, TrainingInstanceType="ml.p5.48xlarge", EndpointInstanceType="ml.m5.large")
    offered = [{"InstanceType": "m5.large"}, {"InstanceType": "m5.xlarge"}]
    asked = {
        "LocationType": "region",
        "Filters": [{"Name": "instance-type", "Values": ["m5.large", "m5.xlarge", "p5.48xlarge"]}],
    }
    stubs.answer("ec2", "describe_instance_type_offerings", {"InstanceTypeOfferings": offered}, asked)
    found = account.region(stubs.account, given, {**TYPES, "AWS::EMRServerless::Application": None})
    assert levels(found) == [Level.FAULT, Level.FAULT]
    assert found[0].what == "eu-west-1 has no AWS::EMRServerless::Application"
    assert found[1].what == "eu-west-1 has no instances of the type p5.48xlarge"
    assert found[1].command == "Choose another type: TrainingInstanceType"
    stubs.answer(
        "ec2",
        "describe_instance_type_offerings",
        {"InstanceTypeOfferings": [*offered, {"InstanceType": "p5.48xlarge"}]},
    )
    assert levels(account.region(stubs.account, given, TYPES)) == [Level.FINE]


def simulate(stubs: Stubs, principal: str, actions: list[str], resource: str, denied: Collection[str] = ()) -> None:
    """Prepare one answer of the policy simulator."""
    results = [
        {"EvalActionName": name, "EvalDecision": "implicitDeny" if name in denied else "allowed"} for name in actions
    ]
    passed = {"ContextKeyName": "iam:PassedToService", "ContextKeyValues": ["lambda.amazonaws.com"]}
    context = [passed | {"ContextKeyType": "string"}] if actions[0].startswith("iam:") else []
    given = {
        "PolicySourceArn": principal,
        "ActionNames": actions,
        "ResourceArns": [resource],
        "ContextEntries": context,
    }
    stubs.answer("iam", "simulate_principal_policy", {"EvaluationResults": results}, given)


def test_permissions_are_simulated_on_names_that_the_stack_would_have(template: settings.Template) -> None:
    stubs, given = Stubs(), wanted(template)
    role = "arn:aws:iam::123456789012:role/deployer"
    caller = "arn:aws:sts::123456789012:assumed-role/deployer/someone"
    where = "eu-west-1:123456789012"
    stubs.answer("sts", "get_caller_identity", {"Arn": caller})
    change_set = "cloudformation:CreateChangeSet"
    simulate(stubs, role, [change_set], f"arn:aws:cloudformation:{where}:stack/ncf-dev/preflight")
    simulate(stubs, role, ["dynamodb:CreateTable"], f"arn:aws:dynamodb:{where}:table/ncf-dev-preflight")
    simulate(stubs, role, ["ec2:DescribeVpcs"], "*", {"ec2:DescribeVpcs"})
    simulate(stubs, role, ["iam:PassRole"], "arn:aws:iam::123456789012:role/ncf-dev-preflight")
    lambdas = f"arn:aws:lambda:{where}:function:ncf-dev-preflight"
    simulate(stubs, role, ["lambda:CreateFunction"], lambdas, {"lambda:CreateFunction"})
    fault, option = account.permissions(stubs.account, given, TYPES)
    assert (fault.level, fault.what) == (Level.FAULT, f"{role} may not: lambda:CreateFunction")
    # What only an option needs, such as a function in a VPC, stops nothing.
    assert (option.level, option.what) == (Level.WARNING, f"{role} may not: ec2:DescribeVpcs")


def test_with_a_chain_the_role_that_makes_the_resources_is_simulated(template: settings.Template) -> None:
    stubs, role = Stubs(), "arn:aws:iam::123456789012:role/ncf-chain-ExecutionRole-1"
    stubs.answer("sts", "get_caller_identity", {"Arn": "arn:aws:iam::123456789012:user/someone"})
    table = {"AWS::DynamoDB::Table": TYPES["AWS::DynamoDB::Table"]}
    simulate(stubs, role, ["dynamodb:CreateTable"], "arn:aws:dynamodb:eu-west-1:123456789012:table/ncf-dev-preflight")
    simulate(stubs, role, ["iam:PassRole"], "arn:aws:iam::123456789012:role/ncf-dev-preflight")
    [found] = account.permissions(stubs.account, wanted(template), table, role)
    assert found == Finding(Level.FINE, f"{role} may do the 2 actions that make the stack's resources")


def test_a_month_of_the_endpoint_is_priced_by_the_list(template: settings.Template) -> None:
    def entry(component: str, price: str) -> str:
        dimensions = {"d": {"pricePerUnit": {"USD": price}}}
        attributes = {"component": component}
        return json.dumps(
            {"product": {"attributes": attributes}, "terms": {"OnDemand": {"t": {"priceDimensions": dimensions}}}}
        )

    stubs = Stubs()
    prices = {"PriceList": [entry("Training", "0.9"), entry("Hosting", "0.736")]}
    for _ in range(2):
        stubs.answer("pricing", "get_products", prices)
    given = wanted(template, EndpointInstanceCount="2", EndpointInstanceType="ml.g4dn.xlarge", TrainingUseSpot="true")
    endpoint, training = account.cost(stubs.account, given)
    assert endpoint.what == "the endpoint (2 × ml.g4dn.xlarge at $0.736 an hour) costs about $1,075 a month"
    assert training.what == "an hour of training (1 × ml.g4dn.xlarge) costs $0.90, and about a third of it on spot"
    for _ in range(2):
        stubs.answer("pricing", "get_products", {"PriceList": []})
    assert levels(account.cost(stubs.account, wanted(template))) == [Level.UNKNOWN] * 2


@pytest.mark.parametrize(
    ("mode", "given", "level"),
    [
        ("manual", {}, Level.FAULT),
        ("auto", {}, Level.WARNING),
        ("manual", {"NotificationEmail": "shop@example.com"}, Level.FINE),
        ("manual", {"NotificationUrl": "https://pager.example/ncf"}, Level.FINE),
    ],
)
def test_somebody_must_hear_of_it(template: settings.Template, mode: str, given: dict[str, str], level: Level) -> None:
    values = wanted(template, ApprovalMode=mode, **given)
    assert levels(account.silence(values)) == [level]
    refused = [finding for finding in settings.check(values, "eu-west-1") if "NotificationUrl" in finding.what]
    assert bool(refused) is (level is Level.FAULT)


def test_what_aws_does_not_answer_stops_no_other_check(template: settings.Template) -> None:
    stubs = Stubs()
    for service, operation in (
        ("ssm", "get_parameter"),
        ("cloudformation", "describe_type"),
        ("service-quotas", "list_aws_default_service_quotas"),
        ("pricing", "get_products"),
    ):
        stubs.answer(service, operation, {}, {"never": "given"})
    found = command.look(stubs.account, wanted(template))
    assert levels(found)[2:] == [Level.UNKNOWN] * 5


def test_faults_come_first_with_their_remedy() -> None:
    lines = text([Finding(Level.FINE, "a"), Finding(Level.FAULT, "b", "because", "do this")]).splitlines()
    assert lines == ["FAULT    b", "         because", "         do this", "FINE     a"]


def test_the_command_needs_a_region(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    assert command.main(["preflight"]) == 2
    assert "give --region" in capsys.readouterr().err


def test_the_region_of_a_pipeline_is_known(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert command.main(["preflight"]) == 2
    assert "there are no credentials" in capsys.readouterr().err


def test_two_small_stacks_prepare_at_once_within_the_quota_of_a_new_account(template: settings.Template) -> None:
    capacities = template["Mappings"]["PreparationCapacities"]
    assert {name: int(one["Cpu"].split()[0]) for name, one in capacities.items()} == account.VCPUS
    assert 2 * account.VCPUS["small"] <= 16
