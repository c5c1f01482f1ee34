"""What Application Auto Scaling remembers. SageMaker asks it whether a variant is scaled, and is asked by it whether a
variant exists; so that neither imports the other, the records lie here.
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
    """Whether the variant is a scalable target: SageMaker then refuses to change its instance type or remove it."""
    with store.lock:
        return f"endpoint/{endpoint}/variant/{variant}" in store.tables().targets
