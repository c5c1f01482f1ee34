"""DynamoDB's conditional writes, index and time to live, on which the run ledger stands."""

from __future__ import annotations

import concurrent.futures
import json
from typing import Any

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


# ---- a table of events: newest first by a local index, by window in a sparse one ----


@pytest.fixture(scope="module")
def events(host: Host) -> str:
    """A table as the template makes that of recent events."""
    name = unique("events")
    types = {"pk": "S", "sk": "S", "at": "N", "window": "S"}

    def keys(hash_key: str, range_key: str) -> list[dict[str, str]]:
        return [
            {"AttributeName": hash_key, "KeyType": "HASH"},
            {"AttributeName": range_key, "KeyType": "RANGE"},
        ]

    everything = {"ProjectionType": "ALL"}
    properties = {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": key, "AttributeType": kind} for key, kind in types.items()],
        "KeySchema": keys("pk", "sk"),
        "LocalSecondaryIndexes": [{"IndexName": "byTime", "KeySchema": keys("pk", "at"), "Projection": everything}],
        "GlobalSecondaryIndexes": [
            {"IndexName": "byWindow", "KeySchema": keys("window", "sk"), "Projection": everything}
        ],
        "TimeToLiveSpecification": {"AttributeName": "expiresAt", "Enabled": True},
    }
    template = {"Resources": {"EventsTable": {"Type": "AWS::DynamoDB::Table", "Properties": properties}}}
    host.client("cloudformation").create_stack(StackName=name, TemplateBody=json.dumps(template))
    assert host.settled_stack(name)["StackStatus"] == "CREATE_COMPLETE"
    return name


def event(pk: str, sk: str, at: int, **more: str) -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": sk}, "at": {"N": str(at)}} | {key: {"S": text} for key, text in more.items()}


def write(host: Host, table: str, *items: dict[str, Any]) -> None:
    """Writes the items in batches of 25."""
    for start in range(0, len(items), 25):
        batch = [{"PutRequest": {"Item": item}} for item in items[start : start + 25]]
        answer = host.client("dynamodb").batch_write_item(RequestItems={table: batch})
        assert answer["UnprocessedItems"] == {}


def newest(host: Host, table: str, pk: str, most: int = 100) -> list[str]:
    found = host.client("dynamodb").query(
        TableName=table,
        IndexName="byTime",
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": pk}},
        ScanIndexForward=False,
        Limit=most,
    )
    return [item["sk"]["S"] for item in found["Items"]]


def test_the_local_index_gives_a_persons_newest_and_only_those_with_a_time(host: Host, events: str) -> None:
    # 9 and 10 tell numbers from texts.
    write(host, events, *(event("U#a", f"e{at}", at) for at in (9, 10, 100, 2000)), event("U#b", "other", 3000))
    write(host, events, {"pk": {"S": "U#a"}, "sk": {"S": "USER"}, "user": {"S": "a"}})
    assert newest(host, events, "U#a") == ["e2000", "e100", "e10", "e9"]
    assert newest(host, events, "U#a", 2) == ["e2000", "e100"]
    assert newest(host, events, "U#nobody") == []
    more = host.client("dynamodb").query(
        TableName=events,
        IndexName="byTime",
        KeyConditionExpression="pk = :pk AND #at > :since",
        ExpressionAttributeNames={"#at": "at"},
        ExpressionAttributeValues={":pk": {"S": "U#a"}, ":since": {"N": "10"}},
        ConsistentRead=True,
    )
    assert [item["at"]["N"] for item in more["Items"]] == ["100", "2000"]


def test_a_batch_overwrites_an_item_and_its_places_in_the_indexes(host: Host, events: str) -> None:
    write(host, events, *(event("S#s", f"e{number}", number, window="w1") for number in range(60)))
    write(host, events, event("S#s", "e0", 70, window="w2"), event("S#s", "e1", 71))
    assert newest(host, events, "S#s", 3) == ["e1", "e0", "e59"]
    assert len(newest(host, events, "S#s")) == 60
    assert len(window(host, events, "w1")) == 58 and window(host, events, "w2") == ["e0"]
    batch = [{"DeleteRequest": {"Key": {"pk": {"S": "S#s"}, "sk": {"S": "e0"}}}}]
    host.client("dynamodb").batch_write_item(RequestItems={events: batch})
    assert window(host, events, "w2") == [] and len(newest(host, events, "S#s")) == 59


def window(host: Host, table: str, name: str) -> list[str]:
    """The events of a window, page by page."""
    pages = (
        host.client("dynamodb")
        .get_paginator("query")
        .paginate(
            TableName=table,
            IndexName="byWindow",
            KeyConditionExpression="#w = :w",
            ExpressionAttributeNames={"#w": "window"},
            ExpressionAttributeValues={":w": {"S": name}},
            PaginationConfig={"PageSize": 25},
        )
    )
    return [item["sk"]["S"] for page in pages for item in page["Items"]]


def test_the_global_index_holds_only_events_with_a_window_in_order_and_by_pages(host: Host, events: str) -> None:
    write(
        host, events, *(event(f"U#{number % 7}", f"w{number:02}", 1000 - number, window="w9") for number in range(60))
    )
    write(host, events, event("U#0", "none", 5))
    assert window(host, events, "w9") == [f"w{number:02}" for number in range(60)]


def test_a_batch_above_25_or_with_one_key_twice_is_refused(host: Host, events: str) -> None:
    for items in ([event("U#c", f"e{number}", number) for number in range(26)], [event("U#c", "e", 1)] * 2):
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            batch = [{"PutRequest": {"Item": item}} for item in items]
            host.client("dynamodb").batch_write_item(RequestItems={events: batch})
        assert caught.value.response["Error"]["Code"] == "ValidationException"
