"""All that the emulated SageMaker remembers: one set of tables per account and region, saved and restored with the
host.

Records are what the Describe calls answer; members whose names begin with ``_`` are the emulator's own and never leave
it.
"""

from __future__ import annotations

import copy
import threading
import time
from dataclasses import asdict, dataclass, field, fields
from typing import Any

Record = dict[str, Any]
Table = dict[str, Record]


@dataclass
class Tables:
    """The resources of one account and region, by name; ``packages`` and ``tags`` by ARN."""

    training_jobs: Table = field(default_factory=dict)
    package_groups: Table = field(default_factory=dict)
    packages: Table = field(default_factory=dict)
    models: Table = field(default_factory=dict)
    endpoint_configs: Table = field(default_factory=dict)
    endpoints: Table = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)


class Store:
    """Tables behind one reentrant lock: hold ``lock`` for every read-modify-write, and never across a call to the
    host."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._scopes: dict[tuple[str, str], Tables] = {}

    def tables(self) -> Tables:
        """The tables of the current request's account and region."""
        with self.lock:
            return self._scopes.setdefault(scope(), Tables())

    def scopes(self) -> list[tuple[str, str]]:
        with self.lock:
            return list(self._scopes)

    def clear(self) -> None:
        with self.lock:
            self._scopes.clear()

    def get_state(self) -> dict[str, Any]:
        with self.lock:
            return {
                f"{account}/{region}": copy.deepcopy(asdict(tables))
                for (account, region), tables in self._scopes.items()
            }

    def load(self, data: dict[str, Any]) -> None:
        known = {entry.name for entry in fields(Tables)}
        with self.lock:
            for name, tables in data.items():
                account, _, region = name.partition("/")
                self._scopes[account, region] = Tables(**{key: value for key, value in tables.items() if key in known})


store = Store()


def scope() -> tuple[str, str]:
    """Account and region of the current request or background thread."""
    from ministack.core.responses import get_account_id, get_region

    return get_account_id(), get_region()


def arn(kind: str, name: str) -> str:
    account, region = scope()
    return f"arn:aws:sagemaker:{region}:{account}:{kind}/{name}"


def now() -> float:
    """Seconds since the epoch, in milliseconds' resolution as AWS answers."""
    return round(time.time(), 3)


def public(record: Record) -> Record:
    """A copy of the record without the emulator's own members."""
    return {
        name: copy.deepcopy(value) for name, value in record.items() if not name.startswith("_") and value is not None
    }


def tag(resource: str, tags: list[dict[str, str]] | None) -> None:
    """Adds tags (``[{"Key", "Value"}]``) to a resource of the current scope."""
    if tags:
        with store.lock:
            store.tables().tags.setdefault(resource, {}).update({entry["Key"]: entry["Value"] for entry in tags})


def tags_of(resource: str) -> dict[str, str]:
    with store.lock:
        return dict(store.tables().tags.get(resource, {}))
