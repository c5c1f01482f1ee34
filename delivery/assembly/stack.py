"""Tables of what the template has: parameters, outputs, alarms, and the rules of EventBridge."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from delivery.assembly import pages
from delivery.preflight import settings

ENVIRONMENTS = ("local", "dev", "staging", "prod")
Resource = Mapping[str, Any]


def parameters(root: Path) -> str:
    """A table for each group of template/parameters.yaml."""
    groups = yaml.load((root / "template" / "parameters.yaml").read_text("utf-8"), Loader=yaml.CSafeLoader)
    tables = (f"### {group}\n\n{_parameters(declared)}" for group, declared in groups.items())
    return "\n".join(tables)


def _parameters(declared: Mapping[str, Resource]) -> str:
    rows = (
        (pages.code(name), pages.code(one.get("Default", "")), _allowed(one), one["Description"])
        for name, one in declared.items()
    )
    return pages.table(("parameter", "default", "allowed", "meaning"), rows)


def _allowed(parameter: Resource) -> str:
    if "AllowedValues" in parameter:
        return ", ".join(map(pages.code, parameter["AllowedValues"]))
    least, most = parameter.get("MinValue"), parameter.get("MaxValue")
    if least is not None:
        return f"{least} to {most}" if most is not None else f"at least {least}"
    return str(parameter.get("ConstraintDescription", "any text"))


def environments(root: Path) -> str:
    """The parameters that an environment of samconfig.toml sets to another value than the default."""
    template = settings.template_of(root)
    given = [settings.read(root, name).values for name in ENVIRONMENTS]
    rows = []
    for name, parameter in template["Parameters"].items():
        default = str(parameter.get("Default", ""))
        values = [one.get(name, "") for one in given]
        if any(value != default for value in values):
            rows.append((pages.code(name), *("" if value == default else _shown(value) for value in values)))
    return pages.table(("parameter", *ENVIRONMENTS), rows)


def _shown(value: str) -> str:
    return pages.code(value) or "empty"


def outputs(root: Path) -> str:
    """The outputs of the stack."""
    found = settings.template_of(root)["Outputs"].items()
    return pages.table(("output", "meaning"), ((pages.code(name), one["Description"]) for name, one in found))


# --- Alarms -----------------------------------------------------------------------------------------------------------


def alarms(root: Path) -> str:
    """The alarms, each with a link to what to do about it where that page exists."""
    runbook = (root / "docs" / "on-call.md").is_file()
    rows = []
    for alarm in _of_type(root, "Alarm").values():
        name = suffix(alarm)
        rows.append(
            (
                f"[{name}](../on-call.md#{name})" if runbook else name,
                pages.code(f"{alarm['Namespace']} {alarm['MetricName']}"),
                _condition(alarm),
                "a notification" if "AlarmActions" in alarm else "nothing: it is for the dashboard",
                text_of(alarm["AlarmDescription"]),
            )
        )
    return pages.table(("alarm", "metric", "rings when", "sends", "meaning"), rows)


def alarmed(root: Path) -> Iterator[tuple[str, str, str, str]]:
    """Namespace, metric, dimensions and alarm of each alarm on a metric."""
    for alarm in _of_type(root, "Alarm").values():
        dimensions = ", ".join(pages.code(one["Name"]) for one in alarm["Dimensions"])
        yield alarm["Namespace"], alarm["MetricName"], dimensions, suffix(alarm)


def suffix(alarm: Resource) -> str:
    """The name of an alarm without the stack's prefix."""
    return text_of(alarm["AlarmName"]).removeprefix("<NamePrefix>-")


def _condition(alarm: Resource) -> str:
    statistic = alarm.get("Statistic") or alarm["ExtendedStatistic"]
    sign = {"GreaterThanThreshold": "above"}[alarm["ComparisonOperator"]]
    return f"{statistic} {sign} {text_of(alarm['Threshold'])} in {alarm['EvaluationPeriods']} × {alarm['Period']} s"


# --- Rules ------------------------------------------------------------------------------------------------------------


def rules(root: Path) -> str:
    """The rules of EventBridge: what they match, and whom they call."""
    rows = []
    for rule in _of_type(root, "Rule", "AWS::Events").values():
        pattern = rule["EventPattern"]
        rows.append(
            (
                ", ".join(map(pages.code, pattern["source"])),
                ", ".join(map(pages.code, pattern["detail-type"])),
                "; ".join(_matched(pattern.get("detail", {}), "")),
                ", ".join(_targets(rule)),
                rule["Description"],
            )
        )
    return pages.table(("source", "detail-type", "fields that must match", "calls", "occasion"), sorted(rows))


def listeners(root: Path) -> dict[str, list[str]]:
    """Whom the rules call for an event of the application, by detail-type."""
    found: dict[str, list[str]] = {}
    for rule in _of_type(root, "Rule", "AWS::Events").values():
        if rule["EventPattern"]["source"] == ["ncf.recommender"]:
            for kind in rule["EventPattern"]["detail-type"]:
                found.setdefault(kind, []).extend(_targets(rule))
    return found


def _matched(pattern: Mapping[str, Any], path: str) -> Iterator[str]:
    for name, value in pattern.items():
        if isinstance(value, dict):
            yield from _matched(value, f"{path}{name}.")
        else:
            yield f"{pages.code(path + name)}: {', '.join(map(_value, value))}"


def _value(value: Any) -> str:
    if isinstance(value, dict) and value.keys() & {"prefix", "wildcard"}:
        [(kind, text)] = value.items()
        return pages.code(text_of(text) + ("*" if kind == "prefix" else ""))
    return pages.code(text_of(value))


def _targets(rule: Resource) -> list[str]:
    """The functions and state machines that a rule calls, by their names in the code."""
    return [
        pages.code(one["Id"].replace("-", "_"))
        if "Function" in json.dumps(one["Arn"])
        else f"state machine {pages.code(one['Id'])}"
        for one in rule["Targets"]
    ]


# --- Values of the template -------------------------------------------------------------------------------------------


def _of_type(root: Path, kind: str, service: str = "AWS::CloudWatch") -> dict[str, Resource]:
    resources = settings.template_of(root)["Resources"].items()
    return {name: one["Properties"] for name, one in resources if one["Type"] == f"{service}::{kind}"}


def text_of(value: Any) -> str:
    """A value of the template as text: of a reference its name, as <NamePrefix>."""
    if not isinstance(value, dict):
        return str(value)
    [(function, operand)] = value.items()
    if function == "Fn::Sub" and isinstance(operand, str):
        return re.sub(r"\$\{([\w:.]+)\}", r"<\1>", operand)
    return f"<{operand}>" if function == "Ref" else json.dumps(value)
