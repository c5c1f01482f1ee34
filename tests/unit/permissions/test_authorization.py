"""Questions to IAM about a call: actions, resources and condition keys, by AWS's service authorization reference."""

from __future__ import annotations

from typing import Any

import pytest

from tests.permissions.authorization import Call, Question, Surroundings, Unclear, questions

ROLE = "arn:aws:iam::000000000000:role/ncf-Role"
MACHINE = "arn:aws:states:us-east-1:000000000000:stateMachine:ncf-batch"
TOPIC = "arn:aws:sns:us-east-1:000000000000:ncf-notifications"
KEY = "arn:aws:kms:us-east-1:000000000000:key/1"
TOKEN = "ab" * 32
AROUND = Surroundings({TOKEN: MACHINE}, {TOPIC: KEY})


def about(service: str, operation: str, status: int = 0, **parameters: Any) -> list[Question]:
    return questions(Call(ROLE, service, operation, parameters, status=status), AROUND)


def arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:us-east-1:000000000000:{resource}"


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "expected"),
    [
        ("s3", "GetObject", {"Bucket": "b", "Key": "a/k"}, [("s3:GetObject", "arn:aws:s3:::b/a/k")]),
        ("s3", "HeadObject", {"Bucket": "b", "Key": "k"}, [("s3:GetObject", "arn:aws:s3:::b/k")]),
        (
            "s3",
            "GetObject",
            {"Bucket": "b", "Key": "k", "VersionId": "1"},
            [("s3:GetObjectVersion", "arn:aws:s3:::b/k")],
        ),
        ("s3", "UploadPart", {"Bucket": "b", "Key": "k"}, [("s3:PutObject", "arn:aws:s3:::b/k")]),
        ("s3", "ListObjectsV2", {"Bucket": "b"}, [("s3:ListBucket", "arn:aws:s3:::b")]),
        ("s3", "ListObjectVersions", {"Bucket": "b"}, [("s3:ListBucketVersions", "arn:aws:s3:::b")]),
        (
            "s3",
            "CopyObject",
            {"Bucket": "b", "Key": "k", "CopySource": "/c/a%20b"},
            [("s3:PutObject", "arn:aws:s3:::b/k"), ("s3:GetObject", "arn:aws:s3:::c/a b")],
        ),
        (
            "s3",
            "DeleteObjects",
            {"Bucket": "b", "Objects": [{"Key": "k"}, {"Key": "l", "VersionId": "1"}]},
            [("s3:DeleteObject", "arn:aws:s3:::b/k"), ("s3:DeleteObjectVersion", "arn:aws:s3:::b/l")],
        ),
        ("s3", "ListBuckets", {}, [("s3:ListAllMyBuckets", "*")]),
        ("lambda", "Invoke", {"FunctionName": "f"}, [("lambda:InvokeFunction", arn("lambda", "function:f"))]),
        (
            "lambda",
            "Invoke",
            {"FunctionName": arn("lambda", "function:f:live")},
            [("lambda:InvokeFunction", arn("lambda", "function:f:live"))],
        ),
        ("dynamodb", "Query", {"TableName": "t"}, [("dynamodb:Query", arn("dynamodb", "table/t"))]),
        (
            "dynamodb",
            "Query",
            {"TableName": "t", "IndexName": "i"},
            [("dynamodb:Query", arn("dynamodb", "table/t/index/i"))],
        ),
        (
            "dynamodb",
            "BatchWriteItem",
            {"RequestItems": {"t": [], "u": []}},
            [("dynamodb:BatchWriteItem", arn("dynamodb", f"table/{one}")) for one in "tu"],
        ),
        (
            "dynamodb",
            "TransactWriteItems",
            {"TransactItems": [{"Put": {"TableName": "t"}}, {"ConditionCheck": {"TableName": "u"}}]},
            [
                ("dynamodb:PutItem", arn("dynamodb", "table/t")),
                ("dynamodb:ConditionCheckItem", arn("dynamodb", "table/u")),
            ],
        ),
        (
            "stepfunctions",
            "DescribeExecution",
            {"executionArn": arn("states", "execution:m:1")},
            [("states:DescribeExecution", arn("states", "execution:m:1"))],
        ),
        ("stepfunctions", "SendTaskSuccess", {"taskToken": TOKEN}, [("states:SendTaskSuccess", MACHINE)]),
        (
            "sagemaker-runtime",
            "InvokeEndpoint",
            {"EndpointName": "e"},
            [("sagemaker:InvokeEndpoint", arn("sagemaker", "endpoint/e"))],
        ),
        (
            "sagemaker",
            "UpdateEndpoint",
            {"EndpointName": "e", "EndpointConfigName": "c"},
            [
                ("sagemaker:UpdateEndpoint", arn("sagemaker", "endpoint-config/c")),
                ("sagemaker:UpdateEndpoint", arn("sagemaker", "endpoint/e")),
            ],
        ),
        (
            "sagemaker",
            "DescribeModelPackage",
            {"ModelPackageName": arn("sagemaker", "model-package/g/1")},
            [("sagemaker:DescribeModelPackage", arn("sagemaker", "model-package/g/1"))],
        ),
        ("sagemaker", "ListEndpoints", {}, [("sagemaker:ListEndpoints", "*")]),
        (
            "sqs",
            "SendMessage",
            {"QueueUrl": "http://127.0.0.1:4566/000000000000/q"},
            [("sqs:SendMessage", arn("sqs", "q"))],
        ),
        (
            "cloudwatch",
            "DescribeAlarms",
            {"AlarmNames": ["a", "b"]},
            [("cloudwatch:DescribeAlarms", arn("cloudwatch", f"alarm:{name}")) for name in "ab"],
        ),
        (
            "logs",
            "FilterLogEvents",
            {"logGroupName": "/g"},
            [("logs:FilterLogEvents", arn("logs", "log-group:/g:log-stream:"))],
        ),
        (
            "emr-serverless",
            "GetJobRun",
            {"applicationId": "a", "jobRunId": "j"},
            [("emr-serverless:GetJobRun", arn("emr-serverless", "/applications/a/jobruns/j"))],
        ),
        (
            "events",
            "PutEvents",
            {"Entries": [{"Source": "x"}]},
            [("events:PutEvents", arn("events", "event-bus/default"))],
        ),
    ],
)
def test_a_call_needs_its_action_on_its_resource(
    service: str, operation: str, parameters: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert [(one.action, one.resource) for one in about(service, operation, **parameters)] == expected


def test_a_key_that_does_not_exist_needs_the_permission_to_list_the_bucket() -> None:
    read, listed = about("s3", "GetObject", 404, Bucket="b", Key="a/k")
    assert read.action == "s3:GetObject"
    assert listed == Question("s3:ListBucket", "arn:aws:s3:::b", {"s3:prefix": "a/k"})


def test_a_request_that_names_a_role_passes_it_to_the_service() -> None:
    _, passed = about("sagemaker", "CreateTrainingJob", TrainingJobName="j", RoleArn=ROLE)
    assert passed == Question("iam:PassRole", ROLE, {"iam:PassedToService": "sagemaker.amazonaws.com"})
    _, passed = about("emr-serverless", "StartJobRun", applicationId="a", executionRoleArn=ROLE)
    assert passed == Question("iam:PassRole", ROLE, {"iam:PassedToService": "emr-serverless.amazonaws.com"})


def test_tags_at_creation_need_the_permission_to_tag() -> None:
    tags = [{"Key": "stack", "Value": "ncf"}]
    created, tagged = about("sagemaker", "CreateTransformJob", TransformJobName="j", Tags=tags)
    assert (created.action, tagged.action) == ("sagemaker:CreateTransformJob", "sagemaker:AddTags")
    assert tagged.resource == arn("sagemaker", "transform-job/j")
    assert tagged.context == {"aws:RequestTag/stack": "ncf", "aws:TagKeys": ["stack"]}


def test_a_publisher_needs_the_key_of_an_encrypted_topic() -> None:
    keys = [one for one in about("sns", "Publish", TopicArn=TOPIC) if one.resource == KEY]
    assert [one.action for one in keys] == ["kms:Decrypt", "kms:GenerateDataKey"]
    assert keys[0].context == {"kms:ViaService": "sns.us-east-1.amazonaws.com"}


def test_the_request_sets_condition_keys() -> None:
    [listed] = about("s3", "ListObjectsV2", Bucket="b", Prefix="raw/", Delimiter="/")
    assert listed.context == {"s3:prefix": "raw/", "s3:delimiter": "/"}
    [put] = about("cloudwatch", "PutMetricData", Namespace="N")
    assert put == Question("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "N"})


def test_what_cannot_be_told_is_refused() -> None:
    with pytest.raises(Unclear, match="no resource of"):
        about("sagemaker", "DescribeEndpoint")
    with pytest.raises(Unclear, match="has no action s3:GetEverything"):
        about("s3", "GetEverything")
    with pytest.raises(Unclear, match="no recorded task has its token"):
        about("stepfunctions", "SendTaskSuccess", taskToken="unknown")
