"""Rules for what a stack costs and keeps: tags, budget, and what may be forgotten by its age. As in `rules.py`."""

from __future__ import annotations

import re
from typing import Any

from tests.infrastructure.templates import as_list, of_type, roles, statements, text

Template = dict[str, Any]


def logs_of_sagemaker_are_forgotten(template: Template) -> list[str]:
    """SageMaker keeps the logs of its own groups forever: a group of the stack is in the template, and in a group of
    the account a function deletes the stack's streams.
    """
    made = {text(group["LogGroupName"]) for group in of_type(template, "AWS::Logs::LogGroup").values()}
    swept = {
        match[1]
        for _, role in roles(template)
        for statement in statements(role)
        if "logs:DeleteLogStream" in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
        if (match := re.search(r":log-group:([^:]+):log-stream:\$\{NamePrefix\}-v20\*$", text(resource)))
    }
    written = {
        match[1]
        for _, role in roles(template)
        for statement in statements(role)
        if "logs:PutLogEvents" in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
        if (match := re.search(r":log-group:(/aws/sagemaker/[^:]+)", text(resource)))
    }
    return [f"nobody forgets the logs of {group}" for group in sorted(written - made - swept)]


# What nobody reads any more at that age: reasons are in the ledger, counts are written again, a job has ended.
MAY_EXPIRE = {"quarantine/", "checkpoints/", "logs/", "counts/"}
STORED_BY_USE = {
    "DataBucket": {"raw/", "datasets/"},
    "ArtifactsBucket": {"training/", "runs/", "batch/"},
}


def nothing_that_is_needed_expires(template: Template) -> list[str]:
    """Data that an endpoint, a champion or a rollback may need have no age: they move to a cheaper class that is read
    at once and free of charge, and only overwritten versions, broken uploads and MAY_EXPIRE go away by themselves.
    """
    faults = []
    for name, bucket in of_type(template, "AWS::S3::Bucket").items():
        lifecycle = bucket.get("LifecycleConfiguration", {}).get("Rules", [])
        for rule in lifecycle:
            expires = {"ExpirationInDays", "ExpirationDate"} & set(rule)
            if expires and rule.get("Prefix") not in MAY_EXPIRE:
                faults.append(f"{name} forgets {rule.get('Prefix', 'everything')} by its age ({rule['Id']})")
            for move in rule.get("Transitions", []):
                if move["StorageClass"] != "INTELLIGENT_TIERING":
                    faults.append(f"{name} moves {rule.get('Prefix')} to {move['StorageClass']}")
        moved = {rule.get("Prefix") for rule in lifecycle if rule.get("Transitions")}
        if moved != STORED_BY_USE.get(name, set()):
            faults.append(f"{name} stores {sorted(map(str, moved))} by use, not {sorted(STORED_BY_USE.get(name, []))}")
        if not any(rule.get("ExpiredObjectDeleteMarker") for rule in lifecycle):
            faults.append(f"{name} keeps the markers of deleted objects forever")
    return faults


PAID = ("AWS::EMRServerless::Application",)


def every_cost_is_tagged(template: Template) -> list[str]:
    """A resource that bills for jobs has the tags of what functions create, also where a stack is deployed without the
    tags of samconfig.toml.
    """
    wanted: dict[str, Any] = {"application": "ncf-recommender", "stack": {"Ref": "NamePrefix"}}
    return [
        f"{name} lacks the tag {key}"
        for kind in PAID
        for name, resource in of_type(template, kind).items()
        for key, value in wanted.items()
        if {"Key": key, "Value": value} not in resource.get("Tags", [])
    ]


def budget_is_heard(template: Template) -> list[str]:
    """The budget counts this stack alone, is wanted by a parameter, and may publish to the encrypted topic."""
    faults = []
    budget = template["Resources"]["Budget"]
    if budget.get("Condition") != "HasBudget":
        faults.append("Budget is made unasked")
    if budget["Properties"]["Budget"].get("CostFilters", {}).get("TagKeyValue") != [
        {"Fn::Join": ["$", ["user:stack", {"Ref": "NamePrefix"}]]}
    ]:
        faults.append("Budget counts what is not this stack's")
    for notification in budget["Properties"]["NotificationsWithSubscribers"]:
        if [one["Address"] for one in notification["Subscribers"]] != [{"Ref": "NotificationsTopic"}]:
            faults.append("Budget tells nobody")
    for name, policy in (("NotificationsKey", "KeyPolicy"), ("NotificationsTopicPolicy", "PolicyDocument")):
        allowed = template["Resources"][name]["Properties"][policy]["Statement"]
        if not any(
            "budgets.amazonaws.com" in as_list(one["Principal"].get("Service", []))
            for one in allowed
            if isinstance(one["Principal"], dict)
        ):
            faults.append(f"{name} does not let the budget publish")
    return faults
