"""DynamoDB's conditional writes, index and time to live, on which the run ledger stands."""

from __future__ import annotations

import concurrent.futures
import json

import botocore.exceptions
import pytest

from laptop_aws.tests.conformance.hosting import Host, unique


@pytest.fixture(scope="module")
def table(host: Host) -> str:
    """A table as the template makes it."""
    attributes = [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk", "kind", "updatedAt")]
    properties = {
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": attributes,
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        "GlobalSecondaryIndexes": [
            {
                "IndexName": "byKind",
                "KeySchema": [
                    {"AttributeName": "kind", "KeyType": "HASH"},
                    {"AttributeName": "updatedAt", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
        "TimeToLiveSpecification": {"AttributeName": "expiresAt", "Enabled": True},
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
        "SSESpecification": {"SSEEnabled": True},
    }
    template = {
        "Resources": {"RunsTable": {"Type": "AWS::DynamoDB::Table", "Properties": properties}},
        "Outputs": {"Name": {"Value": {"Ref": "RunsTable"}}},
    }
    name = unique("ledger")
    host.client("cloudformation").create_stack(StackName=name, TemplateBody=json.dumps(template))
    host.client("cloudformation").get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    outputs = host.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]["Outputs"]
    return str(outputs[0]["OutputValue"])


def test_the_table_has_what_the_template_says(host: Host, table: str) -> None:
    dynamodb = host.client("dynamodb")
    described = dynamodb.describe_table(TableName=table)["Table"]
    assert described["GlobalSecondaryIndexes"][0]["IndexName"] == "byKind"
    assert dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"] == {
        "TimeToLiveStatus": "ENABLED",
        "AttributeName": "expiresAt",
    }
    backups = dynamodb.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"


def test_of_five_conditional_puts_at_once_one_wins(host: Host, table: str) -> None:
    dynamodb = host.client("dynamodb")

    def claim(number: int) -> str:
        try:
            dynamodb.put_item(
                TableName=table,
                Item={"pk": {"S": "DATASET#v1"}, "sk": {"S": "STATE"}, "runId": {"S": str(number)}},
                ConditionExpression="attribute_not_exists(pk)",
            )
        except botocore.exceptions.ClientError as error:
            return str(error.response["Error"]["Code"])
        return "won"

    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        answers = sorted(pool.map(claim, range(5)))
    assert answers == ["ConditionalCheckFailedException"] * 4 + ["won"]


def test_a_failed_condition_can_return_the_item_that_was_there(host: Host, table: str) -> None:
    dynamodb = host.client("dynamodb")
    key = {"pk": {"S": "LOCK"}, "sk": {"S": "DEPLOYMENT"}}
    dynamodb.put_item(TableName=table, Item={**key, "runId": {"S": "a"}})
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        dynamodb.update_item(
            TableName=table,
            Key=key,
            UpdateExpression="SET runId = :new",
            ConditionExpression="runId = :old OR expiresAt < :now",
            ExpressionAttributeValues={":new": {"S": "b"}, ":old": {"S": "b"}, ":now": {"N": "1"}},
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    assert caught.value.response["Item"]["runId"] == {"S": "a"}


def test_a_transaction_writes_all_or_nothing(host: Host, table: str) -> None:
    dynamodb = host.client("dynamodb")
    items = [
        {"Put": {"TableName": table, "Item": {"pk": {"S": "RUN#t"}, "sk": {"S": "STATE"}}}},
        {
            "Put": {
                "TableName": table,
                "Item": {"pk": {"S": "DATASET#v1"}, "sk": {"S": "STATE"}},
                "ConditionExpression": "attribute_not_exists(pk)",
            }
        },
    ]
    dynamodb.put_item(TableName=table, Item={"pk": {"S": "DATASET#v1"}, "sk": {"S": "STATE"}})
    with pytest.raises(dynamodb.exceptions.TransactionCanceledException) as caught:
        dynamodb.transact_write_items(TransactItems=items)
    assert [reason["Code"] for reason in caught.value.response["CancellationReasons"]] == [
        "None",
        "ConditionalCheckFailed",
    ]
    assert "Item" not in dynamodb.get_item(TableName=table, Key={"pk": {"S": "RUN#t"}, "sk": {"S": "STATE"}})


def test_the_index_is_sorted_and_holds_only_items_with_both_keys(host: Host, table: str) -> None:
    dynamodb = host.client("dynamodb")
    for run, when in (("2", "2026-11-23T02"), ("1", "2026-11-23T01"), ("3", None)):
        item = {"pk": {"S": f"RUN#{run}"}, "sk": {"S": "STATE"}, "kind": {"S": "RUN"}}
        dynamodb.put_item(TableName=table, Item=item | ({"updatedAt": {"S": when}} if when else {}))
    found = dynamodb.query(
        TableName=table,
        IndexName="byKind",
        KeyConditionExpression="kind = :kind",
        ExpressionAttributeValues={":kind": {"S": "RUN"}},
        ScanIndexForward=False,
    )["Items"]
    assert [item["pk"]["S"] for item in found] == ["RUN#2", "RUN#1"]
