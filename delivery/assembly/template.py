"""Assembles `template.yaml`: from `functions/<name>/function.yaml`, one file a function, and from `template/`.

`template/every/` has skeletons of the parts that all functions, rules, schedules and state machines have; the sources
have the rest. Some tags are ours: `!Arn service:resource` is the ARN of a resource in this account and region,
`!EveryRule` the ARNs of all rules, `!EveryParameter` all parameters, `!EveryVariable` the environment of the functions
that have versions, and `!EveryFunction Errors` that metric of all. docs/reference/functions.md says how
a function is added.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from delivery.assembly.files import SourceError
from delivery.assembly.text import Block, blocks, fill, indented

BEFORE_FUNCTIONS, AFTER_FUNCTIONS = ("data", "events", "notifications", "preparation", "models"), ("api", "watch")
FUNCTION_SECTIONS = {"Properties", "Asynchronous", "Allow", "Routes", "Scopes", "Rules", "Schedule", "States"}
MACHINE_SECTIONS = {"Rules", "Schedule"}
RULE_SECTIONS = {"Description", "State", "EventPattern", "Input", "InputTransformer", "Role", "Rule"}
SCHEDULE_SECTIONS = {"Description", "State", "ScheduleExpression", "RetryPolicy"}
# Retries of a failed asynchronous call, and its maximum age in seconds; then it goes to the dead-letter queue.
LIMITS = "MaximumRetryAttempts: 2\nMaximumEventAgeInSeconds: 21600"
# The services through which a function reads and writes what the customer's key encrypts.
KEEPERS = ("s3", "dynamodb", "sns", "sqs")
KEY = "# The key of the data, through the services that keep them."
USE_KEY = """If: HasKmsKey
Action: [kms:Decrypt, kms:GenerateDataKey]
Resource: !Ref KmsKeyArn
Condition:
  StringEquals:
    kms:ViaService:
"""
DEAD_LETTERS = "Action: sqs:SendMessage\nResource: !GetAtt DeadLetterQueue.Arn"
REGION_SUFFIX = "${AWS::Region}.${AWS::URLSuffix}"
# A version that another one replaces stays: executions call it that began before.
KEPT = "UpdateReplacePolicy: Retain"
# SAM gives a function's DeletionPolicy to its versions too, so that a function with KEPT has none.
LINT = "  cfn-lint: {config: {ignore_checks: [W3011]}}"
RULER = "# " + "=" * 116


def assemble(root: Path) -> dict[str, str]:
    """`template.yaml` → its text, from the sources below `root`. Raises SourceError for a source with a mistake."""
    return {"template.yaml": _Assembly(root).template()}


@dataclass(frozen=True)
class _Source:
    """The source of one function or one state machine, and the names that follow from its folder's name."""

    kind: str
    folder: str
    where: str
    comment: str
    sections: dict[str, Block]

    @property
    def pascal(self) -> str:
        """`on_data_ready` → `OnDataReady`"""
        return "".join(word.capitalize() for word in self.folder.split("_"))

    @property
    def name(self) -> str:
        """`on_data_ready` → `on-data-ready`"""
        return self.folder.replace("_", "-")

    @property
    def is_published(self) -> bool:
        """True for a function with versions: customers or executions wait for it."""
        return bool({"Routes", "States"} & set(self.sections))

    @property
    def arn(self) -> str:
        """Target of an event, a schedule or a route: of a function with versions, the alias of the last one."""
        if self.kind == "machine":
            return f"!Ref {self.pascal}StateMachine"
        return f"!Ref {self.pascal}Function.Alias" if self.is_published else f"!GetAtt {self.pascal}Function.Arn"

    @property
    def callee(self) -> str:
        """Subject of a permission to call."""
        return self.arn if self.is_published else f"!Ref {self.pascal}Function"

    def inner(self, section: str) -> dict[str, Block]:
        """The keys below one section; none if the section is not there."""
        return blocks(self.sections[section].body, f"{self.where}: {section}") if section in self.sections else {}

    @cached_property
    def rules(self) -> dict[str, dict[str, Block]]:
        """Sections of each rule, by its name; a rule of another function has only the section `Rule`."""
        found = {}
        for name, block in self.inner("Rules").items():
            where = f"{self.where}: {name}"
            sections = blocks(block.body, where)
            found[name] = _checked(sections, RULE_SECTIONS, where, () if "Rule" in sections else ("EventPattern",))
        return found


class _Assembly:
    """The sources below one root, and the template that they make."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.functions = [_function(path.parent) for path in sorted((root / "functions").glob("*/app.py"))]
        self.machines = [
            _source("machine", name, f"template/machines.yaml: {name}", block.comment, block.body)
            for name, block in self._blocks("machines").items()
        ]
        self.calls = {machine.folder: list(self._calls(machine.folder)) for machine in self.machines}
        self.sources = [*self.functions, *self.machines]

    def template(self) -> str:
        """The whole text."""
        resources = [
            *map(self._read, BEFORE_FUNCTIONS),
            _banner("FUNCTIONS: each with its role, its log group, and the rules and schedules that call it"),
            *map(self.function, self.functions),
            _banner("STATE MACHINES: each with its role, its log group, and what starts it"),
            *map(self.machine, self.machines),
            *map(self._read, AFTER_FUNCTIONS),
        ]
        text = "Resources:\n" + "\n\n".join(indented(part.strip("\n")) for part in resources)
        text = self._name_functions(self._name_values(self._name_rules(text)))
        return _expand_arns(_join(self._read("head"), self.parameters(), text, self._read("outputs")))

    def _name_functions(self, text: str) -> str:
        """`text` with a metric of each function in the place of `"!EveryFunction <metric>"`, for the dashboard."""

        def metrics(match: re.Match[str]) -> str:
            names = (f"${{{source.pascal}Function}}" for source in self.functions)
            return ", ".join(f'["AWS/Lambda", "{match[1]}", "FunctionName", "{name}"]' for name in names)

        return re.sub(r'"!EveryFunction (\w+)"', metrics, text)

    def _name_values(self, text: str) -> str:
        """`text` with all parameters in the place of `!EveryParameter`, and variables in that of `!EveryVariable`."""
        names = [
            name
            for label, group in self._blocks("parameters").items()
            for name in blocks(group.body, f"template/parameters.yaml: {label}")
        ]
        text = _in_place_of("EveryParameter", "\n".join(f"{name}: !Ref {name}" for name in names), text)
        variables: dict[str, str] = {}
        for source in filter(lambda one: one.is_published, self.functions):
            for name, line in _variables(source):
                if variables.setdefault(name, line) != line:
                    raise SourceError(f"{source.where}: {name} has another value in another function")
        return _in_place_of("EveryVariable", "\n".join(variables[name] for name in sorted(variables)), text)

    def parameters(self) -> str:
        """Parameters, and the form that shows them: each key of `template/parameters.yaml` is a group of the form."""
        groups, parameters = [], []
        for label, group in self._blocks("parameters").items():
            members = blocks(group.body, f"template/parameters.yaml: {label}")
            names = "\n".join(f"- {name}" for name in members)
            groups.append(f"- Label: {{default: {label}}}\n  Parameters:\n{indented(names, 4)}")
            parameters += [indented(_commented(block.comment, block.text)) for block in members.values()]
        form = f"Metadata:\n{LINT}\n  AWS::CloudFormation::Interface:\n    ParameterGroups:\n" + indented(
            "\n".join(groups), 6
        )
        return form + "\n\nParameters:\n" + "\n\n".join(parameters)

    def function(self, source: _Source) -> str:
        """Resources of one function: itself, its role, its log group, and what calls it."""
        sections = source.sections
        allowed = {sid: (block.comment, block.body) for sid, block in source.inner("Allow").items()}
        limits = sections["Asynchronous"].body if "Asynchronous" in sections else LIMITS
        asynchronous = ""
        if {"Asynchronous", "Rules", "Schedule"} & set(sections):
            comment = sections["Asynchronous"].comment if "Asynchronous" in sections else ""
            asynchronous = _commented(comment, self._fill("asynchronous", limits=limits))
            allowed["DeadLetters"] = ("", DEAD_LETTERS)
        through = [name for name in KEEPERS if any(re.search(rf"\b{name}:[A-Z]", body) for _, body in allowed.values())]
        if through:
            allowed["UseKey"] = (KEY, USE_KEY + "\n".join(f"      - !Sub {name}.{REGION_SUFFIX}" for name in through))
        self._check_states(source)
        statements = (_commented(comment, _statement(sid, body)) for sid, (comment, body) in allowed.items())
        published = ""
        if source.is_published:
            published = self._fill("published", gradual=self._read("every/gradual") if "Routes" in sections else "")
        return _join(
            self._fill(
                "function", source, folder=source.folder, why=source.comment, properties=sections["Properties"].body,
                kept=KEPT if source.is_published else "", published=published, asynchronous=asynchronous,
                permissions=sections["Allow"].comment, statements="\n".join(statements),
            ),
            self._triggers(source),
        )  # fmt: skip

    def machine(self, source: _Source) -> str:
        """Resources of one state machine: itself, its role, its log group, and what starts it."""
        functions = list(dict.fromkeys(function for _, function in self.calls[source.folder]))
        return _join(
            self._fill(
                "machine", source, why=source.comment,
                substitutions="\n".join(
                    ["Partition: !Ref AWS::Partition"]
                    + [f"{name}FunctionArn: !Ref {name}Function.Version" for name in functions]
                ),
                functions="\n".join(f"- !Sub ${{{name}Function.Arn}}:*" for name in functions),
            ),
            self._triggers(source),
        )  # fmt: skip

    def _triggers(self, source: _Source) -> str:
        schedule = [self._schedule(source)] if "Schedule" in source.sections else []
        routes = (self._route(source, name, block) for name, block in source.inner("Routes").items())
        integration = [self._fill("integration", source, arn=source.arn)] if "Routes" in source.sections else []
        return _join(*integration, *routes, *(self._rule(source, name) for name in source.rules), *schedule)

    def _route(self, source: _Source, name: str, block: Block) -> str:
        method, _, path = block.body.partition(" ")
        if "Scopes" not in source.sections:
            raise SourceError(f"{source.where}: Scopes is missing, the parameter with the scopes of its routes")
        return self._fill(
            "route",
            source,
            route=name,
            key=block.body,
            path=method + re.sub(r"{\w+}", "*", path),
            why=block.comment,
            function=source.callee,
            scopes=source.sections["Scopes"].body,
        )

    def _rule(self, source: _Source, name: str) -> str:
        """A rule and the permission to call its target; only the permission if the rule is another function's."""
        sections = source.rules[name]
        rule = sections["Rule"].body if "Rule" in sections else name
        if source.kind == "function":
            permission = self._fill("permission", source, trigger=name, rule=rule, function=source.callee)
        else:
            permission = self._fill("rule-role", source, role=_role(name, sections), rule=_kebab(name))
        if rule != name:
            return permission
        subscribers = [
            other for other in self.functions for theirs in other.rules.values()
            if "Rule" in theirs and theirs["Rule"].body == name
        ]  # fmt: skip
        text = self._fill(
            "rule", source, rule=name, rule_name=_kebab(name), why=source.inner("Rules")[name].comment,
            properties=_texts(sections, "Description", "State"), pattern=sections["EventPattern"].body,
            targets="\n".join([self._target(source, name), *(self._target(other, name) for other in subscribers)]),
        )  # fmt: skip
        return _join(text, permission)

    def _target(self, source: _Source, name: str) -> str:
        sections = source.rules.get(name, {})
        role = f"RoleArn: !GetAtt {_role(name, sections)}.Arn" if source.kind == "machine" else ""
        given = _texts(sections, "Input", "InputTransformer")
        return self._fill("target", source, arn=source.arn, role=role, input=given)

    def _schedule(self, source: _Source) -> str:
        sections = _checked(source.inner("Schedule"), SCHEDULE_SECTIONS, f"{source.where}: Schedule",
                            ("ScheduleExpression", "RetryPolicy"))  # fmt: skip
        if source.kind == "function":
            names = {"schedule": f"{source.pascal}Schedule", "policy": source.name, "sid": source.pascal}
            action = "lambda:InvokeFunction"
        else:  # `PreparationSchedule` and `BatchSchedule` are parameters: the schedule itself has another id.
            names = {"schedule": f"{source.pascal}Scheduler", "policy": f"start-{source.name}"}
            names["sid"], action = f"Start{source.pascal}", "states:StartExecution"
        return self._fill(
            "schedule", source, why=source.sections["Schedule"].comment, target=source.arn, action=action,
            properties=_texts(sections, "Description", "State", "ScheduleExpression"),
            retries=sections["RetryPolicy"].text, **names,
        )  # fmt: skip

    def _name_rules(self, text: str) -> str:
        """`text` with the ARN of each rule in the place of `!EveryRule`."""
        names = [name for source in self.sources for name, sections in source.rules.items() if "Rule" not in sections]
        arns = "\n".join(f"- !GetAtt {name}Rule.Arn" for name in names)
        return _in_place_of("EveryRule", arns, text)

    def _check_states(self, source: _Source) -> None:
        """Raise SourceError if a function's file and the definitions differ about the states that call it."""
        says = source.sections["States"].body.strip("[]").split(", ") if "States" in source.sections else []
        calls = [f"{machine}.{state}" for machine, called in self.calls.items()
                 for state, function in called if function == source.pascal]  # fmt: skip
        if sorted(says) != sorted(calls):
            raise SourceError(f"{source.where}: States is {says}, but statemachines/ has {calls}")

    def _calls(self, machine: str) -> Iterator[tuple[str, str]]:
        """Each state that calls a function, and the function, from a machine's definition."""
        path = self.root / "statemachines" / f"{machine}.asl.json"
        yield from _called(json.loads(path.read_text("utf-8")))

    def _read(self, part: str) -> str:
        return (self.root / "template" / f"{part}.yaml").read_text("utf-8")

    def _blocks(self, part: str) -> dict[str, Block]:
        return blocks(self._read(part), f"template/{part}.yaml")

    def _fill(self, skeleton: str, source: _Source | None = None, **values: str) -> str:
        names = {"Name": source.pascal, "name": source.name} if source else {}
        return fill(self._read(f"every/{skeleton}"), names | values)


def _variables(source: _Source) -> Iterator[tuple[str, str]]:
    """The environment of a function: each name, and its line."""
    body, where = source.sections["Properties"].body, source.where
    for section in ("Environment", "Variables"):
        found = blocks(body, where)
        body = found[section].body if section in found else ""
    yield from ((name, block.text) for name, block in blocks(body, where).items())


def _function(folder: Path) -> _Source:
    path, where = folder / "function.yaml", f"functions/{folder.name}/function.yaml"
    if not path.exists():
        raise SourceError(f"{where} is missing: it lists the function's triggers and permissions")
    text = path.read_text("utf-8")
    source = _source("function", folder.name, where, "", text)
    for section in ("Properties", "Allow"):
        if section not in source.sections or not source.sections[section].comment:
            raise SourceError(f"{where}: the section {section}, with a comment that gives the reason, is missing")
    return _source("function", folder.name, where, source.sections["Properties"].comment, text)


def _source(kind: str, folder: str, where: str, comment: str, text: str) -> _Source:
    known = FUNCTION_SECTIONS if kind == "function" else MACHINE_SECTIONS
    return _Source(kind, folder, where, comment, _checked(blocks(text, where), known, where))


def _checked(sections: dict[str, Block], known: set[str], where: str, needed: Sequence[str] = ()) -> dict[str, Block]:
    unknown, missing = sorted(set(sections) - known), sorted(set(needed) - set(sections))
    if unknown:
        raise SourceError(f"{where}: {', '.join(unknown)} is not known; known are {', '.join(sorted(known))}")
    if missing:
        raise SourceError(f"{where}: {', '.join(missing)} is missing")
    return sections


def _statement(sid: str, body: str) -> str:
    """One statement of IAM; with `If: <condition>` as its first line, only under that condition."""
    condition = re.match(r"If: (\w+)\n", body)
    if condition is None:
        return f"- Sid: {sid}\n  Effect: Allow\n{indented(body)}"
    text = f"- Sid: {sid}\n  Effect: Allow\n{indented(body[condition.end() :])}"
    return f"- !If\n  - {condition[1]}\n{indented(text)}\n  - !Ref AWS::NoValue"


def _called(definition: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for state, body in definition["States"].items():
        for name in re.findall(r"\$\{(\w+)FunctionArn\}", json.dumps(body.get("Arguments", {}))):
            yield state, name
        for nested in [*body.get("Branches", []), *filter(None, [body.get("ItemProcessor")])]:
            yield from _called(nested)


def _role(rule: str, sections: dict[str, Block]) -> str:
    return sections["Role"].body if "Role" in sections else f"{rule}Role"


def _join(*parts: str) -> str:
    """The parts that are not empty, with one empty line between them."""
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _expand_arns(text: str) -> str:
    """`!Arn states:x` → `!Sub arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:x`"""
    arn = r"!Sub \1arn:${AWS::Partition}:\2:${AWS::Region}:${AWS::AccountId}:"
    return re.sub(r'!Arn ("?)([a-z-]+):(?=\S)', arn, text)


def _in_place_of(tag: str, lines: str, text: str) -> str:
    """`text` with `lines` below each key whose value is `!<tag>`."""
    return re.sub(rf"( *)(\S+:) !{tag}\b", lambda m: f"{m[1]}{m[2]}\n{indented(lines, len(m[1]) + 2)}", text)


def _texts(sections: dict[str, Block], *names: str) -> str:
    """The texts of the named sections that exist."""
    return "\n".join(sections[name].text for name in names if name in sections)


def _commented(comment: str, text: str) -> str:
    return f"{comment}\n{text}" if comment else text


def _kebab(name: str) -> str:
    """`ManifestCreated` → `manifest-created`"""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


def _banner(words: str) -> str:
    return f"{RULER}\n# {words}\n{RULER}"
