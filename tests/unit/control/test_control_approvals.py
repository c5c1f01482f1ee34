"""A person's decision on a model package: who waits, and the call that decides."""

from typing import Any, cast

from control.approvals import APPROVED, REJECTED, Waiting, approval, waiting
from control.ledger import Ledger

RUN, ARN = "v20261129t100000z-1a2b3c4d-r1", "arn:aws:sagemaker:us-east-1:000000000000:model-package/shop/7"


class Tokens:
    """The ledger's open tokens."""

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        assert kind == "TOKEN"
        return [
            {"jobKind": "TRAINING", "jobName": "job", "runId": "other", "updatedAt": "2026-11-29T10:00:00Z"},
            {"jobKind": "APPROVAL", "jobName": ARN, "runId": RUN, "updatedAt": "2026-11-29T10:05:00Z"},
        ]


def test_only_tokens_of_approvals_wait_for_a_person() -> None:
    assert waiting(cast(Ledger, Tokens())) == [Waiting(RUN, ARN, "2026-11-29T10:05:00Z")]


def test_an_approval_is_one_call_and_needs_no_reason() -> None:
    action = approval(RUN, ARN, APPROVED)
    assert (action.name, action.title, action.needs_reason) == ("approve", f"Approve the model of {RUN}?", False)
    assert [(call.service, call.method, dict(call.parameters)) for call in action.calls] == [
        ("sagemaker", "update_model_package", {"ModelPackageArn": ARN, "ModelApprovalStatus": "Approved"})
    ]
    assert dict(action.facts) == {"runId": RUN, "modelPackageArn": ARN}


def test_a_rejection_needs_a_reason_and_gives_it_to_the_registry() -> None:
    action = approval(RUN, ARN, REJECTED)
    assert (action.name, action.needs_reason) == ("reject", True)
    assert action.with_reason is not None
    [call] = action.with_reason("before the sale")
    assert dict(call.parameters) == {
        "ModelPackageArn": ARN,
        "ModelApprovalStatus": "Rejected",
        "ApprovalDescription": "before the sale",
    }
    assert "The run ends REJECTED, and the earlier model keeps serving." in action.consequences
