"""samconfig.toml: every environment is complete and fits its name."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from shared import tags

ROOT = Path(__file__).resolve().parents[2]
SAMCONFIG: dict[str, Any] = tomllib.loads((ROOT / "samconfig.toml").read_text("utf-8"))
ENVIRONMENTS = ("default", "local", "dev", "staging", "prod")
Template = dict[str, Any]


def deploy(environment: str) -> dict[str, Any]:
    """The settings for `sam deploy --config-env`: the global section, then the environment's own."""
    section = SAMCONFIG[environment]
    return {**section.get("global", {}).get("parameters", {}), **section["deploy"]["parameters"]}


def overrides(environment: str, command: str = "deploy") -> dict[str, str]:
    """The parameters that an environment sets, as sam reads them."""
    section = SAMCONFIG[environment].get(command, {}).get("parameters", {})
    pairs = (pair.split("=", 1) for pair in section.get("parameter_overrides", []))
    return {name: value.strip("'") for name, value in pairs}


def test_the_environments_are_there() -> None:
    assert tuple(name for name in SAMCONFIG if name != "version") == ENVIRONMENTS


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_overrides_are_values_that_the_template_takes(environment: str, sam: Template) -> None:
    for name, value in (overrides(environment) | overrides(environment, "build")).items():
        parameter = sam["Parameters"].get(name)
        assert parameter, f"{environment} sets {name}, which the template does not have"
        if "AllowedValues" in parameter:
            assert value in [str(allowed) for allowed in parameter["AllowedValues"]], f"{environment}: {name}={value}"
        if "AllowedPattern" in parameter:
            assert re.fullmatch(parameter["AllowedPattern"], value), f"{environment}: {name}={value}"
        if parameter["Type"] == "Number":
            assert float(parameter.get("MinValue", "-inf")) <= float(value) <= float(parameter.get("MaxValue", "inf"))


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_deployment_grants_roles_without_names_only(environment: str, sam: Template) -> None:
    assert deploy(environment)["capabilities"] == "CAPABILITY_IAM"
    named = [
        name for name, r in sam["Resources"].items() if r["Type"] == "AWS::IAM::Role" and "RoleName" in r["Properties"]
    ]
    assert named == []


def test_environments_in_one_account_do_not_meet() -> None:
    cloud = [name for name in ENVIRONMENTS if name != "local"]
    assert len({deploy(name)["stack_name"] for name in cloud}) == len(cloud)
    assert len({overrides(name).get("NamePrefix", "ncf") for name in cloud}) == len(cloud)


def test_local_builds_what_it_deploys_and_touches_no_account() -> None:
    local = deploy("local")
    assert (local["stack_name"], local["region"], local["s3_bucket"]) == (
        "ncf-local",
        "us-east-1",
        "ncf-local-deployments",
    )
    assert "resolve_s3" not in local
    assert local["confirm_changeset"] is False
    runtime = {"FunctionRuntime": "python3.11", "FunctionArchitecture": "x86_64"}
    assert overrides("local", "build") == runtime
    assert runtime.items() <= overrides("local").items()


@pytest.mark.parametrize("environment", [name for name in ENVIRONMENTS if name != "local"])
def test_the_cloud_runs_the_target_runtime(environment: str, sam: Template) -> None:
    set_here = overrides(environment) | overrides(environment, "build")
    assert "FunctionRuntime" not in set_here and "FunctionArchitecture" not in set_here
    assert sam["Parameters"]["FunctionRuntime"]["Default"] == "python3.13"
    assert sam["Parameters"]["FunctionArchitecture"]["Default"] == "arm64"


def test_in_production_a_person_sees_changes_and_approves_models() -> None:
    prod = overrides("prod")
    assert deploy("prod")["confirm_changeset"] is True
    assert prod["ApprovalMode"] == "manual"
    assert prod["TrainingUseSpot"] == "true"
    assert int(prod["EndpointInstanceCount"]) >= 2


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_everything_is_tagged(environment: str) -> None:
    prefix = overrides(environment).get("NamePrefix", "ncf")
    given = dict(tag.split("=") for tag in deploy(environment)["tags"])
    assert tags.by_name(prefix).items() <= given.items(), "what functions create has the same tags"
