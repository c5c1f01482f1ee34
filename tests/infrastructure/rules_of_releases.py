"""Rules for releases: executions keep their code, and new values reach those who call. As in `rules.py`."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.infrastructure.templates import as_list, of_type, statements, text

Template = dict[str, Any]

VERSION = re.compile(r"\$\{(\w+Function)Version[0-9a-f]{10}\}")


def executions_keep_their_code(template: Template) -> list[str]:
    """A state machine calls versions of functions, which stay when another one replaces them: Step Functions lets a
    running execution keep its definition, and so its code. An event or a route calls the alias of the last version."""
    faults, published = [], set()
    for name, machine in of_type(template, "AWS::StepFunctions::StateMachine").items():
        role = statements(template["Resources"][f"{name}Role"]["Properties"])
        allowed = {text(resource) for statement in role for resource in as_list(statement["Resource"])}
        for key, arn in machine["DefinitionSubstitutions"].items():
            if not key.endswith("FunctionArn"):
                continue
            function = key.removesuffix("Arn")
            published.add(function)
            match = VERSION.fullmatch(text(arn))
            if match is None or match[1] != function:
                faults.append(f"{name} calls {text(arn)}, which is not a version of {function}")
            if f"${{{function}.Arn}}:*" not in allowed:
                faults.append(f"{name} may not call every version of {function}")
    integrations = of_type(template, "AWS::ApiGatewayV2::Integration").values()
    for uri in (text(integration["IntegrationUri"]) for integration in integrations):
        published.add(uri.strip("${}").removesuffix("Aliaslive"))
    for name in sorted(published):
        resource = template["Resources"][version_of(template, name)]
        if {resource.get("DeletionPolicy"), resource.get("UpdateReplacePolicy")} != {"Retain"}:
            faults.append(f"{name}'s earlier versions are deleted")
        revision = {"Fn::GetAtt": ["Settings", "Revision"]}
        described = template["Resources"][name]["Properties"].get("Description")
        if resource["Properties"].get("Description") != revision or text(described) != "Settings ${Settings.Revision}":
            faults.append(f"{name} gets no version when a parameter changes")
        if f'"{name}"' in json.dumps(_callers(template)):
            faults.append(f"{name} is called past its alias")
    return faults


def version_of(template: Template, function: str) -> str:
    """The logical id of the version of `function`."""
    return next(str(name) for name in template["Resources"] if re.fullmatch(f"{function}Version[0-9a-f]{{10}}", name))


def _callers(template: Template) -> list[Any]:
    """Targets of rules, schedules and routes, and what permissions to call are for."""
    called = [target["Arn"] for rule in of_type(template, "AWS::Events::Rule").values() for target in rule["Targets"]]
    called += [schedule["Target"]["Arn"] for schedule in of_type(template, "AWS::Scheduler::Schedule").values()]
    called += [one["IntegrationUri"] for one in of_type(template, "AWS::ApiGatewayV2::Integration").values()]
    return called + [one["FunctionName"] for one in of_type(template, "AWS::Lambda::Permission").values()]


def nothing_is_traced_in_part(template: Template) -> list[str]:
    """Traces without an SDK show a function and none of its calls, and cost; with one, a start takes a quarter longer
    (decision 0049)."""
    traced = {"AWS::Lambda::Function": "TracingConfig", "AWS::StepFunctions::StateMachine": "TracingConfiguration"}
    return [
        f"{name} is traced"
        for kind, key in traced.items()
        for name, properties in of_type(template, kind).items()
        if key in properties
    ]


def customers_wait_for_no_new_runtime(template: Template) -> list[str]:
    """A function of the API gets another Python or SDK with a release, where an alarm brings the earlier one back."""
    return [
        f"{name} gets a new SDK at any time"
        for name, function in of_type(template, "AWS::Lambda::Function").items()
        if name.replace("Function", "Integration") in template["Resources"]
        and function.get("RuntimeManagementConfig") != {"UpdateRuntimeOn": "FunctionUpdate"}
    ]


def settings_see_what_versions_depend_on(template: Template) -> list[str]:
    """Settings has every variable of a function with versions, or a new value would reach no version."""
    seen = template["Resources"]["Settings"]["Properties"]["Variables"]
    shared = {"NAME_PREFIX", "RUNS_TABLE"}
    return [
        f"Settings does not see {variable} of {name}"
        for name, function in of_type(template, "AWS::Lambda::Function").items()
        if f"{name}Aliaslive" in template["Resources"]
        for variable, value in function["Environment"]["Variables"].items()
        if not variable.startswith("POWERTOOLS_") and variable not in shared and seen.get(variable) != value
    ]
