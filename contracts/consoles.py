"""Pages of AWS's console, in the partition and region of an ARN."""

from __future__ import annotations

_DOMAINS = {"aws-cn": "console.amazonaws.cn", "aws-us-gov": "console.amazonaws-us-gov.com"}


def execution(arn: str) -> str:
    """Return the page of an execution of a state machine."""
    return page(arn, "states", f"#/v2/executions/details/{arn}")


def page(arn: str, service: str, rest: str, path: str = "home") -> str:
    """Return a page of `service` where `arn` is; `rest` follows the region."""
    _, partition, _, region, *_ = arn.split(":")
    domain = _DOMAINS.get(partition, "console.aws.amazon.com")
    return f"https://{region}.{domain}/{service}/{path}?region={region}{rest}"
