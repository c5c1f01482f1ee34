"""Replays recorded calls against the policies of the roles that made them.

ministack's engine evaluates the policies (`ministack.core.iam_evaluator`; decision 0047 says why); the embedded AWS
itself enforces none.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ministack.core.iam_evaluator import EvalContext, ParsedStatement, evaluate, parse_policy_document

from tests.permissions.authorization import KNOWN_KEYS, Call, Question, Surroundings, Unclear, questions

Policy = list[ParsedStatement]


class Permission(NamedTuple):
    """An action that a statement allows to a role; `role` is its logical id."""

    role: str
    sid: str
    action: str

    def __str__(self) -> str:
        return f"{self.role}.{self.sid} {self.action}"


@dataclass(frozen=True)
class Account:
    """The roles of a deployed stack, by their ARNs, and what else the replay has to know of it."""

    names: Mapping[str, str]
    """ARN of a role → its logical id."""
    policies: Mapping[str, Sequence[Policy]]
    key_of_topic: Mapping[str, str]

    @classmethod
    def of_stack(cls, stack: str, client: Any) -> Account:
        """Read the roles and topics of a stack; `client(service)` returns a client of boto3."""
        iam, names, policies, keys = client("iam"), {}, {}, {}
        pages = client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
        for resource in (one for page in pages for one in page["StackResourceSummaries"]):
            name = resource.get("PhysicalResourceId", "")
            if resource["ResourceType"] == "AWS::IAM::Role":
                arn = iam.get_role(RoleName=name)["Role"]["Arn"]
                names[arn] = resource["LogicalResourceId"]
                found = [iam.get_role_policy(RoleName=name, PolicyName=policy) for policy in _inline(iam, name)]
                policies[arn] = [parse_policy_document(one["PolicyDocument"]) for one in found]
                assert not iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"], f"{name}: not read"
            if resource["ResourceType"] == "AWS::SNS::Topic":
                attributes = client("sns").get_topic_attributes(TopicArn=name)["Attributes"]
                if attributes.get("KmsMasterKeyId"):
                    key = client("kms").describe_key(KeyId=attributes["KmsMasterKeyId"])
                    keys[name] = key["KeyMetadata"]["Arn"]
        return cls(names, policies, keys)

    def beside(self, *others: Account) -> Account:
        """The roles and topics of all these stacks of one account."""
        every = (self, *others)
        return Account(
            {arn: name for one in every for arn, name in one.names.items()},
            {arn: policies for one in every for arn, policies in one.policies.items()},
            {arn: key for one in every for arn, key in one.key_of_topic.items()},
        )

    def permissions(self) -> Iterator[Permission]:
        """All that the roles are allowed."""
        for arn, policies in self.policies.items():
            for statement in (one for policy in policies for one in policy if one.effect == "Allow"):
                for action in statement.actions:
                    yield Permission(self.names[arn], statement.sid, action)

    def unknown_conditions(self) -> set[str]:
        """The condition keys in the policies that the replay does not set."""
        found = {
            key.lower()
            for policies in self.policies.values()
            for policy in policies
            for statement in policy
            for keys in statement.conditions.values()
            for key in keys
        }
        return {key for key in found - KNOWN_KEYS if not key.startswith("aws:requesttag/")}


def _inline(iam: Any, role: str) -> list[str]:
    names: list[str] = iam.list_role_policies(RoleName=role)["PolicyNames"]
    return names


def allows(policies: Iterable[Policy], question: Question, principal: str, region: str) -> ParsedStatement | None:
    """Return the statement by which the policies answer the question with yes, or None."""
    tag = "aws:requesttag/"
    keys = {name.lower(): value for name, value in question.context.items()}
    context = EvalContext(
        principal_arn=principal,
        principal_type="AssumedRole",
        principal_account=principal.split(":")[4],
        action=question.action,
        resource_arn=question.resource,
        region=region,
        request_tags={
            name[len(tag) :]: value for name, value in question.context.items() if name.lower().startswith(tag)
        },
        tag_keys=keys.pop("aws:tagkeys", []),
        service_context={name: value for name, value in keys.items() if not name.startswith(tag)},
    )
    policies = list(policies)
    if evaluate(context, policies).decision != "Allow":
        return None
    statements = (statement for policy in policies for statement in policy if statement.effect == "Allow")
    return next(one for one in statements if evaluate(context, [[one]]).decision == "Allow")


class Replay:
    """The outcome of recorded calls under the policies of an account."""

    def __init__(self, account: Account, calls: Sequence[Call]) -> None:
        self._account = account
        self.denied: Counter[str] = Counter()
        """What the policies do not allow, with the number of calls, and calls whose resource cannot be told."""
        self.used: set[Permission] = set()
        around = Surroundings(machines_of_tokens(calls), account.key_of_topic)
        answers: dict[tuple[str, str, str], ParsedStatement | None] = {}
        for call in calls:
            if call.principal not in account.names:
                self.denied[f"{call.principal} is no role of the stack, and makes {call.service} {call.operation}"] += 1
                continue
            try:
                found = questions(call, around)
            except Unclear as error:
                self.denied[str(error)] += 1
                continue
            for one in found:
                self._ask(call, one, answers)

    def _ask(self, call: Call, question: Question, answers: dict[tuple[str, str, str], ParsedStatement | None]) -> None:
        policies, role = self._account.policies[call.principal], self._account.names[call.principal]
        key = (
            call.principal,
            question.action,
            json.dumps([question.resource, question.context], sort_keys=True, default=str),
        )
        if key not in answers:
            answers[key] = allows(policies, question, call.principal, call.region)
        statement = answers[key]
        if statement is None:
            context = f" with {dict(question.context)}" if question.context else ""
            self.denied[f"{role} may not {question.action} on {question.resource}{context} ({call.operation})"] += 1
        else:
            self.used |= {
                Permission(role, statement.sid, action)
                for action in statement.actions
                if allows([[_only(statement, action)]], question, call.principal, call.region)
            }


def machines_of_tokens(calls: Iterable[Call]) -> dict[str, str]:
    """Return the tokens that tasks were given, with the state machine of each."""
    return {
        token: call.caller
        for call in calls
        if call.caller
        for token in re.findall(r"[0-9a-f]{64}", json.dumps(call.parameters))
    }


def _only(statement: ParsedStatement, action: str) -> ParsedStatement:
    return ParsedStatement(
        statement.sid, "Allow", [action], [], statement.resources, statement.not_resources, statement.conditions
    )


def recorded(path: Path) -> list[Call]:
    """The calls in a file of the embedded AWS (LAPTOP_AWS_CALLS_FILE)."""
    return [Call(**json.loads(line)) for line in path.read_text("utf-8").splitlines()]


def trespasses(calls: Sequence[Call], own: Account, other: Account) -> set[str]:
    """Return what a role of the stack `other` may do to what the same role of `own` has used: two stacks that keep
    apart share only what belongs to no stack.
    """
    roles = {name: arn for arn, name in other.names.items()}
    around, found = Surroundings(machines_of_tokens(calls), own.key_of_topic), set()
    for call in calls:
        if (name := own.names.get(call.principal)) is None:
            continue
        for one in questions(call, around):
            if allows(other.policies[roles[name]], one, roles[name], call.region):
                found.add(f"{one.action} {one.resource}")
    return found
