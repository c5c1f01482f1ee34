"""New code reaches the API in steps where ReleaseStrategy says so, and goes back when the API answers with 5xx."""

from __future__ import annotations

from typing import Any

import pytest

from tests.infrastructure import templates
from tests.infrastructure.templates import of_type

Template = dict[str, Any]
FUNCTIONS = ("Recommend", "Events")


def test_requests_move_in_steps_and_back_on_an_alarm(sam: Template) -> None:
    made = templates.transform(sam, ReleaseStrategy="Canary10Percent5Minutes")
    groups = of_type(made, "AWS::CodeDeploy::DeploymentGroup")
    assert set(groups) == {f"{name}FunctionDeploymentGroup" for name in FUNCTIONS}
    for group in groups.values():
        assert group["DeploymentConfigName"]["Fn::Sub"][1] == {"ConfigName": "Canary10Percent5Minutes"}
        assert group["AlarmConfiguration"] == {"Enabled": True, "Alarms": [{"Name": {"Ref": "ApiErrorsAlarm"}}]}
        assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]
        assert group["ServiceRoleArn"] == {"Fn::GetAtt": ["ReleaseRole", "Arn"]}
    for name in FUNCTIONS:
        update = made["Resources"][f"{name}FunctionAliaslive"]["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
        assert update["DeploymentGroupName"] == {"Ref": f"{name}FunctionDeploymentGroup"}
    assert "CodeDeployServiceRole" not in made["Resources"], "SAM's role has a managed policy"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_release_role_moves_every_alias_that_is_moved(name: str, sam: Template) -> None:
    [move, _] = templates.statements(sam["Resources"]["ReleaseRole"]["Properties"])
    resources = [templates.text(resource) for resource in move["Resource"]]
    assert {f"${{{name}Function.Arn}}", f"${{{name}Function.Arn}}:live"} <= set(resources)


def test_all_at_once_needs_no_codedeploy(cloudformation: Template) -> None:
    assert not [name for name, one in cloudformation["Resources"].items() if one["Type"].startswith("AWS::CodeDeploy")]


def test_every_strategy_but_all_at_once_is_gradual(sam: Template) -> None:
    values = sam["Parameters"]["ReleaseStrategy"]["AllowedValues"]
    assert {name: one["IsGradual"] == "true" for name, one in sam["Mappings"]["Releases"].items()} == {
        name: name != "AllAtOnce" for name in values
    }
