"""The tables of the emulated SageMaker, and its ARNs and tags."""

from __future__ import annotations

from dataclasses import dataclass, field

from laptop_aws.store import Store, Table, scope


@dataclass
class Tables:
    """The resources of one account and region, by name; ``packages`` and ``tags`` by ARN."""

    training_jobs: Table = field(default_factory=dict)
    transform_jobs: Table = field(default_factory=dict)
    package_groups: Table = field(default_factory=dict)
    packages: Table = field(default_factory=dict)
    models: Table = field(default_factory=dict)
    endpoint_configs: Table = field(default_factory=dict)
    endpoints: Table = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)


store = Store(Tables)


def arn(kind: str, name: str) -> str:
    account, region = scope()
    return f"arn:aws:sagemaker:{region}:{account}:{kind}/{name}"


def tag(resource: str, tags: list[dict[str, str]] | None) -> None:
    """Adds tags (``[{"Key", "Value"}]``) to a resource of the current scope."""
    if tags:
        with store.lock:
            store.tables().tags.setdefault(resource, {}).update({entry["Key"]: entry["Value"] for entry in tags})


def tags_of(resource: str) -> dict[str, str]:
    with store.lock:
        return dict(store.tables().tags.get(resource, {}))
