"""Models that wait for a person, and the decision on one: `on_job_finished` answers the run when it sees the change."""

from __future__ import annotations

from dataclasses import dataclass

from control.actions import Action, Call
from control.ledger import Ledger

APPROVED, REJECTED = "Approved", "Rejected"


@dataclass(frozen=True)
class Waiting:
    """A run that waits for a person's decision on its model package; `since` as the ledger has it."""

    run_id: str
    package_arn: str
    since: str


def waiting(ledger: Ledger) -> list[Waiting]:
    """The runs that wait for a person, the last asked first."""
    return [
        Waiting(str(token.get("runId")), str(token["jobName"]), str(token.get("updatedAt", "")))
        for token in ledger.of_kind("TOKEN")
        if token.get("jobKind") == "APPROVAL"
    ]


def approval(run_id: str, package_arn: str, status: str) -> Action:
    """The decision (`APPROVED` or `REJECTED`) of a person on the package of a run, with the reason in the registry."""

    def calls(why: str) -> list[Call]:
        given = {"ModelPackageArn": package_arn, "ModelApprovalStatus": status}
        return [Call("sagemaker", "update_model_package", given | ({"ApprovalDescription": why} if why else {}))]

    is_approved = status == APPROVED
    consequence = (
        "It is deployed now, after the checks that each deployment has."
        if is_approved
        else "The run ends REJECTED, and the earlier model keeps serving."
    )
    return Action(
        "approve" if is_approved else "reject",
        f"{'Approve' if is_approved else 'Reject'} the model of {run_id}?",
        (consequence, "The decision cannot be taken back; a model that serves can be rolled back."),
        tuple(calls("")),
        needs_reason=not is_approved,
        facts={"runId": run_id, "modelPackageArn": package_arn},
        with_reason=calls,
    )
