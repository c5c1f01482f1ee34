"""The tables of an emulated service: one set per account and region, saved and restored with the host. Records have the
form of Get and Describe answers; members whose names begin with ``_`` are internal and never returned.
"""

from __future__ import annotations

import copy
import threading
import time
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Record = dict[str, Any]
Table = dict[str, Record]
Tables = TypeVar("Tables", bound="DataclassInstance")


class Store(Generic[Tables]):
    """Tables behind one reentrant lock: hold ``lock`` for every read-modify-write, and never during a call to the host.
    ``tables`` is the service's dataclass of tables, each empty by default."""

    def __init__(self, tables: type[Tables]) -> None:
        self.lock = threading.RLock()
        self._tables = tables
        self._scopes: dict[tuple[str, str], Tables] = {}

    def tables(self) -> Tables:
        """The tables of the current request's account and region."""
        with self.lock:
            return self._scopes.setdefault(scope(), self._tables())

    def scopes(self) -> list[tuple[str, str]]:
        """(account, region) of all tables."""
        with self.lock:
            return list(self._scopes)

    def clear(self) -> None:
        with self.lock:
            self._scopes.clear()

    def get_state(self) -> dict[str, Any]:
        """All tables by ``<account>/<region>``, as JSON can hold them."""
        with self.lock:
            return {
                f"{account}/{region}": copy.deepcopy(asdict(tables))
                for (account, region), tables in self._scopes.items()
            }

    def load(self, data: dict[str, Any]) -> None:
        """Restores the result of ``get_state``; unknown tables are ignored."""
        known = {entry.name for entry in fields(self._tables)}
        with self.lock:
            for name, tables in data.items():
                account, _, region = name.partition("/")
                self._scopes[account, region] = self._tables(
                    **{key: value for key, value in tables.items() if key in known}
                )


def scope() -> tuple[str, str]:
    """Account and region of the current request or background thread."""
    from ministack.core.responses import get_account_id, get_region

    return get_account_id(), get_region()


def now() -> float:
    """Seconds since the epoch, rounded to milliseconds as on AWS."""
    return round(time.time(), 3)


def public(record: Record) -> Record:
    """A copy of the record without the internal members."""
    return {
        name: copy.deepcopy(value) for name, value in record.items() if not name.startswith("_") and value is not None
    }
