"""SAM and CloudFormation accept the template: as written, and after the transform, which reveals more faults."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.infrastructure import building

pytestmark = pytest.mark.slow

Template = dict[str, Any]

# SAM puts the default of NamePrefix into the layer's name while it computes the layer's logical id;
# Fn::Sub then finds no variable to replace. It looks into the mapping Releases itself.
ACCEPTED = {("W1020", "LayerName"), ("W7001", "Releases")}
REGIONS = ["us-east-1"]


def findings(template: Template) -> list[str]:
    """cfn-lint's findings in a transformed template, warnings included, except those accepted above."""
    from cfnlint.api import ManualArgs, lint  # takes a second, in the process that runs these tests alone

    matches = lint(json.dumps(template), config=ManualArgs(regions=REGIONS))
    return [
        f"{match.rule.id} {'/'.join(str(part) for part in match.path or [])}: {match.message}"
        for match in matches
        if not any(match.rule.id == rule and part in (match.path or []) for rule, part in ACCEPTED)
    ]


def test_sam_validates_the_template(root: Path) -> None:
    result = building.sam(root, "validate", "--lint", "--config-env", "local", "--template-file", "template.yaml")
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
    assert "is a valid SAM Template" in result.stdout


def test_the_transformed_template_is_clean(cloudformation: Template) -> None:
    assert findings(cloudformation) == []


def _properties(template: Template, name: str) -> dict[str, Any]:
    found: dict[str, Any] = template["Resources"][name]["Properties"]
    return found


# Each fault and a word of its finding; all in one template, because one pass of cfn-lint takes seconds.
BREAKS: list[tuple[Callable[[Template], Any], str]] = [
    (
        lambda t: _properties(t, "RetrainingStateMachine")["DefinitionSubstitutions"].update(
            EvaluateFunctionArn={"Fn::GetAtt": ["EvaluateFunktion", "Arn"]}
        ),
        "EvaluateFunktion",
    ),
    (
        lambda t: _properties(t, "DeployRole")["Policies"][0]["PolicyDocument"]["Statement"][0].update(
            Action="sagemaker:CreateModell"
        ),
        "createmodell",
    ),
    (lambda t: _properties(t, "DeployFunction").update(Runtime="python3.99"), "python3.99"),
    (lambda t: _properties(t, "RunsTable").update(BilingMode="PAY_PER_REQUEST"), "BilingMode"),
    (lambda t: _properties(t, "DataBucketPolicy").update(Bucket={"Ref": "DataBukket"}), "DataBukket"),
]


def test_what_only_the_transformed_template_shows_is_caught(cloudformation: Template) -> None:
    for break_it, _ in BREAKS:
        break_it(cloudformation)
    found = "\n".join(findings(cloudformation)).lower()
    missed = [expected for _, expected in BREAKS if expected.lower() not in found]
    assert missed == [], found


def test_every_resource_has_a_comment(root: Path) -> None:
    """A comment above each resource; log groups, which stand with their function, are explained once."""
    lines = (root / "template.yaml").read_text("utf-8").splitlines()
    first, last = lines.index("Resources:"), lines.index("Outputs:")
    silent = []
    for i in range(first + 1, last):
        match = re.fullmatch(r"  (\w+):", lines[i])
        if match and not match[1].endswith("LogGroup") and not lines[i - 1].startswith("  # "):
            silent.append(match[1])
    assert silent == []
