"""The tags of everything that costs: what functions create has those that CloudFormation gives the stack's resources.

A bill is divided by them once they are cost allocation tags of the account (docs/reference/costs.md).
"""

from __future__ import annotations

APPLICATION = "ncf-recommender"


def by_name(prefix: str) -> dict[str, str]:
    """Return the tags of the stack with this NamePrefix, as EMR Serverless takes them."""
    return {"application": APPLICATION, "stack": prefix}


def listed(prefix: str, **more: str) -> list[dict[str, str]]:
    """Return the tags of the stack, and `more`, as SageMaker takes them."""
    return [{"Key": key, "Value": value} for key, value in {**more, **by_name(prefix)}.items()]
