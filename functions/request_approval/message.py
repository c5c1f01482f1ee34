"""The words in which a person is asked. Pure."""

from __future__ import annotations

MAXIMUM_SUBJECT = 100


def approval_request(run_id: str, model_package_arn: str, reasons: list[str], deadline_hours: int) -> dict[str, str]:
    """Subject (at most 100 ASCII characters) and message of the notification."""
    lines = [
        f"Run {run_id} has made a model that passed the gate and waits for your approval.",
        f"Without one within {deadline_hours} hours it is rejected.",
        "",
        *[f"- {reason}" for reason in reasons],
        "",
        "Approve or reject it in SageMaker's model registry, or with:",
        f"aws sagemaker update-model-package --model-package-arn {model_package_arn} --model-approval-status Approved",
        f"aws sagemaker update-model-package --model-package-arn {model_package_arn} --model-approval-status Rejected "
        "--approval-description '<why>'",
    ]
    return {"Subject": f"Approve the model of run {run_id}?"[:MAXIMUM_SUBJECT], "Message": "\n".join(lines)}
