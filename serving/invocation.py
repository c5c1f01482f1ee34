"""The body of `POST /invocations`: the valid requests, and the error messages for invalid ones.

Pure: no torch, no HTTP. `docs/reference/contracts.md`, "Server", is the specification.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import orjson

from contracts import documents, histories, limits, seen
from contracts.documents import Unfit
from contracts.histories import BadHistory, History
from contracts.values import as_json, is_integer, is_number, kind
from serving.exploration import Exploration

_Number = TypeVar("_Number", int, float)

_FILTERS = ("deny", "categories", "boosts", "categoryCaps")
FIELDS = {
    "userId": (
        "userId",
        "numResults",
        "excludeSeen",
        "candidates",
        "history",
        *_FILTERS,
        "fields",
        "exploration",
        "explain",
    ),
    "itemId": ("itemId", "numResults", *_FILTERS, "fields"),
    "shard": ("shard", "shards", "numResults"),
}
"""The allowed fields, by the field that identifies the kind of request."""
_NAMES = {subject: frozenset(names) for subject, names in FIELDS.items()}


class InvalidInvocation(Exception):
    """The sender must change the request. `field` is None when the body as a whole is wrong."""

    def __init__(self, message: str, field: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.status = status


@dataclass(frozen=True)
class Filters:
    """Rules for the items of a list and the weights of their scores. They apply before the best items are selected."""

    deny: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    boosts: Mapping[str, float] = field(default_factory=dict)
    """Factors of the items' scores, by item id."""
    category_caps: Mapping[str, int] = field(default_factory=dict)
    """Maximum numbers of items in one list, by category."""


NO_FILTERS = Filters()


class Related(NamedTuple):
    """Request for the items that are most similar to one item."""

    item_id: str
    num_results: int = limits.DEFAULT_RESULTS
    filters: Filters = NO_FILTERS
    fields: tuple[str, ...] = ()


class Shard(NamedTuple):
    """Request for the lists of all known users in one shard."""

    shard: int
    shards: int
    num_results: int = limits.DEFAULT_RESULTS


class Invocation(NamedTuple):
    """Request for a ranking.

    `candidates` None means the whole catalogue; otherwise the item ids as received, possibly with duplicates.
    `num_results` None means all of the candidates. `exclude_seen`: a kind of `contracts/seen.py`. `history`: item ids,
    oldest first, unless `ages` (seconds, one for each) gives another order; `bought` has those of purchases. `fields`:
    what the answer shows of each item.
    """

    user_id: str
    num_results: int | None
    exclude_seen: str
    candidates: tuple[str, ...] | None = None
    filters: Filters = NO_FILTERS
    fields: tuple[str, ...] = ()
    history: tuple[str, ...] = ()
    ages: tuple[float, ...] | None = None
    exploration: Exploration | None = None
    explain: bool = False
    """Whether the answer names the items of the history that weigh most in each item's score."""
    bought: frozenset[str] = frozenset()


Request = Invocation | Related | Shard


def from_body(body: bytes) -> Request:
    """Parses UTF-8 JSON. Raises `InvalidInvocation` naming the field and what is wrong with its value."""
    if len(body) > limits.REQUEST_BYTES:
        raise InvalidInvocation(f"the body is larger than {limits.REQUEST_BYTES} bytes", status=413)
    return from_document(_parse(body))


def from_document(document: Any) -> Request:
    """Like `from_body`, for JSON that is already parsed."""
    if not isinstance(document, dict):
        raise InvalidInvocation(f"the body must be a JSON object, not {kind(document)}")
    subject = "itemId" if "itemId" in document else "shard" if "shard" in document or "shards" in document else "userId"
    if not document.keys() <= _NAMES[subject]:
        name = next(name for name in document if name not in _NAMES[subject])
        fields = ", ".join(FIELDS[subject])
        raise InvalidInvocation(f"{as_json(name)} is not a field; the fields are {fields}", _name(name))
    if subject == "shard":
        shards = _integer(document, "shards", 1, limits.BATCH_PARTS)
        shard = _integer(document, "shard", 0, shards - 1)
        return Shard(shard, shards, _integer(document, "numResults", 1, limits.RESULTS, limits.DEFAULT_RESULTS))
    if subject == "itemId":
        number = _integer(document, "numResults", 1, limits.RESULTS, limits.DEFAULT_RESULTS)
        return Related(_id(document, "itemId"), number, _filters(document), _fields(document))
    user_id = _id(document, "userId")
    candidates = _candidates(document)
    everything = candidates is None
    wanted = limits.DEFAULT_RESULTS if everything and "numResults" not in document else _num_results(document)
    history = _history(document) if "history" in document else History()
    return Invocation(
        user_id,
        wanted,
        _exclude_seen(document, seen.ANY if everything else seen.NONE),
        candidates,
        _filters(document),
        _fields(document),
        history.items,
        history.ages,
        _exploration(document),
        _boolean(document, "explain", False),
        history.bought,
    )


def _parse(body: bytes) -> Any:
    """Parse the body with a fast parser if the strict parser would return the same; otherwise with the strict one."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _parse_strictly(body)
    # The fast parser keeps the last value of a repeated name, and turns integers that are too long into floats. A body
    # has at least one colon for each pair, so as many names as colons means that no name is repeated.
    if type(document) is dict and float not in map(type, document.values()):
        history = document.get("history", ())
        entries = history if type(history) is list and {dict}.issuperset(map(type, history)) else ()
        names = len(document) + sum(map(len, entries))
        if body.count(b":") == names and not any(float in map(type, entry.values()) for entry in entries):
            return document
    return _parse_strictly(body)


def _parse_strictly(body: bytes) -> Any:
    if not body.strip():
        raise InvalidInvocation("the body is empty; a JSON object is expected")
    try:
        return documents.read(body, "the body", has_schema=True)
    except Unfit as error:
        if error.key is not None:
            raise InvalidInvocation(f"{as_json(error.key)} is given twice", _name(error.key)) from None
        raise InvalidInvocation(str(error)) from None


def _id(document: dict[str, Any], name: str) -> str:
    if name not in document:
        raise InvalidInvocation(f"{name} is missing", name)
    value = document[name]
    if not isinstance(value, str):
        raise InvalidInvocation(f"{name} must be a string, not {kind(value)}", name)
    if not 1 <= len(value) <= limits.ID_CHARACTERS:
        raise InvalidInvocation(f"{name} must have 1 to {limits.ID_CHARACTERS} characters, not {len(value)}", name)
    _check_unicode(value, name)
    return value


def _num_results(document: dict[str, Any]) -> int | None:
    return _integer(document, "numResults", 1, limits.RESULTS) if "numResults" in document else None


def _integer(document: dict[str, Any], name: str, least: int, most: int, default: int | None = None) -> int:
    if name not in document:
        if default is None:
            raise InvalidInvocation(f"{name} is missing", name)
        return default
    value = document[name]
    # bool is a subclass of int: true would pass for 1.
    if not is_integer(value, least, most):
        raise InvalidInvocation(f"{name} must be an integer from {least} to {most}, not {as_json(value)}", name)
    return value


def _filters(document: dict[str, Any]) -> Filters:
    if document.keys().isdisjoint(_FILTERS):
        return NO_FILTERS
    return Filters(
        deny=_strings(document, "deny", "item ids", limits.RULE_ITEMS),
        categories=_strings(document, "categories", "categories", limits.CATEGORIES),
        boosts=_numbers(document, "boosts", limits.RULE_ITEMS, _boost),
        category_caps=_numbers(document, "categoryCaps", limits.CATEGORIES, _cap),
    )


def _fields(document: dict[str, Any]) -> tuple[str, ...]:
    return _strings(document, "fields", "names", limits.FIELDS) if "fields" in document else ()


def _strings(document: dict[str, Any], name: str, what: str, most: int) -> tuple[str, ...]:
    value = document.get(name, [])
    if not isinstance(value, list):
        raise InvalidInvocation(f"{name} must be a list of {what}, not {kind(value)}", name)
    if len(value) > most:
        raise InvalidInvocation(f"{name} must hold at most {most} {what}, not {len(value)}", name)
    _check_strings(value, name)
    return tuple(dict.fromkeys(value))


def _numbers(document: dict[str, Any], name: str, most: int, read: Callable[[str, Any], _Number]) -> dict[str, _Number]:
    value = document.get(name, {})
    if not isinstance(value, dict):
        raise InvalidInvocation(f"{name} must be an object, not {kind(value)}", name)
    if len(value) > most:
        raise InvalidInvocation(f"{name} must hold at most {most} entries, not {len(value)}", name)
    for key in value:
        _check_unicode(key, name)
    return {key: read(f"{name}[{as_json(key)}]", number) for key, number in value.items()}


def _boost(label: str, value: Any) -> float:
    if not is_number(value) or not 0 < value <= limits.BOOST:
        raise InvalidInvocation(
            f"{label} must be a number above 0 and at most {limits.BOOST}, not {as_json(value)}", "boosts"
        )
    return float(value)


def _cap(label: str, value: Any) -> int:
    if not is_integer(value, 0, limits.RESULTS):
        raise InvalidInvocation(
            f"{label} must be an integer from 0 to {limits.RESULTS}, not {as_json(value)}", "categoryCaps"
        )
    return value


def _boolean(document: dict[str, Any], name: str, default: bool) -> bool:
    if name not in document:
        return default
    value = document[name]
    if not isinstance(value, bool):
        raise InvalidInvocation(f"{name} must be true or false, not {as_json(value)}", name)
    return value


def _exclude_seen(document: dict[str, Any], default: str) -> str:
    if "excludeSeen" not in document:
        return default
    kind = seen.read(document["excludeSeen"])
    if kind is None:
        shown = as_json(document["excludeSeen"])
        raise InvalidInvocation(f"excludeSeen must be {seen.FORMS}, not {shown}", "excludeSeen")
    return kind


def _exploration(document: dict[str, Any]) -> Exploration | None:
    if "exploration" not in document:
        return None
    value, name = document["exploration"], "exploration"
    if not isinstance(value, dict) or value.keys() != {"share", "fewerThan"}:
        raise InvalidInvocation(f"{name} must be an object with share and fewerThan, not {as_json(value)}", name)
    share, fewer_than = value["share"], value["fewerThan"]
    if not is_number(share) or not 0 <= share <= limits.EXPLORATION_SHARE:
        wanted = f"a number from 0 to {limits.EXPLORATION_SHARE}"
        raise InvalidInvocation(f"{name}.share must be {wanted}, not {as_json(share)}", name)
    if not is_integer(fewer_than, 1, limits.EXPLORATION_INTERACTIONS):
        wanted = f"an integer from 1 to {limits.EXPLORATION_INTERACTIONS}"
        raise InvalidInvocation(f"{name}.fewerThan must be {wanted}, not {as_json(fewer_than)}", name)
    return Exploration(share, fewer_than)


def _candidates(document: dict[str, Any]) -> tuple[str, ...] | None:
    if "candidates" not in document:
        return None
    value = document["candidates"]
    if not isinstance(value, list):
        raise InvalidInvocation(f"candidates must be a list of item ids, not {kind(value)}", "candidates")
    if not 1 <= len(value) <= limits.CANDIDATES:
        raise InvalidInvocation(
            f"candidates must hold 1 to {limits.CANDIDATES} item ids, not {len(value)}", "candidates"
        )
    _check_strings(value, "candidates")
    return tuple(value)


def _history(document: dict[str, Any]) -> History:
    try:
        return histories.read(document["history"])
    except BadHistory as error:
        raise InvalidInvocation(str(error), "history") from None


def _check_strings(values: list[Any], name: str) -> None:
    try:
        "".join(values).encode()
        return
    except (TypeError, UnicodeEncodeError):  # the loop below finds the element
        pass
    for position, value in enumerate(values):
        if not isinstance(value, str):
            raise InvalidInvocation(f"{name}[{position}] must be a string, not {kind(value)}", name)
        _check_unicode(value, f"{name}[{position}]")


def _check_unicode(text: str, label: str) -> None:
    """Refuse half of a surrogate pair, which JSON can escape: such a string can be neither stored nor sent."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidInvocation(f"{label} is not valid Unicode", label.partition("[")[0]) from None


def _name(name: str) -> str:
    return name[:40].encode("utf-8", "replace").decode("utf-8")
