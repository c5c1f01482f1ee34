"""The chain's template: linted, and its roles can do what they are for and no more."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from delivery.preflight import account, settings
from delivery.preflight.settings import _Tags
from tests.pipelines.conftest import ROOT

pytestmark = pytest.mark.slow
FILE = ROOT / "delivery" / "chain" / "template.yaml"


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load(FILE.read_text("utf-8"), Loader=_Tags)
    return loaded


def properties(template: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = template["Resources"][name]["Properties"]
    return found


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(template: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every statement of a policy, with the name of what has it."""
    for name, resource in template["Resources"].items():
        found = resource["Properties"]
        documents = [policy["PolicyDocument"] for policy in found.get("Policies", [])]
        if resource["Type"] == "AWS::IAM::ManagedPolicy":
            documents.append(found["PolicyDocument"])
        for document in documents:
            for statement in document["Statement"]:
                yield name, statement


def test_cfn_lint_finds_nothing() -> None:
    from cfnlint.api import ManualArgs, lint

    found = lint(FILE.read_text("utf-8"), config=ManualArgs(regions=["us-east-1", "eu-central-1"]))
    assert [str(match) for match in found] == []


def test_images_are_immutable_scanned_and_kept_in_number(template: dict[str, Any]) -> None:
    repository = properties(template, "Repository")
    assert repository["ImageTagMutability"] == "IMMUTABLE"
    assert repository["ImageScanningConfiguration"] == {"ScanOnPush": True}
    text = repository["LifecyclePolicy"]["LifecyclePolicyText"]["Fn::Sub"].replace("${KeptImages}", "50")
    [rule] = json.loads(text)["rules"]
    assert rule["selection"] == {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 50}


def test_the_build_reads_its_phases_from_the_commit(template: dict[str, Any]) -> None:
    build = properties(template, "ImageBuild")
    assert build["Environment"]["PrivilegedMode"] is True
    assert (ROOT / build["Source"]["BuildSpec"]).is_file()
    assert (ROOT / properties(template, "Step")["Source"]["BuildSpec"]).is_file()
    assert "PrivilegedMode" not in properties(template, "Step")["Environment"]


def trust(template: dict[str, Any], issuer: str, subjects: str) -> dict[str, Any]:
    """The trust policy of the role of a pipeline elsewhere, with parameters as CloudFormation would put them in."""
    text, variables = properties(template, "DeployRole")["AssumeRolePolicyDocument"]["Fn::Sub"]
    separator, split = variables["Subjects"]["Fn::Join"]
    assert split == {"Fn::Split": [",", {"Ref": "OidcSubjects"}]}
    values = {
        "OidcIssuer": issuer,
        "OidcAudience": "sts.amazonaws.com",
        "Subjects": separator.join(subjects.split(",")),
        "AWS::Partition": "aws",
        "AWS::AccountId": "123456789012",
    }
    document: dict[str, Any] = json.loads(re.sub(r"\$\{([\w:]+)\}", lambda found: values[found[1]], text))
    return document


@pytest.mark.parametrize(
    ("issuer", "subjects"),
    [
        ("gitlab.com", "project_path:shop/recommender:ref_type:branch:ref:main"),
        (
            "token.actions.githubusercontent.com",
            "repo:shop/recommender:environment:staging,repo:shop/recommender:environment:prod",
        ),
    ],
)
def test_only_the_named_subjects_take_the_role(template: dict[str, Any], issuer: str, subjects: str) -> None:
    assert re.fullmatch(template["Parameters"]["OidcSubjects"]["AllowedPattern"], subjects)
    [statement] = trust(template, issuer, subjects)["Statement"]
    assert statement["Principal"] == {"Federated": f"arn:aws:iam::123456789012:oidc-provider/{issuer}"}
    # StringEquals: no character of a subject is a wildcard.
    expected = {f"{issuer}:aud": "sts.amazonaws.com", f"{issuer}:sub": subjects.split(",")}
    assert statement["Condition"] == {"StringEquals": expected}


@pytest.mark.parametrize("subjects", ["repo:shop/*", 'a","b', "repo:shop/recommender:*", "a, b"])
def test_a_subject_that_would_mean_more_than_it_says_is_refused(template: dict[str, Any], subjects: str) -> None:
    assert not re.fullmatch(template["Parameters"]["OidcSubjects"]["AllowedPattern"], subjects)


def test_an_issuer_without_subjects_is_refused(template: dict[str, Any]) -> None:
    rules = {"Rules": template["Rules"], "Parameters": {}, "Resources": {}}
    values = {"OidcIssuer": "gitlab.com", "OidcSubjects": "", "ConnectionArn": "", "RepositoryId": ""}
    faults = list(settings._rule_faults(settings.Settings("", "", values, rules)))
    assert any("OidcIssuer needs OidcSubjects" in fault for fault in faults)


def test_the_execution_role_can_make_every_kind_of_resource(template: dict[str, Any]) -> None:
    """A resource of a further service in template.yaml needs its actions here, or a pipeline cannot deploy it."""
    allowed = [
        action
        for name, statement in statements(template)
        if name == "ExecutionRole" and statement["Effect"] == "Allow"
        for action in listed(statement["Action"])
    ]
    services = {action.partition(":")[0] for action in allowed}
    types = settings.read(ROOT, "dev").resource_types()
    wanted = {account._service_of(name) for name in types if not name.startswith(("Custom::", "AWS::CloudFormation::"))}
    assert wanted <= services, f"ExecutionRole of {FILE.name} lacks {sorted(wanted - services)}"


def test_no_role_may_do_everything_anywhere(template: dict[str, Any]) -> None:
    """`*` stands for actions of a service on names of ours, or for a resource where an action knows none."""
    for name, statement in statements(template):
        if statement["Effect"] == "Deny":
            continue
        actions, resources = listed(statement["Action"]), listed(statement["Resource"])
        assert "*" not in actions, name
        if "*" in resources:
            assert not any(action.endswith("*") for action in actions), f"{name}: {actions}"
        if any(action.endswith(":*") for action in actions):
            places = [one["Fn::Sub"] for one in resources]
            assert all(re.search(r"\$\{Application\}-\*$", place) for place in places), f"{name}: {places}"


def test_a_pipeline_passes_one_role_to_cloudformation_only(template: dict[str, Any]) -> None:
    passing = [
        one for name, one in statements(template) if name == "DeployPolicy" and "iam:PassRole" in listed(one["Action"])
    ]
    assert [one["Resource"] for one in passing] == [{"Fn::GetAtt": "ExecutionRole.Arn"}]
    assert passing[0]["Condition"] == {"StringEquals": {"iam:PassedToService": "cloudformation.amazonaws.com"}}
    iam = {
        action
        for name, one in statements(template)
        if name == "DeployPolicy"
        for action in listed(one["Action"])
        if action.startswith("iam:")
    }
    assert iam == {"iam:PassRole", "iam:SimulatePrincipalPolicy", "iam:GetRole"}


def test_a_smoke_test_drops_into_staging_only(template: dict[str, Any]) -> None:
    [statement] = [one for name, one in statements(template) if one.get("Sid") == "SmokeDrops"]
    pattern = statement["Resource"]["Fn::Sub"].replace("${AWS::Partition}", "aws").replace("${Application}", "ncf")
    assert fnmatch.fnmatch("arn:aws:s3:::ncf-staging-databucket-1/raw/smoke-20261129t120000z/_SUCCESS", pattern)
    assert not fnmatch.fnmatch("arn:aws:s3:::ncf-prod-databucket-1/raw/smoke-20261129t120000z/_SUCCESS", pattern)
    assert not fnmatch.fnmatch("arn:aws:s3:::ncf-staging-databucket-1/datasets/v1/manifest.json", pattern)
