"""Settings of a deployment: the template's parameters with the values of one environment of samconfig.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from contracts import parameters
from delivery.preflight.findings import Finding, Level

Template = dict[str, Any]


class SettingsError(ValueError):
    """The files do not say what would be deployed; the message names the file and what is wrong."""


class _Tags(yaml.CSafeLoader):
    """Reads `!Ref x` as `{"Ref": x}` and every other tag `!Name x` as `{"Fn::Name": x}`."""


def _tagged(loader: _Tags, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    elif isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Tags.add_multi_constructor("!", _tagged)


@dataclass(frozen=True)
class Settings:
    """The values of all parameters, as text, and the template that they are for."""

    environment: str
    stack: str
    values: Mapping[str, str]
    template: Template

    def resource_types(self) -> set[str]:
        """The types of AWS resources that the template makes; SAM's types as what they become."""
        found: set[str] = set()
        for resource in self.template["Resources"].values():
            found |= set(BECOMES.get(resource["Type"], (resource["Type"],)))
        return found


BECOMES = {
    "AWS::Serverless::Function": ("AWS::Lambda::Function", "AWS::IAM::Role"),
    "AWS::Serverless::StateMachine": ("AWS::StepFunctions::StateMachine",),
    "AWS::Serverless::LayerVersion": ("AWS::Lambda::LayerVersion",),
}


def template_of(root: Path) -> Template:
    """The template below `root`; nobody changes it, because all who ask for the same text share it."""
    return _template((root / "template.yaml").read_text("utf-8"))


@lru_cache(maxsize=2)
def _template(text: str) -> Template:
    template: Template = yaml.load(text, Loader=_Tags)
    return template


def read(root: Path, environment: str) -> Settings:
    """The settings of `environment`. Raises SettingsError."""
    try:
        configuration = tomllib.loads((root / "samconfig.toml").read_text("utf-8"))
        template = template_of(root)
    except (OSError, tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"samconfig.toml or template.yaml cannot be read: {error}") from error
    known = [name for name in configuration if isinstance(configuration[name], dict)]
    if environment not in known:
        raise SettingsError(f"samconfig.toml has no environment {environment!r}; it has {', '.join(known)}")
    sections = configuration[environment]
    pairs = sections.get("deploy", {}).get("parameters", {}).get("parameter_overrides", [])
    given = {name: value.strip("'\"") for name, _, value in (pair.partition("=") for pair in pairs)}
    defaults = {
        name: str(parameter["Default"]) for name, parameter in template["Parameters"].items() if "Default" in parameter
    }
    stack = sections.get("global", {}).get("parameters", {}).get("stack_name", "ncf")
    return Settings(environment, stack, defaults | given, template)


def check(settings: Settings, region: str) -> list[Finding]:
    """Faults of the values themselves: unknown or missing parameters, values that the template refuses, and
    combinations that its Rules, or the deployment, refuse.
    """
    where = f"samconfig.toml [{settings.environment}]"
    faults = list(_value_faults(settings))
    # Only values that can be read are compared.
    faults = faults or [*_rule_faults(settings), *parameters.faults(settings.values, region)]
    why = "CloudFormation refuses the deployment."
    if not faults:
        return [Finding(Level.FINE, f"the parameters of {where} are complete and go together")]
    return [Finding(Level.FAULT, f"{where}: {fault}", why, "Correct parameter_overrides there.") for fault in faults]


def _value_faults(settings: Settings) -> Iterator[str]:
    known = settings.template["Parameters"]
    for name in settings.values.keys() - known.keys():
        yield f"{name} is not a parameter of the template"
    for name, parameter in known.items():
        if name not in settings.values:
            yield f"{name} is missing: {parameter.get('Description', '')}"
            continue
        value = settings.values[name]
        allowed = [str(one) for one in parameter.get("AllowedValues", [])]
        explained = parameter.get("ConstraintDescription", "")
        if allowed and value not in allowed:
            yield f"{name} is {value!r}, not one of {', '.join(allowed)}"
        elif not re.fullmatch(parameter.get("AllowedPattern", "(?s).*"), value):
            yield f"{name} is {value!r}; it must be {explained}"
        elif parameter["Type"] == "Number":
            yield from _number_faults(name, value, parameter)


def _number_faults(name: str, value: str, parameter: Mapping[str, Any]) -> Iterator[str]:
    least, most = float(parameter.get("MinValue", "-inf")), float(parameter.get("MaxValue", "inf"))
    try:
        number = float(value)
    except ValueError:
        yield f"{name} is {value!r}, not a number"
        return
    if not least <= number <= most:
        yield f"{name} is {value}, not {least:g} to {most:g}"


def _rule_faults(settings: Settings) -> Iterator[str]:
    for rule in settings.template.get("Rules", {}).values():
        if "RuleCondition" in rule and not _holds(rule["RuleCondition"], settings.values):
            continue
        for assertion in rule["Assertions"]:
            if not _holds(assertion["Assert"], settings.values):
                yield str(assertion["AssertDescription"])


def _holds(expression: Any, values: Mapping[str, str]) -> bool:
    """The truth of a rule-specific intrinsic function. Raises SettingsError for one that is not known here."""
    [(function, operand)] = expression.items()
    if function == "Fn::Not":
        return not _holds(operand[0], values)
    if function in ("Fn::And", "Fn::Or"):
        return (all if function == "Fn::And" else any)(_holds(one, values) for one in operand)
    if function == "Fn::Equals":
        return _value(operand[0], values) == _value(operand[1], values)
    if function == "Fn::Contains":
        return _value(operand[1], values) in [_value(one, values) for one in operand[0]]
    raise SettingsError(f"template.yaml: a rule uses {function}, which preflight does not know")


def _value(operand: Any, values: Mapping[str, str]) -> str:
    return values.get(operand["Ref"], "") if isinstance(operand, dict) else str(operand)
