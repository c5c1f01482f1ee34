"""The tables of Application Auto Scaling. They are separate because it and SageMaker both read them, and neither
imports the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from laptop_aws.store import Store, Table


@dataclass
class Tables:
    """Scalable targets by resource id, policies by ``<resource id>/<policy name>``."""

    targets: Table = field(default_factory=dict)
    policies: Table = field(default_factory=dict)


store: Store[Tables] = Store(Tables)


def is_scaled(endpoint: str, variant: str) -> bool:
    """True if the variant is a scalable target; SageMaker then refuses to change its instance type or remove it."""
    with store.lock:
        return f"endpoint/{endpoint}/variant/{variant}" in store.tables().targets
