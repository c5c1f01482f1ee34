"""The permissions that no end-to-end test uses, and why they stay."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from tests.permissions.replay import Permission


@dataclass(frozen=True)
class Reason:
    """Why `actions` stay that no test uses. `statement` is a pattern of <logical id of the role>.<Sid>."""

    why: str
    statement: str
    actions: tuple[str, ...]

    def fits(self, permission: Permission) -> bool:
        return fnmatchcase(f"{permission.role}.{permission.sid}", self.statement) and any(
            fnmatchcase(permission.action, action) for action in self.actions
        )


REASONS = (
    # What the embedded AWS does not do, or does without a call of the role
    Reason("CodeDeploy, which the embedded AWS has not, moves the aliases of a release", "ReleaseRole.*", ("*",)),
    Reason("EMR asks for it where a job run begins with tags", "*.JobRuns", ("emr-serverless:TagResource",)),
    Reason("EMR looks for the log group of a job", "PreparationJobRole.FindLogGroup", ("logs:DescribeLogGroups",)),
    Reason(
        "the log of a state machine is a log delivery, which Step Functions makes on AWS with these eight actions",
        "*StateMachineRole.DeliverLogs",
        ("logs:*",),
    ),
    Reason("SageMaker, EMR and Firehose ask for the region of a bucket", "*", ("s3:GetBucketLocation",)),
    Reason(
        "parts of uploads above 64 MiB, which are taken back when they fail: the tests' objects are smaller",
        "*",
        ("s3:AbortMultipartUpload", "s3:ListBucketMultipartUploads"),
    ),
    Reason(
        "Spark moves files within S3 and reads its logs; here it writes into a folder, which the host copies",
        "PreparationJobRole.*",
        ("s3:DeleteObject", "s3:GetObject"),
    ),
    Reason("SageMaker writes the metrics of instances", "ServingRole.Metrics", ("cloudwatch:PutMetricData",)),
    Reason(
        "Firehose looks for its bucket, and logs what it cannot write",
        "EventsStreamRole.*",
        ("s3:ListBucket", "logs:PutLogEvents"),
    ),
    Reason(
        "Application Auto Scaling asks for the configuration that serves",
        "ScaleEndpointRole.EndpointConfigs",
        ("sagemaker:DescribeEndpointConfig",),
    ),
    # What takes longer than the tests
    Reason("log streams older than LogRetentionDays", "CollectVersionsRole.OldJobLogs", ("logs:DeleteLogStream",)),
    Reason("the endpoint rests only where EndpointHours is set", "RestEndpointRole.*", ("*",)),
    Reason(
        "schedules of an hour and more, or off by default",
        "*ScheduleRole.*",
        ("lambda:InvokeFunction", "states:StartExecution"),
    ),
    Reason("batches after deployments are off by default", "ModelDeployedRole.StartBatch", ("states:StartExecution",)),
    Reason(
        "versions are collected a day after they were made",
        "CollectVersionsRole.*",
        ("sagemaker:DeleteEndpointConfig", "sagemaker:DeleteModel"),
    ),
    Reason("counts of files are deleted after days", "PublishPopularRole.CountsOfFiles", ("s3:DeleteObjectVersion",)),
    # Failures and races, which the functions' own tests make
    Reason("events that no retry could handle", "*.DeadLetters", ("sqs:SendMessage",)),
    Reason(
        "a job that is over before its token is kept: its outcome is sent by the function that started it",
        "*.AnswerTokens",
        ("states:SendTask*",),
    ),
    Reason("tokens, notices and locks are taken back after a failure", "*.Ledger", ("dynamodb:DeleteItem",)),
    Reason("the objects that the tests read exist", "*.TellAbsentFromForbidden", ("s3:ListBucket",)),
    Reason(
        "jobs that still run when their run fails",
        "HandleFailureRole.*",
        ("sagemaker:StopT*", "sagemaker:DescribeT*", "emr-serverless:*JobRun"),
    ),
    Reason(
        "events that were lost",
        "ReconcileRole.*",
        (
            "dynamodb:UpdateItem",
            "emr-serverless:GetJobRun",
            "kms:*",
            "lambda:InvokeFunction",
            "s3:ListBucketVersions",
            "sagemaker:Describe*",
            "sns:Publish",
        ),
    ),
    Reason(
        "an endpoint whose creation failed, or that another fleet scales, is removed before it is made again",
        "DeployRole.*",
        ("application-autoscaling:DeregisterScalableTarget", "sagemaker:DeleteEndpoint"),
    ),
    Reason("a trial that ends by a deployment, or grows", "*.Trial", ("s3:GetObject", "s3:PutObject")),
    Reason("executions that a trial started and that failed", "TrialsRole.*", ("states:DescribeExecution",)),
    Reason("lists of a batch that have a forgotten person", "ForgetRole.List*", ("s3:*",)),
    Reason("a person who is forgotten while a batch runs", "PublishBatchRole.ListParts", ("s3:ListBucketVersions",)),
    Reason("a person who is forgotten while a batch runs", "PublishBatchRole.RemoveForgottenPeople", ("s3:*",)),
    Reason(
        "asked for where something is made with tags: not each role makes it in the tests", "*", ("sagemaker:AddTags",)
    ),
)
