"""What the emulated EMR Serverless remembers, per account and region.

Records are what the Get calls answer; members whose names begin with ``_`` are the emulator's own and never leave it.
"""

from __future__ import annotations

import copy
import secrets
import threading
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from local.emulator.service_model import ServiceError

Record = dict[str, Any]


@dataclass
class Tables:
    """Applications by id, job runs by ``<application id>/<job run id>``."""

    applications: dict[str, Record] = field(default_factory=dict)
    job_runs: dict[str, Record] = field(default_factory=dict)


class Store:
    """Tables behind one reentrant lock: hold ``lock`` for every read-modify-write, and never across a call to the
    host."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._scopes: dict[tuple[str, str], Tables] = {}

    def tables(self) -> Tables:
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
        with self.lock:
            for name, tables in data.items():
                account, _, region = name.partition("/")
                self._scopes[account, region] = Tables(tables.get("applications", {}), tables.get("job_runs", {}))


store = Store()


def scope() -> tuple[str, str]:
    """Account and region of the current request or background thread."""
    from ministack.core.responses import get_account_id, get_region

    return get_account_id(), get_region()


def new_id() -> str:
    """An id as EMR Serverless makes them: 16 characters of ``[0-9a-z]``."""
    return "00f" + secrets.token_hex(7)[:13]


def arn(path: str) -> str:
    account, region = scope()
    return f"arn:aws:emr-serverless:{region}:{account}:/applications/{path}"


def now() -> float:
    return round(time.time(), 3)


def public(record: Record) -> Record:
    """A copy of the record without the emulator's own members."""
    return {
        name: copy.deepcopy(value) for name, value in record.items() if not name.startswith("_") and value is not None
    }


def not_found(kind: str, identifier: str) -> ServiceError:
    return ServiceError("ResourceNotFoundException", f"{kind} {identifier} does not exist", 404)
