"""The small AWS of these tests: no test sees what another one did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from tests.unit.functions.cloud import ARTIFACTS, REGION, Cloud, Lender


@pytest.mark.parametrize("test", ["first", "next"])
def test_each_begins_with_an_empty_stack(cloud: Cloud, test: str) -> None:
    assert cloud.s3.list_objects_v2(Bucket=ARTIFACTS)["KeyCount"] == 0
    assert cloud.table.scan()["Items"] == []
    assert cloud.events() == []
    cloud.write(ARTIFACTS, "left/over", {})
    cloud.put("left", "over", number=1)
    event = {"Source": "ncf.recommender", "DetailType": "left", "Detail": "{}"}
    cloud.lender.client("events").put_events(Entries=[event])
    assert cloud.events() == [("left", {})]


def test_a_client_is_lent_to_one_place_at_a_time(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    lender = Lender()
    first, second = lender.client("sqs"), lender.client("sqs")
    patient = lender.client("sqs", config=Config(read_timeout=7))
    assert len({id(first), id(second), id(patient)}) == 3
    assert patient.meta.config.read_timeout == 7
    lender.take_back()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    assert lender.client("sqs").meta.endpoint_url == "http://127.0.0.1:4566"
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert {id(lender.client("sqs")), id(lender.client("sqs"))} == {id(first), id(second)}


def test_a_client_that_tried_again_is_not_lent_again(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, naps: list[float]
) -> None:
    lender = cloud.lender
    client = lender.client("s3", config=Config(retries={"mode": "standard", "max_attempts": 2}))
    monkeypatch.setattr("moto.core.botocore_stubber.BotocoreStubber.__call__", _unavailable)
    with pytest.raises(ClientError, match="reached max retries"):
        client.list_buckets()
    lender.take_back()
    assert lender.client("s3", config=Config(retries={"mode": "standard", "max_attempts": 2})) is not client


def test_a_client_with_a_method_of_a_test_is_not_lent_again(cloud: Cloud) -> None:
    client = cloud.lender.client("sns")
    client.publish = lambda **_: None
    cloud.lender.take_back()
    assert cloud.lender.client("sns") is not client


@pytest.mark.parametrize("test", ["first", "next"])
def test_a_stub_ends_with_its_test(cloud: Cloud, stub: Callable[[Any], Stubber], test: str) -> None:
    client = cloud.lender.client("sns")
    assert client.list_topics()["Topics"] == []
    stub(client).add_response("list_topics", {"Topics": [{"TopicArn": f"arn:aws:sns:{REGION}:1:other"}]})
    assert len(client.list_topics()["Topics"]) == 1


def _unavailable(stubber: Any, event_name: str, request: Any, **_: Any) -> Any:
    from botocore.awsrequest import AWSResponse

    from tests.unit.functions.sagemaker_fake import Body

    return AWSResponse(request.url, 503, {}, Body(b""))  # type: ignore[arg-type]
