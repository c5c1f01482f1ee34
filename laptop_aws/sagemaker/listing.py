"""Filters, order and pages of SageMaker's List operations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from laptop_aws.service_model import page
from laptop_aws.store import Record

DEFAULT_PAGE = 10


def select(
    records: Iterable[Record],
    request: dict[str, Any],
    *,
    name: str,
    status: str | None = None,
    descending: bool = False,
) -> tuple[list[Record], str | None]:
    """Returns the requested page of records, and the token of the next page. ``name`` and ``status`` are the members to
    which ``NameContains``, ``StatusEquals`` and ``SortBy`` apply; ``descending`` is the default order.
    """
    rows = [record for record in records if _is_wanted(record, request, name, status)]
    by = {"Name": name, "Status": status or name}.get(request.get("SortBy", ""), "CreationTime")
    order = request.get("SortOrder")
    rows.sort(key=lambda row: (row[by], row[name]), reverse=order == "Descending" if order else descending)
    return page(rows, request.get("NextToken"), request.get("MaxResults", DEFAULT_PAGE), lambda row: str(row[name]))


def _is_wanted(record: Record, request: dict[str, Any], name: str, status: str | None) -> bool:
    if request.get("NameContains", "").lower() not in str(record[name]).lower():
        return False
    if status and request.get("StatusEquals") not in (None, record[status]):
        return False
    for member, bound in (("CreationTime", "CreationTime"), ("LastModifiedTime", "LastModifiedTime")):
        moment = record.get(member, record["CreationTime"])
        if moment <= request.get(f"{bound}After", float("-inf")) or moment >= request.get(
            f"{bound}Before", float("inf")
        ):
            return False
    return True


def answer(member: str, rows: list[Record], token: str | None) -> Record:
    return {member: rows} | ({"NextToken": token} if token else {})


def summary(record: Record, *members: str) -> Record:
    return {name: record[name] for name in members if name in record}
