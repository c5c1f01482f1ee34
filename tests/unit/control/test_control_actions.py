"""A change that another person has overtaken is refused in words, and recorded as failed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from control.actions import Action, Call, Overtaken, perform, unchanged_since


class Account:
    """A ledger that keeps what is written, and an S3 that answers each write with `code`."""

    def __init__(self, code: str) -> None:
        self.code, self.status = code, ""
        self.outputs = {"RunsTableName": "table"}

    def client(self, service: str) -> Any:
        return SimpleNamespace(put_item=self.begin, update_item=self.end, put_object=self.put)

    def begin(self, **call: Any) -> None:
        self.status = call["Item"]["status"]["S"]

    def end(self, **call: Any) -> None:
        self.status = call["ExpressionAttributeValues"][":status"]["S"]

    def put(self, **call: Any) -> dict[str, Any]:
        raise ClientError({"Error": {"Code": self.code, "Message": "no"}}, "PutObject")


def publish(**condition: str) -> Action:
    call = Call("s3", "put_object", {"Bucket": "b", "Key": "policy/gate.json", **condition})
    return Action("publish", "Publish?", (), (call,))


@pytest.mark.parametrize("code", ["PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"])
@pytest.mark.parametrize("etag", [None, "e1"])
def test_the_second_of_two_people_is_told_and_nothing_is_written_over(code: str, etag: str | None) -> None:
    account: Any = Account(code)
    with pytest.raises(Overtaken, match=r"Someone else was first: policy/gate\.json has changed"):
        perform(account, publish(**unchanged_since(etag)), "ann", "")
    assert account.status == "FAILED"


def test_other_refusals_are_what_aws_says() -> None:
    for action, code in ((publish(IfMatch="e1"), "AccessDenied"), (publish(), "PreconditionFailed")):
        account: Any = Account(code)
        with pytest.raises(ClientError, match=code):
            perform(account, action, "ann", "")
