"""The text of the approval request. Pure."""

from __future__ import annotations

from shared import notices


def approval_request(
    stack: str, run_id: str, model_package_arn: str, reasons: list[str], deadline_hours: int
) -> dict[str, str]:
    """Subject (at most 100 ASCII characters) and message of the notification."""
    lines = [
        f"Run {run_id} trained a model that passed the gate. The model waits for your approval.",
        f"The earlier model serves until then. Without an answer within {deadline_hours} hours, this one is rejected.",
        "",
        *[f"- {reason}" for reason in reasons],
        "",
        "Approve or reject it in SageMaker's model registry, or with:",
        f"aws sagemaker update-model-package --model-package-arn {model_package_arn} --model-approval-status Approved",
        f"aws sagemaker update-model-package --model-package-arn {model_package_arn} --model-approval-status Rejected "
        "--approval-description '<why>'",
    ]
    return notices.notice(notices.Kind.APPROVE_MODEL, stack, f"Approve the model of run {run_id}?", lines)
