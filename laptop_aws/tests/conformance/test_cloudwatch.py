"""CloudWatch alarms go off as on AWS."""

from __future__ import annotations

import json
import time

import pytest

from laptop_aws.corrections import cloudwatch as correction
from laptop_aws.tests.conformance.hosting import Host, eventually, unique

NOW = 1_000_000.0


def test_an_alarm_goes_off_for_its_own_dimensions_and_calms_down(host: Host) -> None:
    cloudwatch, name, namespace = host.client("cloudwatch"), unique("alarm"), unique("Shop")
    topic = host.client("sns").create_topic(Name=name)["TopicArn"]
    url, queue = host.queue()
    host.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)
    events_url, events_queue = host.queue()
    pattern = {"source": ["aws.cloudwatch"], "detail": {"alarmName": [name]}}
    host.client("events").put_rule(Name=name, EventPattern=json.dumps(pattern))
    host.client("events").put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": events_queue}])
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        Namespace=namespace,
        MetricName="Errors",
        Dimensions=[{"Name": "EndpointName", "Value": "ours"}],
        Statistic="Sum",
        Period=10,
        EvaluationPeriods=1,
        Threshold=0,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
        AlarmActions=[topic],
    )

    def state() -> str:
        return str(cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"])

    def put(value: float, endpoint: str) -> None:
        dimensions = [{"Name": "EndpointName", "Value": endpoint}]
        data = [{"MetricName": "Errors", "Value": value, "Dimensions": dimensions}]
        cloudwatch.put_metric_data(Namespace=namespace, MetricData=data)

    put(9, "another")
    eventually(lambda: state() == "OK")
    put(9, "ours")
    assert state() == "ALARM"
    message = json.loads(json.loads(host.receive(url)["Body"])["Message"])
    assert (message["AlarmName"], message["NewStateValue"], message["OldStateValue"]) == (name, "ALARM", "OK")
    seen = [json.loads(host.receive(events_url)["Body"])["detail"]["state"]["value"] for _ in range(2)]
    assert sorted(seen) == ["ALARM", "OK"]
    eventually(lambda: state() == "OK", 20)


def test_a_dead_letter_queue_that_is_not_empty_sets_off_its_alarm(host: Host) -> None:
    url, arn = host.queue()
    name = unique("alarm")
    host.client("cloudwatch").put_metric_alarm(
        AlarmName=name,
        Namespace="AWS/SQS",
        MetricName="ApproximateNumberOfMessagesVisible",
        Dimensions=[{"Name": "QueueName", "Value": arn.rsplit(":", 1)[1]}],
        Statistic="Maximum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=0,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
    )
    host.client("sqs").send_message(QueueUrl=url, MessageBody="lost")
    eventually(
        lambda: host.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"] == "ALARM"
    )


def test_failed_executions_count(host: Host) -> None:
    machine = host.state_machine({"StartAt": "No", "States": {"No": {"Type": "Fail", "Error": "No", "Cause": "no"}}})
    host.run(machine)

    def failed() -> float:
        points = host.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/States",
            MetricName="ExecutionsFailed",
            Dimensions=[{"Name": "StateMachineArn", "Value": machine}],
            StartTime=time.time() - 300,
            EndTime=time.time() + 60,
            Period=3600,
            Statistics=["Sum"],
        )["Datapoints"]
        return float(sum(point["Sum"] for point in points))

    eventually(lambda: failed() == 1.0)


@pytest.mark.parametrize(
    ("ages", "settings", "state"),
    [
        ([5], {}, "ALARM"),
        ([5], {"EvaluationPeriods": 3}, "OK"),
        ([5, 15, 25], {"EvaluationPeriods": 3}, "ALARM"),
        ([5, 25], {"EvaluationPeriods": 3, "DatapointsToAlarm": 2}, "ALARM"),
        ([15], {}, "INSUFFICIENT_DATA"),
        ([], {"TreatMissingData": "notBreaching"}, "OK"),
        ([], {"TreatMissingData": "breaching"}, "ALARM"),
        ([], {"TreatMissingData": "ignore"}, "was"),
        ([5, 6], {"Statistic": "Average", "Threshold": 5}, "OK"),
        ([5, 6], {"Statistic": "Sum", "Threshold": 5}, "ALARM"),
    ],
)
def test_an_alarm_is_judged_period_by_period(ages: list[float], settings: dict[str, object], state: str) -> None:
    alarm = {
        "MetricName": "Errors",
        "Statistic": "Sum",
        "Period": 10,
        "EvaluationPeriods": 1,
        "Threshold": 2,
        "ComparisonOperator": "GreaterThanThreshold",
        "StateValue": "was",
    }
    points = [{"Timestamp": NOW - age, "Value": 3.0, "Unit": "Count"} for age in ages]
    assert correction.judge(alarm | settings, points, NOW)[0] == state
