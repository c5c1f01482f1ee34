"""The template follows the rules of `rules.py`, and each rule fails for a template that breaks it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.infrastructure import rules, rules_of_costs, rules_of_keys, rules_of_releases, templates

Template = dict[str, Any]


@pytest.mark.parametrize("rule", rules.ALL, ids=lambda rule: rule.__name__)
def test_template_keeps(rule: Callable[[Template], list[str]], cloudformation: Template) -> None:
    assert rule(cloudformation) == []


def _properties(template: Template, name: str) -> dict[str, Any]:
    found: dict[str, Any] = template["Resources"][name]["Properties"]
    return found


def _statement(template: Template, role: str, sid: str) -> dict[str, Any]:
    return next(s for s in templates.statements(_properties(template, role)) if s["Sid"] == sid)


def _lifecycle(template: Template, bucket: str, prefix: str | None) -> dict[str, Any]:
    rules = _properties(template, bucket)["LifecycleConfiguration"]["Rules"]
    return next(rule for rule in rules if rule.get("Prefix") == prefix)


def _key_statement(template: Template, role: str) -> dict[str, Any]:
    return _statement(template, role, "UseKey")


Mutation = tuple[Callable[[Template], list[str]], Callable[[Template], Any], str]

MUTATIONS: dict[str, Mutation] = {
    "managed policy": (
        rules.no_managed_policies,
        lambda t: _properties(t, "DeployRole").update(
            ManagedPolicyArns=["arn:aws:iam::aws:policy/AmazonSageMakerFullAccess"]
        ),
        "DeployRole has managed policies",
    ),
    "Action *": (
        rules.no_wildcard_actions,
        lambda t: _statement(t, "DeployRole", "Models").update(Action="*"),
        "DeployRole/Models allows *",
    ),
    "Action sagemaker:*": (
        rules.no_wildcard_actions,
        lambda t: _statement(t, "DeployRole", "Models")["Action"].append("sagemaker:*"),
        "DeployRole/Models allows sagemaker:*",
    ),
    "NotAction": (
        rules.no_wildcard_actions,
        lambda t: _statement(t, "DeployRole", "Models").update(NotAction="iam:*"),
        "DeployRole/Models allows by exclusion",
    ),
    "Resource *": (
        rules.no_wildcard_resources,
        lambda t: _statement(t, "StartTrainingRole", "TrainingJobs").update(Resource="*"),
        "StartTrainingRole/TrainingJobs allows sagemaker:CreateTrainingJob on *",
    ),
    "Resource of any name": (
        rules.no_wildcard_resources,
        lambda t: _statement(t, "DeployRole", "Models").update(
            Resource={"Fn::Sub": "arn:${AWS::Partition}:sagemaker:${AWS::Region}:${AWS::AccountId}:model/*"}
        ),
        "DeployRole/Models names any resource",
    ),
    "objects of any prefix": (
        rules.no_wildcard_resources,
        lambda t: _statement(t, "EvaluateRole", "JobOutput").update(Resource={"Fn::Sub": "${ArtifactsBucket.Arn}/*"}),
        "EvaluateRole/JobOutput names any resource: ${ArtifactsBucket.Arn}/*",
    ),
    "metrics without a namespace": (
        rules.no_wildcard_resources,
        lambda t: _statement(t, "TrainingRole", "Metrics").pop("Condition"),
        "TrainingRole/Metrics allows cloudwatch:PutMetricData on * without a condition on cloudwatch:namespace",
    ),
    "PassRole without its condition": (
        rules.pass_role_is_narrow,
        lambda t: _statement(t, "DeployRole", "PassRole").pop("Condition"),
        "DeployRole/PassRole passes a role without iam:PassedToService",
    ),
    "PassRole of any role": (
        rules.pass_role_is_narrow,
        lambda t: _statement(t, "DeployRole", "PassRole").update(
            Resource={"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/*"}
        ),
        "which is not the ARN of one role",
    ),
    "shared role": (
        rules.every_function_has_its_own_role,
        lambda t: _properties(t, "VerifyFunction").update(Role={"Fn::GetAtt": ["DeployRole", "Arn"]}),
        "shares ${DeployRole.Arn}",
    ),
    "trust without the account": (
        rules.trust_is_narrow,
        lambda t: _properties(t, "TrainingRole")["AssumeRolePolicyDocument"]["Statement"][0].pop("Condition"),
        "TrainingRole trusts sagemaker.amazonaws.com for every account",
    ),
    "trust in a person": (
        rules.trust_is_narrow,
        lambda t: _properties(t, "TrainingRole")["AssumeRolePolicyDocument"]["Statement"][0].update(
            Principal={"AWS": "*"}
        ),
        "TrainingRole trusts something else than a service",
    ),
    "rule without dead letters": (
        rules.every_rule_target_has_a_dead_letter_queue,
        lambda t: _properties(t, "TrainingJobStateRule")["Targets"][0].pop("DeadLetterConfig"),
        "TrainingJobStateRule/on-job-finished has no dead-letter queue",
    ),
    "schedule without dead letters": (
        rules.every_rule_target_has_a_dead_letter_queue,
        lambda t: _properties(t, "ReconcileSchedule")["Target"].pop("DeadLetterConfig"),
        "ReconcileSchedule has no dead-letter queue",
    ),
    "rule without retries": (
        rules.every_rule_target_has_a_dead_letter_queue,
        lambda t: _properties(t, "ManifestCreatedRule")["Targets"][0].pop("RetryPolicy"),
        "ManifestCreatedRule/on-data-ready has no retry policy",
    ),
    "new rule unknown to the queue": (
        rules.queue_takes_letters_of_every_rule,
        lambda t: t["Resources"].update(NewRule=t["Resources"]["EndpointStateRule"]),
        "DeadLetterQueuePolicy does not name NewRule",
    ),
    "asynchronous function without dead letters": (
        rules.every_asynchronous_function_has_a_dead_letter_queue,
        lambda t: t["Resources"].pop("OnDataReadyFunctionEventInvokeConfig"),
        "OnDataReadyFunction is called asynchronously and has no dead-letter queue",
    ),
    "function that may not send dead letters": (
        rules.every_asynchronous_function_has_a_dead_letter_queue,
        lambda t: _statement(t, "ReconcileRole", "DeadLetters").update(Action="sqs:ReceiveMessage"),
        "ReconcileFunction may not send to its dead-letter queue",
    ),
    "log group that never forgets": (
        rules.every_log_group_forgets,
        lambda t: _properties(t, "EvaluateLogGroup").pop("RetentionInDays"),
        "EvaluateLogGroup has no retention",
    ),
    "endpoint whose logs stay": (
        rules_of_costs.logs_of_sagemaker_are_forgotten,
        lambda t: t["Resources"].pop("EndpointLogGroup"),
        "nobody forgets the logs of /aws/sagemaker/Endpoints/${NamePrefix}-recommender",
    ),
    "jobs whose logs stay": (
        rules_of_costs.logs_of_sagemaker_are_forgotten,
        lambda t: _statement(t, "CollectVersionsRole", "OldJobLogs").update(Action="logs:DescribeLogStreams"),
        "nobody forgets the logs of /aws/sagemaker/TrainingJobs",
    ),
    "function without a log group": (
        rules.every_function_logs_into_its_own_group,
        lambda t: _properties(t, "EvaluateFunction").pop("LoggingConfig"),
        "EvaluateFunction does not log into EvaluateLogGroup",
    ),
    "function that writes others' logs": (
        rules.every_function_logs_into_its_own_group,
        lambda t: _statement(t, "EvaluateRole", "Logs").update(Resource={"Fn::GetAtt": ["DeployLogGroup", "Arn"]}),
        "EvaluateFunction may write logs into",
    ),
    "bucket that goes with the stack": (
        rules.stateful_resources_are_kept,
        lambda t: t["Resources"]["DataBucket"].pop("DeletionPolicy"),
        "DataBucket is deleted with the stack",
    ),
    "public bucket": (
        rules.buckets_are_private_encrypted_and_versioned,
        lambda t: _properties(t, "DataBucket")["PublicAccessBlockConfiguration"].update(BlockPublicPolicy=False),
        "DataBucket does not block public access",
    ),
    "bucket without versions": (
        rules.buckets_are_private_encrypted_and_versioned,
        lambda t: _properties(t, "ArtifactsBucket").pop("VersioningConfiguration"),
        "ArtifactsBucket keeps no versions",
    ),
    "bucket without encryption": (
        rules.buckets_are_private_encrypted_and_versioned,
        lambda t: _properties(t, "ArtifactsBucket").pop("BucketEncryption"),
        "ArtifactsBucket is not encrypted",
    ),
    "bucket that takes plain HTTP": (
        rules.buckets_are_private_encrypted_and_versioned,
        lambda t: t["Resources"].pop("ArtifactsBucketPolicy"),
        "ArtifactsBucket takes plain HTTP",
    ),
    "datasets that expire": (
        rules_of_costs.nothing_that_is_needed_expires,
        lambda t: _lifecycle(t, "DataBucket", "datasets/").update(ExpirationInDays=365),
        "DataBucket forgets datasets/ by its age",
    ),
    "a bucket that expires": (
        rules_of_costs.nothing_that_is_needed_expires,
        lambda t: _lifecycle(t, "ArtifactsBucket", None).update(ExpirationInDays=365),
        "ArtifactsBucket forgets everything by its age",
    ),
    "archives in a class that is not read at once": (
        rules_of_costs.nothing_that_is_needed_expires,
        lambda t: _lifecycle(t, "ArtifactsBucket", "training/")["Transitions"][0].update(StorageClass="GLACIER"),
        "ArtifactsBucket moves training/ to GLACIER",
    ),
    "raw data that stay expensive": (
        rules_of_costs.nothing_that_is_needed_expires,
        lambda t: _lifecycle(t, "DataBucket", "raw/").pop("Transitions"),
        "DataBucket stores ['datasets/'] by use",
    ),
    "markers that stay": (
        rules_of_costs.nothing_that_is_needed_expires,
        lambda t: _lifecycle(t, "DataBucket", None).pop("ExpiredObjectDeleteMarker"),
        "DataBucket keeps the markers of deleted objects forever",
    ),
    "jobs that nobody pays for": (
        rules_of_costs.every_cost_is_tagged,
        lambda t: _properties(t, "PreparationApplication")["Tags"].pop(),
        "PreparationApplication lacks the tag stack",
    ),
    "budget of the whole account": (
        rules_of_costs.budget_is_heard,
        lambda t: _properties(t, "Budget")["Budget"].pop("CostFilters"),
        "Budget counts what is not this stack's",
    ),
    "budget that nobody asked for": (
        rules_of_costs.budget_is_heard,
        lambda t: t["Resources"]["Budget"].pop("Condition"),
        "Budget is made unasked",
    ),
    "budget without the key": (
        rules_of_costs.budget_is_heard,
        lambda t: _properties(t, "NotificationsKey")["KeyPolicy"]["Statement"].pop(),
        "NotificationsKey does not let the budget publish",
    ),
    "execution data in the logs": (
        rules.state_machines_are_logged_without_data,
        lambda t: _properties(t, "RetrainingStateMachine")["LoggingConfiguration"].update(IncludeExecutionData=True),
        "RetrainingStateMachine logs execution data",
    ),
    "events of any account": (
        rules.rules_are_narrow,
        lambda t: _properties(t, "ManifestCreatedRule")["EventPattern"].pop("account"),
        "ManifestCreatedRule takes events of any account",
    ),
    "events of another stack": (
        rules.stacks_keep_apart,
        lambda t: _properties(t, "RunEndedRule")["EventPattern"]["detail"].pop("namePrefix"),
        "RunEndedRule takes events of another stack",
    ),
    "jobs of another stack": (
        rules.stacks_keep_apart,
        lambda t: _properties(t, "TrainingJobStateRule")["EventPattern"]["detail"].update(
            TrainingJobName=[{"prefix": {"Fn::Sub": "${NamePrefix}-v"}}]
        ),
        "TrainingJobStateRule matches TrainingJobName of another stack",
    ),
    "models of another stack": (
        rules.stacks_keep_apart,
        lambda t: _statement(t, "DeployRole", "Models").update(
            Resource={"Fn::Sub": "arn:${AWS::Partition}:sagemaker:::model/${NamePrefix}-*"}
        ),
        "DeployRole/Models may change what is another stack's",
    ),
    "partition": (
        rules.partitions_are_not_assumed,
        lambda t: _statement(t, "DeployRole", "Models").update(Resource="arn:aws:sagemaker:::model/x"),
        "names the partition aws",
    ),
    "permission for a whole service": (
        rules.functions_are_called_by_named_sources_only,
        lambda t: _properties(t, "ManifestCreatedPermission").pop("SourceArn"),
        "ManifestCreatedPermission lets events.amazonaws.com call for anything",
    ),
    "listing of a whole bucket": (
        rules.listings_are_restricted,
        lambda t: _statement(t, "RecommendRole", "TellAbsentFromForbidden").pop("Condition"),
        "RecommendRole/TellAbsentFromForbidden lists any folder: []",
    ),
    "listing of any prefix": (
        rules.listings_are_restricted,
        lambda t: _statement(t, "RecommendRole", "TellAbsentFromForbidden")["Condition"]["StringLike"].update(
            {"s3:prefix": ["*"]}
        ),
        "RecommendRole/TellAbsentFromForbidden lists any folder: ['*']",
    ),
    "reading where listing is not allowed": (
        rules.listings_are_restricted,
        lambda t: _statement(t, "VerifyRole", "TellAbsentFromForbidden")["Condition"]["StringLike"].update(
            {"s3:prefix": ["runs/*"]}
        ),
        "VerifyRole reads ${ArtifactsBucket.Arn}/serving and would not hear that an object is absent",
    ),
    "region under a condition of listing": (
        rules.listings_are_restricted,
        lambda t: _statement(t, "ServingRole", "ListBucket").update(Action=["s3:ListBucket", "s3:GetBucketLocation"]),
        "ServingRole/ListBucket has the condition s3:prefix for ['s3:GetBucketLocation'], which lack it",
    ),
    "DataBucket without the customer's key": (
        rules_of_keys.the_customers_key_is_everywhere,
        lambda t: _properties(t, "DataBucket").update(BucketEncryption={"ServerSideEncryptionConfiguration": [{}]}),
        "DataBucket is not encrypted with KmsKeyArn",
    ),
    "EventsTable without the customer's key": (
        rules_of_keys.the_customers_key_is_everywhere,
        lambda t: _properties(t, "EventsTable").update(SSESpecification={"SSEEnabled": True}),
        "EventsTable is not encrypted with KmsKeyArn",
    ),
    "EventsStream without the customer's key": (
        rules_of_keys.the_customers_key_is_everywhere,
        lambda t: _properties(t, "EventsStream").pop("DeliveryStreamEncryptionConfigurationInput"),
        "EventsStream is not encrypted with KmsKeyArn",
    ),
    "NotificationsTopic without the customer's key": (
        rules_of_keys.the_customers_key_is_everywhere,
        lambda t: _properties(t, "NotificationsTopic").pop("KmsMasterKeyId"),
        "NotificationsTopic is not encrypted with KmsKeyArn",
    ),
    "DeadLetterQueue without the customer's key": (
        rules_of_keys.the_customers_key_is_everywhere,
        lambda t: _properties(t, "DeadLetterQueue").update(KmsMasterKeyId={"Ref": "KmsKeyArn"}),
        "DeadLetterQueue is not encrypted with KmsKeyArn",
    ),
    "RecommendLogGroup without the customer's key": (
        rules_of_keys.the_customers_key_is_everywhere,
        lambda t: _properties(t, "RecommendLogGroup").pop("KmsKeyId"),
        "RecommendLogGroup is not encrypted with KmsKeyArn",
    ),
    "key through a service that the role does not call": (
        rules_of_keys.the_customers_key_is_used_narrowly,
        lambda t: _key_statement(t, "RecommendRole")["Condition"].pop("StringEquals"),
        "RecommendRole uses the key through []",
    ),
    "role without the customer's key": (
        rules_of_keys.the_customers_key_is_used_narrowly,
        lambda t: _properties(t, "EventsStreamRole")["Policies"][0]["PolicyDocument"]["Statement"].pop(2),
        "EventsStreamRole uses the key through [], not ['s3.${AWS::Region}.${AWS::URLSuffix}']",
    ),
    "any key": (
        rules_of_keys.the_customers_key_is_used_narrowly,
        lambda t: _key_statement(t, "RecommendRole").update(Resource="*"),
        "RecommendRole/UseKey is not about KmsKeyArn",
    ),
    "key that encrypts elsewhere": (
        rules_of_keys.the_customers_key_is_used_narrowly,
        lambda t: _key_statement(t, "RecommendRole")["Action"].append("kms:ReEncryptTo"),
        "RecommendRole/UseKey allows kms:Decrypt, kms:GenerateDataKey, kms:ReEncryptTo",
    ),
    "grant to anyone": (
        rules_of_keys.the_customers_key_is_used_narrowly,
        lambda t: _statement(t, "TrainingRole", "EncryptVolumes").pop("Condition"),
        "TrainingRole/EncryptVolumes grants the key to others than AWS",
    ),
    "open route": (
        rules.routes_are_guarded,
        lambda t: _properties(t, "HealthRoute").update(AuthorizationType="NONE"),
        "HealthRoute (GET /health) is open",
    ),
    "route that writes with a scope to read": (
        rules.routes_are_guarded,
        lambda t: _properties(t, "EventsRoute").update(
            AuthorizationScopes=_properties(t, "HealthRoute")["AuthorizationScopes"]
        ),
        "EventsRoute (POST /events) does not ask for JwtWriteScopes",
    ),
    "image by tag": (
        rules.images_are_named_by_digest,
        lambda t: t["Parameters"]["ModelImageUri"].update(Type="String"),
        "ModelImageUri is not the value of /ncf/model-image in Parameter Store",
    ),
    "parameter without a look": (
        rules.images_are_named_by_digest,
        lambda t: _properties(t, "Settings")["Values"].pop("GatePolicy"),
        "Settings does not see every parameter",
    ),
    "an execution calls the newest code": (
        rules_of_releases.executions_keep_their_code,
        lambda t: _properties(t, "BatchStateMachine")["DefinitionSubstitutions"].update(
            StartBatchFunctionArn={"Fn::GetAtt": ["StartBatchFunction", "Arn"]}
        ),
        "BatchStateMachine calls ${StartBatchFunction.Arn}, which is not a version of StartBatchFunction",
    ),
    "an earlier version is deleted": (
        rules_of_releases.executions_keep_their_code,
        lambda t: t["Resources"][rules_of_releases.version_of(t, "StartBatchFunction")].pop("UpdateReplacePolicy"),
        "StartBatchFunction's earlier versions are deleted",
    ),
    "a parameter reaches no version": (
        rules_of_releases.executions_keep_their_code,
        lambda t: _properties(t, "StartBatchFunction").pop("Description"),
        "StartBatchFunction gets no version when a parameter changes",
    ),
    "a rule past the alias": (
        rules_of_releases.executions_keep_their_code,
        lambda t: _properties(t, "ExecutionFailedRule")["Targets"][0].update(
            Arn={"Fn::GetAtt": ["HandleFailureFunction", "Arn"]}
        ),
        "HandleFailureFunction is called past its alias",
    ),
    "a permission past the alias": (
        rules_of_releases.executions_keep_their_code,
        lambda t: _properties(t, "HealthPermission").update(FunctionName={"Ref": "RecommendFunction"}),
        "RecommendFunction is called past its alias",
    ),
    "a traced function": (
        rules_of_releases.nothing_is_traced_in_part,
        lambda t: _properties(t, "EvaluateFunction").update(TracingConfig={"Mode": "Active"}),
        "EvaluateFunction is traced",
    ),
    "an SDK that changes by itself": (
        rules_of_releases.customers_wait_for_no_new_runtime,
        lambda t: _properties(t, "EventsFunction").pop("RuntimeManagementConfig"),
        "EventsFunction gets a new SDK at any time",
    ),
    "a variable that no version follows": (
        rules_of_releases.settings_see_what_versions_depend_on,
        lambda t: _properties(t, "Settings")["Variables"].pop("PREPARATION_PY_FILES"),
        "Settings does not see PREPARATION_PY_FILES of StartPreparationFunction",
    ),
    "latest in the template": (
        rules.images_are_named_by_digest,
        lambda t: t["Parameters"]["ModelImageUri"].update(Default="team/ncf:latest"),
        "the template names the tag latest",
    ),
    "parameter without a description": (
        rules.parameters_explain_themselves,
        lambda t: t["Parameters"]["TrainingInstanceType"].pop("Description"),
        "TrainingInstanceType has no description",
    ),
    "silent alarm": (
        rules.alarms_are_heard,
        lambda t: _properties(t, "DeadLetterQueueAlarm").pop("AlarmActions"),
        "DeadLetterQueueAlarm calls nobody",
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_template_is_caught(name: str, cloudformation: Template) -> None:
    rule, break_it, expected = MUTATIONS[name]
    break_it(cloudformation)
    faults = rule(cloudformation)
    assert any(expected in fault for fault in faults), faults


def test_every_rule_has_a_mutation() -> None:
    assert {rule for rule, _, _ in MUTATIONS.values()} == set(rules.ALL)
