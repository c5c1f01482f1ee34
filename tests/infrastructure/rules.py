"""Rules that the whole template must follow. Each takes the transformed template and returns its faults as sentences.
`test_rules.py` breaks the template once for each rule, to see the rule fail.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from contracts import model_image
from tests.infrastructure import rules_of_costs, rules_of_keys, rules_of_releases
from tests.infrastructure.templates import as_list, of_type, roles, statements, text

Template = dict[str, Any]

# Calls for which IAM has no resource. A condition must narrow them if one exists.
WITHOUT_RESOURCE = {
    "ecr:GetAuthorizationToken": None,
    "sagemaker:ListEndpointConfigs": None,
    "sagemaker:ListEndpoints": None,
    "cloudwatch:PutMetricData": "cloudwatch:namespace",
    "logs:CreateLogDelivery": None,
    "logs:GetLogDelivery": None,
    "logs:UpdateLogDelivery": None,
    "logs:DeleteLogDelivery": None,
    "logs:ListLogDeliveries": None,
    "logs:PutResourcePolicy": None,
    "logs:DescribeResourcePolicies": None,
    "logs:DescribeLogGroups": None,
}
# Services with many resources that are not ours: "*" may replace a part of a name, never the whole name.
ANY_NAME = re.compile(
    r":(training-job|model|endpoint|endpoint-config|function|stateMachine|applications|rule|alarm|log-group)[:/]\*$"
)
# A role reads or writes objects below a prefix, never a whole bucket.
ANY_OBJECT = re.compile(r"Bucket\.Arn\}/\*$|^arn:[^:]*:s3:::[^/]*/?\*$")


def _identity_statements(template: Template) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, role in roles(template):
        for statement in statements(role):
            yield f"{name}/{statement.get('Sid', '?')}", statement


def no_managed_policies(template: Template) -> list[str]:
    """No managed policies, because AWS may extend them: every permission is written in the template."""
    faults = [f"{name} has managed policies" for name, role in roles(template) if role.get("ManagedPolicyArns")]
    faults += [f"{name} is a managed policy" for name in of_type(template, "AWS::IAM::ManagedPolicy")]
    return faults


def no_wildcard_actions(template: Template) -> list[str]:
    """An action is named in full, so that a permission can be read."""
    faults = []
    for where, statement in _identity_statements(template):
        if statement["Effect"] == "Allow":
            faults += [f"{where} allows {action}" for action in as_list(statement["Action"]) if "*" in action]
        if "NotAction" in statement or "NotResource" in statement:
            faults.append(f"{where} allows by exclusion")
    return faults


def no_wildcard_resources(template: Template) -> list[str]:
    """A resource is named if IAM allows it. If not, the statement has only such calls, and the condition that narrows
    them."""
    faults = []
    for where, statement in _identity_statements(template):
        resources = [text(resource) for resource in as_list(statement["Resource"])]
        if "*" in resources:
            for action in as_list(statement["Action"]):
                if action not in WITHOUT_RESOURCE:
                    faults.append(f"{where} allows {action} on *")
                    continue
                key = WITHOUT_RESOURCE[action]
                if key and key not in json.dumps(statement.get("Condition", {})):
                    faults.append(f"{where} allows {action} on * without a condition on {key}")
        faults += [
            f"{where} names any resource: {resource}"
            for resource in resources
            if ANY_NAME.search(resource) or ANY_OBJECT.search(resource)
        ]
    return faults


def pass_role_is_narrow(template: Template) -> list[str]:
    """A role is passed by its exact ARN, to one service."""
    faults = []
    for where, statement in _identity_statements(template):
        if "iam:PassRole" not in as_list(statement["Action"]):
            continue
        for resource in as_list(statement["Resource"]):
            if not re.fullmatch(r"\$\{\w+Role\.Arn\}", text(resource)):
                faults.append(f"{where} passes {text(resource)}, which is not the ARN of one role")
        services = statement.get("Condition", {}).get("StringEquals", {}).get("iam:PassedToService")
        if not isinstance(services, str) or not services.endswith(".amazonaws.com"):
            faults.append(f"{where} passes a role without iam:PassedToService")
    return faults


def every_function_has_its_own_role(template: Template) -> list[str]:
    """Each function has its own role; with a shared role, functions have each other's permissions."""
    faults: list[str] = []
    owners: dict[str, str] = {}
    for name, function in of_type(template, "AWS::Lambda::Function").items():
        role = text(function["Role"])
        if role in owners:
            faults.append(f"{name} shares {role} with {owners[role]}")
        owners[role] = name
        expected = f"${{{name.removesuffix('Function')}Role.Arn}}"
        if role != expected:
            faults.append(f"{name} has the role {role}, not {expected}")
    return faults


def trust_is_narrow(template: Template) -> list[str]:
    """A service may act for this account alone, so that no other account can use it as a deputy. Lambda sends no such
    condition."""
    faults = []
    for name, role in roles(template):
        for statement in role["AssumeRolePolicyDocument"]["Statement"]:
            principal = statement["Principal"].get("Service")
            if principal is None or statement["Action"] != "sts:AssumeRole":
                faults.append(f"{name} trusts something else than a service")
            elif principal != "lambda.amazonaws.com" and "aws:SourceAccount" not in json.dumps(
                statement.get("Condition", {})
            ):
                faults.append(f"{name} trusts {principal} for every account")
    return faults


def every_rule_target_has_a_dead_letter_queue(template: Template) -> list[str]:
    """An event that a rule or a schedule could not deliver is kept, after a bounded number of retries."""
    faults = []
    targets = [
        (f"{name}/{target['Id']}", target)
        for name, rule in of_type(template, "AWS::Events::Rule").items()
        for target in rule["Targets"]
    ]
    targets += [(name, schedule["Target"]) for name, schedule in of_type(template, "AWS::Scheduler::Schedule").items()]
    for where, target in targets:
        if text(target.get("DeadLetterConfig", {}).get("Arn")) != "${DeadLetterQueue.Arn}":
            faults.append(f"{where} has no dead-letter queue")
        if set(target.get("RetryPolicy", {})) != {"MaximumRetryAttempts", "MaximumEventAgeInSeconds"}:
            faults.append(f"{where} has no retry policy")
    return faults


def queue_takes_letters_of_every_rule(template: Template) -> list[str]:
    """A rule without the queue's permission loses its dead letters silently."""
    allowed = json.dumps(template["Resources"]["DeadLetterQueuePolicy"]["Properties"])
    return [
        f"DeadLetterQueuePolicy does not name {rule}"
        for rule in of_type(template, "AWS::Events::Rule")
        if f'["{rule}", "Arn"]' not in allowed
    ]


# A function itself, or the alias of its last version.
CALLED = re.compile(r"\$\{(\w+Function)(?:\.Arn\}(?::live)?|Aliaslive\})")


def asynchronous_functions(template: Template) -> set[str]:
    """Logical ids of the functions that are called asynchronously: rules, schedules, custom resources, other
    functions."""
    called = []
    for rule in of_type(template, "AWS::Events::Rule").values():
        called += [target["Arn"] for target in rule["Targets"]]
    called += [schedule["Target"]["Arn"] for schedule in of_type(template, "AWS::Scheduler::Schedule").values()]
    called += [
        resource["Properties"]["ServiceToken"]
        for resource in template["Resources"].values()
        if resource["Type"].startswith("Custom::")
    ]
    for name, role in roles(template):
        if name.removesuffix("Role") + "Function" not in template["Resources"]:
            continue
        for statement in statements(role):
            if "lambda:InvokeFunction" in as_list(statement["Action"]):
                called += as_list(statement["Resource"])
    arns = (CALLED.fullmatch(text(arn)) for arn in called)
    return {match[1] for match in arns if match}


def every_asynchronous_function_has_a_dead_letter_queue(template: Template) -> list[str]:
    """A function that is called asynchronously has a dead-letter queue: Lambda drops an event after three attempts."""
    kept = {
        text(config["FunctionName"]).strip("${}"): config
        for config in of_type(template, "AWS::Lambda::EventInvokeConfig").values()
    }
    faults = []
    for name in sorted(asynchronous_functions(template)):
        destination = kept.get(name, {}).get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
        if text(destination) != "${DeadLetterQueue.Arn}":
            faults.append(f"{name} is called asynchronously and has no dead-letter queue")
            continue
        role = template["Resources"][name.removesuffix("Function") + "Role"]["Properties"]
        sends = [s for s in statements(role) if "sqs:SendMessage" in as_list(s["Action"])]
        if not any(text(r) == "${DeadLetterQueue.Arn}" for s in sends for r in as_list(s["Resource"])):
            faults.append(f"{name} may not send to its dead-letter queue")
    return faults


def every_log_group_forgets(template: Template) -> list[str]:
    """Logs that are kept forever cost forever."""
    return [
        f"{name} has no retention"
        for name, group in of_type(template, "AWS::Logs::LogGroup").items()
        if group.get("RetentionInDays") != {"Ref": "LogRetentionDays"}
    ]


def every_function_logs_into_its_own_group(template: Template) -> list[str]:
    """Each function has a log group with a retention, and its role may write only into that group."""
    faults = []
    for name, function in of_type(template, "AWS::Lambda::Function").items():
        group = name.removesuffix("Function") + "LogGroup"
        if function.get("LoggingConfig", {}).get("LogGroup") != {"Ref": group}:
            faults.append(f"{name} does not log into {group}")
        role = template["Resources"][name.removesuffix("Function") + "Role"]["Properties"]
        for statement in statements(role):
            actions = as_list(statement["Action"])
            if any(action.startswith(("logs:Create", "logs:Put", "logs:*")) for action in actions):
                resources = {text(resource) for resource in as_list(statement["Resource"])}
                if resources != {f"${{{group}.Arn}}"}:
                    faults.append(f"{name} may write logs into {sorted(resources)}")
    return faults


def stateful_resources_are_kept(template: Template) -> list[str]:
    """Data and decisions stay when the stack is deleted."""
    kinds = ("AWS::S3::Bucket", "AWS::DynamoDB::Table")
    faults = []
    for name, resource in template["Resources"].items():
        if resource["Type"] in kinds:
            if resource.get("DeletionPolicy") not in ("Retain", "RetainExceptOnCreate"):
                faults.append(f"{name} is deleted with the stack")
            if resource.get("UpdateReplacePolicy") != "Retain":
                faults.append(f"{name} is deleted when it is replaced")
    return faults


def buckets_are_private_encrypted_and_versioned(template: Template) -> list[str]:
    """Every bucket: no public access, encryption, versions, a lifecycle, and no plain HTTP."""
    faults = []
    refusing = json.dumps(of_type(template, "AWS::S3::BucketPolicy"))
    for name, bucket in of_type(template, "AWS::S3::Bucket").items():
        access = bucket.get("PublicAccessBlockConfiguration", {})
        if len(access) != 4 or not all(value is True for value in access.values()):
            faults.append(f"{name} does not block public access")
        if bucket.get("VersioningConfiguration", {}).get("Status") != "Enabled":
            faults.append(f"{name} keeps no versions")
        if "BucketEncryption" not in bucket:
            faults.append(f"{name} is not encrypted")
        lifecycle = bucket.get("LifecycleConfiguration", {}).get("Rules", [])
        if not any(
            "NoncurrentVersionExpiration" in rule and "AbortIncompleteMultipartUpload" in rule for rule in lifecycle
        ):
            faults.append(f"{name} keeps overwritten objects and broken uploads forever")
        policy = template["Resources"].get(f"{name}Policy", {}).get("Properties", {})
        if '"aws:SecureTransport": "false"' not in json.dumps(policy) or name not in refusing:
            faults.append(f"{name} takes plain HTTP")
    return faults


# Prefixes that cannot be told: PreparationSource is another's bucket, and Firehose's documentation names none.
ANY_PREFIX = {"PreparationJobRole/ListSource", "EventsStreamRole/FindBucketAndOpenUploads"}
LISTING = {"s3:ListBucket", "s3:ListBucketVersions"}


def listings_are_restricted(template: Template) -> list[str]:
    """A role lists only below the folders that it reads. It may list below each of them, because S3 says that an object
    is absent only to who could list it.
    """
    faults = []
    for name, role in roles(template):
        reads: set[tuple[str, str]] = set()
        for statement in statements(role):
            if "s3:GetObject" in as_list(statement["Action"]):
                for resource in map(text, as_list(statement["Resource"])):
                    bucket, _, key = resource.partition("/")
                    reads.add((bucket, key.partition("/")[0]))
        listed: dict[str, set[str]] = {}
        for statement in statements(role):
            actions, where = set(as_list(statement["Action"])), f"{name}/{statement['Sid']}"
            if not actions & LISTING or where in ANY_PREFIX:
                continue
            patterns = as_list(statement.get("Condition", {}).get("StringLike", {}).get("s3:prefix", []))
            if not patterns or not all(re.fullmatch(r"[a-z]+(/.*)?\*", pattern) for pattern in patterns):
                faults.append(f"{where} lists any folder: {patterns}")
            if actions - LISTING:
                faults.append(f"{where} has the condition s3:prefix for {sorted(actions - LISTING)}, which lack it")
            for bucket in map(text, as_list(statement["Resource"])):
                listed.setdefault(bucket, set()).update(pattern.rstrip("*").strip("/") for pattern in patterns)
        faults += [
            f"{name} reads {bucket}/{folder} and would not hear that an object is absent"
            for bucket, folder in sorted(reads)
            if bucket in listed and folder not in listed[bucket]
        ]
    return faults


def state_machines_are_logged_without_data(template: Template) -> list[str]:
    """State machines log everything except the data, which contains task tokens."""
    faults = []
    for name, machine in of_type(template, "AWS::StepFunctions::StateMachine").items():
        logging = machine.get("LoggingConfiguration", {})
        if logging.get("Level") != "ALL" or not logging.get("Destinations"):
            faults.append(f"{name} is not logged")
        if logging.get("IncludeExecutionData") is not False:
            faults.append(f"{name} logs execution data")
    return faults


OUR_SOURCE = "ncf.recommender"


def rules_are_narrow(template: Template) -> list[str]:
    """A rule matches only events of this account, from a named source, about our resources."""
    faults = []
    for name, rule in of_type(template, "AWS::Events::Rule").items():
        pattern = rule["EventPattern"]
        if not all(source.startswith("aws.") or source == OUR_SOURCE for source in pattern.get("source", [""])):
            faults.append(f"{name} takes events of any source")
        if pattern.get("account") != [{"Ref": "AWS::AccountId"}]:
            faults.append(f"{name} takes events of any account")
        if not pattern.get("detail-type") or not pattern.get("detail"):
            faults.append(f"{name} takes events about anything")
    return faults


CHANGING = re.compile(r":(?!Describe|List|Get|Query|Filter)")


def stacks_keep_apart(template: Template) -> list[str]:
    """Two stacks of one account and region, such as `ncf` and `ncf-prod`, never touch each other: rules take events of
    this stack only, and what changes something names `<NamePrefix>-v20…`, which begins no name of another stack.
    """
    faults = []
    for name, rule in of_type(template, "AWS::Events::Rule").items():
        detail = rule["EventPattern"].get("detail", {})
        if OUR_SOURCE in rule["EventPattern"].get("source", []) and detail.get("namePrefix") != [{"Ref": "NamePrefix"}]:
            faults.append(f"{name} takes events of another stack")
        for field, values in detail.items():
            if any(isinstance(value, dict) and text(value.get("prefix", "")) == "${NamePrefix}-v" for value in values):
                faults.append(f"{name} matches {field} of another stack")
    for name, role in of_type(template, "AWS::IAM::Role").items():
        for statement in statements(role):
            wide = any("${NamePrefix}-*" in text(resource) for resource in as_list(statement["Resource"]))
            if wide and any(CHANGING.search(action) for action in as_list(statement["Action"])):
                faults.append(f"{name}/{statement['Sid']} may change what is another stack's")
    return faults


def partitions_are_not_assumed(template: Template) -> list[str]:
    """Nothing names the partition or the domain of AWS that China and GovCloud do not have."""
    sections = {name: template[name] for name in ("Resources", "Outputs")}
    assumed = re.compile(r"arn:aws[:-]|console\.aws\.amazon\.com|\$\{AWS::Region\}\.amazonaws\.com")
    return [f"{where} names the partition aws" for where in _find(sections, assumed)]


def functions_are_called_by_named_sources_only(template: Template) -> list[str]:
    """A service may call a function only for one named resource of ours."""
    return [
        f"{name} lets {permission['Principal']} call for anything"
        for name, permission in of_type(template, "AWS::Lambda::Permission").items()
        if not permission.get("SourceArn") or text(permission["SourceArn"]).endswith(":*")
    ]


def routes_are_guarded(template: Template) -> list[str]:
    """Every route requires a signature or a token, and the token's scope: to write for events, to read for others."""
    wanted = {"Fn::If": ["HasJwt", "JWT", "AWS_IAM"]}
    faults = []
    for name, route in of_type(template, "AWS::ApiGatewayV2::Route").items():
        if route.get("AuthorizationType") != wanted:
            faults.append(f"{name} ({route['RouteKey']}) is open")
        scopes = "JwtWriteScopes" if route["RouteKey"] == "POST /events" else "JwtReadScopes"
        given = {"Fn::If": [f"Has{scopes}", {"Fn::Split": [",", {"Ref": scopes}]}, {"Ref": "AWS::NoValue"}]}
        if route.get("AuthorizationScopes") != given:
            faults.append(f"{name} ({route['RouteKey']}) does not ask for {scopes}")
    return faults


def images_are_named_by_digest(template: Template) -> list[str]:
    """An image is named by its digest, because a tag can move: the parameter is read from Parameter Store, and the
    custom resource Settings gets its value with all others (`contracts/model_image.py` has the pattern)."""
    faults = [f"the template names the tag latest: {where}" for where in _find(template, re.compile(r":latest\b"))]
    parameter = template["Parameters"]["ModelImageUri"]
    if parameter["Type"] != "AWS::SSM::Parameter::Value<String>" or parameter.get("Default") != model_image.PARAMETER:
        faults.append(f"ModelImageUri is not the value of {model_image.PARAMETER} in Parameter Store")
    wanted = {name: {"Ref": name} for name in template["Parameters"]}
    if template["Resources"].get("Settings", {}).get("Properties", {}).get("Values") != wanted:
        faults.append("Settings does not see every parameter")
    account = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
    for domain in (account, f"{account}.cn"):
        if not model_image.is_pinned(f"{domain}/team/ncf@sha256:{'0' * 64}"):
            faults.append(f"a digest of {domain} is refused")
    for bad in (f"{account}/ncf:latest", f"{account}/ncf:1.0", f"{account}/ncf", f"{account}/ncf:1@sha256:{'0' * 64}"):
        if model_image.is_pinned(bad):
            faults.append(f"the image {bad} is taken")
    return faults


def parameters_explain_themselves(template: Template) -> list[str]:
    """Every parameter has a description, a sentence for a refused value, and a place in the form."""
    faults = []
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]
    for name, parameter in template["Parameters"].items():
        if len(parameter.get("Description", "")) < 15:
            faults.append(f"{name} has no description")
        if "AllowedPattern" in parameter and not parameter.get("ConstraintDescription"):
            faults.append(f"{name} does not explain its pattern")
        constrained = {"AllowedPattern", "AllowedValues", "MinValue"} & set(parameter)
        if not constrained and name != "JwtAudience":
            faults.append(f"{name} takes anything")
        if grouped.count(name) != 1:
            faults.append(f"{name} is in {grouped.count(name)} groups of the interface")
        pattern, default = parameter.get("AllowedPattern", ".*"), parameter.get("Default")
        if default is not None and not re.fullmatch(pattern, str(default)):
            faults.append(f"{name} refuses its own default")
    faults += [
        f"the interface shows {name}, which does not exist" for name in set(grouped) - set(template["Parameters"])
    ]
    faults += [
        f"output {name} has no description"
        for name, output in template["Outputs"].items()
        if len(output.get("Description", "")) < 15
    ]
    return faults


def alarms_are_heard(template: Template) -> list[str]:
    """Every alarm says what it means and notifies, except the one for failures that handle_failure has already
    reported."""
    faults = []
    prefix = "${NamePrefix}-"
    for name, alarm in of_type(template, "AWS::CloudWatch::Alarm").items():
        if len(text(alarm.get("AlarmDescription", ""))) < 20:
            faults.append(f"{name} does not say what it means")
        if not text(alarm.get("AlarmName", "")).startswith(prefix):
            faults.append(f"{name} is not named after the stack, so the topic would refuse it")
        if name != "RunFailedAlarm" and alarm.get("AlarmActions") != [{"Ref": "NotificationsTopic"}]:
            faults.append(f"{name} calls nobody")
        if alarm.get("TreatMissingData") != "notBreaching":
            faults.append(f"{name} alarms when nothing happens")
    return faults


def _find(value: Any, pattern: re.Pattern[str], path: str = "") -> list[str]:
    if isinstance(value, dict):
        return [hit for key, child in value.items() for hit in _find(child, pattern, f"{path}/{key}")]
    if isinstance(value, list):
        return [hit for i, child in enumerate(value) for hit in _find(child, pattern, f"{path}/{i}")]
    return [path] if isinstance(value, str) and pattern.search(value) else []


ALL = [
    no_managed_policies,
    no_wildcard_actions,
    no_wildcard_resources,
    pass_role_is_narrow,
    every_function_has_its_own_role,
    trust_is_narrow,
    every_rule_target_has_a_dead_letter_queue,
    queue_takes_letters_of_every_rule,
    every_asynchronous_function_has_a_dead_letter_queue,
    every_log_group_forgets,
    rules_of_costs.logs_of_sagemaker_are_forgotten,
    every_function_logs_into_its_own_group,
    stateful_resources_are_kept,
    buckets_are_private_encrypted_and_versioned,
    rules_of_costs.nothing_that_is_needed_expires,
    rules_of_costs.every_cost_is_tagged,
    rules_of_costs.budget_is_heard,
    state_machines_are_logged_without_data,
    rules_are_narrow,
    functions_are_called_by_named_sources_only,
    listings_are_restricted,
    rules_of_keys.the_customers_key_is_everywhere,
    rules_of_keys.the_customers_key_is_used_narrowly,
    routes_are_guarded,
    images_are_named_by_digest,
    rules_of_releases.executions_keep_their_code,
    rules_of_releases.settings_see_what_versions_depend_on,
    rules_of_releases.nothing_is_traced_in_part,
    rules_of_releases.customers_wait_for_no_new_runtime,
    stacks_keep_apart,
    partitions_are_not_assumed,
    parameters_explain_themselves,
    alarms_are_heard,
]
