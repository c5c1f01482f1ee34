"""The template in its two forms: as written (SAM) and as CloudFormation receives it, transformed offline.

Every process of the tests imports this module, and one of them transforms: SAM's translator is imported there alone.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3

REGION = "us-east-1"
LOCAL_PATHS = ("CodeUri", "ContentUri", "DefinitionUri")


def load(path: Path) -> dict[str, Any]:
    """The template at `path`, its short intrinsics (`!Ref`) in their long form."""
    from samtranslator.yaml_helper import yaml_parse

    found: dict[str, Any] = yaml_parse(path.read_text("utf-8"))
    return found


def transform(sam: dict[str, Any], **parameters: str) -> dict[str, Any]:
    """`sam` as the SAM transform on AWS makes it, without AWS: local paths replace the files that `sam deploy`
    uploads. `parameters` have another value than their default."""
    from samtranslator.parser.parser import Parser
    from samtranslator.translator.translator import Translator

    uploaded = copy.deepcopy(sam)
    uploaded["Globals"]["Function"]["CodeUri"] = "s3://bucket/functions.zip"
    for resource in uploaded["Resources"].values():
        properties = resource.get("Properties", {})
        for name in LOCAL_PATHS:
            if name in properties:
                properties[name] = f"s3://bucket/{name}"
    found: dict[str, Any] = Translator({}, Parser(), [], boto3.Session(region_name=REGION)).translate(
        uploaded, parameters
    )
    return found


def of_type(template: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """Properties of every resource of type `kind`, by logical id."""
    return {
        name: resource.get("Properties", {})
        for name, resource in template["Resources"].items()
        if resource["Type"] == kind
    }


def roles(template: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Logical ids and properties of all roles."""
    yield from of_type(template, "AWS::IAM::Role").items()


def as_list(value: Any) -> list[Any]:
    """`value` as a list: IAM lets one element stand for a list of one."""
    return value if isinstance(value, list) else [value]


def text(value: Any) -> str:
    """The text of an intrinsic, with names in place of values that only a deployment knows.

    `{"Fn::GetAtt": ["DataBucket", "Arn"]}` → `${DataBucket.Arn}`, `{"Ref": "X"}` → `${X}`, `{"Fn::Sub": s}` → `s`.
    """
    if isinstance(value, dict):
        if "Ref" in value:
            return f"${{{value['Ref']}}}"
        if "Fn::GetAtt" in value:
            attribute = value["Fn::GetAtt"]
            return f"${{{attribute if isinstance(attribute, str) else '.'.join(attribute)}}}"
        if "Fn::Sub" in value:
            return value["Fn::Sub"] if isinstance(value["Fn::Sub"], str) else value["Fn::Sub"][0]
        if "Fn::Join" in value:
            separator, parts = value["Fn::Join"]
            return str(separator.join(text(part) for part in parts))
        if "Fn::Select" in value:
            index, parts = value["Fn::Select"]
            return f"<{index} of {text(parts)}>"
        if "Fn::Split" in value:
            return text(value["Fn::Split"][1])
    return str(value)


def statements(role: dict[str, Any]) -> list[dict[str, Any]]:
    """The statements of a role's own policies; both branches of a condition count, because either may be deployed."""
    found = []
    for policy in role.get("Policies", []):
        for statement in policy["PolicyDocument"]["Statement"]:
            sides = statement["Fn::If"][1:] if "Fn::If" in statement else [statement]
            found += [side for side in sides if side != {"Ref": "AWS::NoValue"}]
    return found


def resolve(value: Any, known: dict[str, Any]) -> Any:
    """`value` with its intrinsics carried out; `known` holds parameters, pseudo parameters, and `Resource` or
    `Resource.Attribute`.

    Raises KeyError for what is not known.
    """
    if isinstance(value, dict):
        if "Ref" in value:
            return known[value["Ref"]]
        if "Fn::GetAtt" in value:
            attribute = value["Fn::GetAtt"]
            return known[attribute if isinstance(attribute, str) else ".".join(attribute)]
        if "Fn::Sub" in value:
            return re.sub(r"\$\{([\w:.]+)\}", lambda match: str(known[match[1]]), value["Fn::Sub"])
        if "Fn::Join" in value:
            separator, parts = value["Fn::Join"]
            return separator.join(str(resolve(part, known)) for part in parts)
    return value
