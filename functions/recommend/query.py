"""The query of a request, read and validated from API Gateway events (payload 2.0).

Pure: no AWS, no environment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from contracts import limits, seen
from shared.refusal import InvalidRequest, category_names, field_names, shown


class Query(NamedTuple):
    """The values of each query parameter. Its methods raise `InvalidRequest`."""

    values: Mapping[str, list[str]]

    @classmethod
    def from_event(cls, event: dict[str, Any]) -> Query:
        """API Gateway joins the values of one name with commas, which values may have too, so the raw query is read. A
        plus is a space, as in a form.
        """
        raw = event.get("rawQueryString")
        if raw is None:
            return cls({name: [value] for name, value in (event.get("queryStringParameters") or {}).items()})
        try:
            return cls(parse_qs(raw, keep_blank_values=True, errors="strict"))
        except UnicodeDecodeError:
            raise InvalidRequest("the query is not UTF-8") from None

    def one(self, name: str) -> str:
        """Return the only value of `name`."""
        given = self.values.get(name, [])
        if len(given) != 1:
            raise InvalidRequest(f"{name} is {'given twice' if given else 'missing'}", name)
        return given[0]

    def num_results(self) -> int:
        value = self._joined("numResults")
        if value is None:
            return limits.DEFAULT_RESULTS
        # [0-9] and not \d: int() also reads digits of other scripts.
        if not re.fullmatch(r"[0-9]{1,9}", value) or not 1 <= int(value) <= limits.RESULTS:
            raise InvalidRequest(
                f"numResults must be an integer from 1 to {limits.RESULTS}, not {shown(value)[1:-1]}", "numResults"
            )
        return int(value)

    def boolean(self, name: str, default: bool) -> bool:
        value = self._joined(name)
        if value is None:
            return default
        if value not in ("true", "false"):
            raise InvalidRequest(f"{name} must be true or false, not {shown(value)[1:-1]}", name)
        return value == "true"

    def exclude_seen(self) -> str:
        """Return a kind of `contracts/seen.py`."""
        value = self._joined("excludeSeen")
        if value is None:
            return seen.ANY
        kind = seen.read({"true": True, "false": False}.get(value, value))
        if kind is None:
            raise InvalidRequest(f"excludeSeen must be {seen.FORMS}, not {shown(value)[1:-1]}", "excludeSeen")
        return kind

    def categories(self) -> tuple[str, ...]:
        """Return the names of each `category`, which may have commas, and of `categories`, between commas."""
        names = list(self.values.get("category", []))
        if "" in names:
            raise InvalidRequest("category must be a name, not empty", "category")
        value = self._joined("categories")
        if value is not None:
            names += [name.strip(" ") for name in value.split(",")]
            if "" in names:
                raise InvalidRequest(
                    f"categories must be names separated by commas, not {shown(value)[1:-1]}", "categories"
                )
        return category_names(names)

    def fields(self) -> tuple[str, ...]:
        """Return the names in `fields`, between commas."""
        value = self._joined("fields")
        return () if value is None else field_names([name.strip(" ") for name in value.split(",")])

    def _joined(self, name: str) -> str | None:
        return ",".join(self.values[name]) if name in self.values else None
