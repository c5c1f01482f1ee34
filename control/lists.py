"""Lists of recommendations for one person, from the API, from a model itself or from a batch; and what differs between
two of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from botocore.exceptions import ClientError

from contracts import documents, lists, seen
from contracts.documents import Unfit
from control import api
from control.connection import Connection, NotReady

SHOP, MODEL, OTHER, STORED = "shop", "model", "other", "stored"
LARGEST_PART_BYTES = 16 << 20
"""Largest part of a batch that is read for one person's list."""
VARIANTS = {MODEL: "AllTraffic", OTHER: "Other"}


class NoList(NotReady):
    """There is no list of that source; the message says why, and what to do."""


@dataclass(frozen=True)
class Person:
    """A user, or a visitor by session."""

    user_id: str = ""
    session_id: str = ""

    @property
    def model_id(self) -> str:
        """The id by which a model is asked."""
        return self.user_id or f"session:{self.session_id}"

    @property
    def label(self) -> str:
        return self.user_id or f"visitor {self.session_id}"

    @property
    def query(self) -> dict[str, str]:
        return {"userId": self.user_id} if self.user_id else {"sessionId": self.session_id}


@dataclass(frozen=True)
class Options:
    """Parameters of a list, as the API has them."""

    number: int = 10
    exclude_seen: str = seen.ANY
    categories: tuple[str, ...] = ()
    placement: str = ""
    with_rules: bool = True
    fields: tuple[str, ...] = ("title", "category")

    def query(self, person: Person) -> dict[str, str | Sequence[str]]:
        return {
            **person.query,
            "numResults": str(self.number),
            "excludeSeen": self.exclude_seen,
            "category": self.categories,
            "placement": self.placement,
            "fields": ",".join(name for name in self.fields if "," not in name),
            "explain": "true",
        }


@dataclass(frozen=True)
class Entry:
    """One item of a list."""

    item_id: str
    score: float
    fields: Mapping[str, Any] = field(default_factory=dict)
    because: tuple[str, ...] = ()
    is_exploration: bool = False


@dataclass(frozen=True)
class Listed:
    """A list, who made it and how, and the answer that it was read from."""

    title: str
    entries: tuple[Entry, ...]
    version: str
    source: str
    notes: tuple[str, ...] = ()
    raw: str = ""
    curl: str = ""
    seconds: float = 0.0
    answer: Mapping[str, Any] = field(default_factory=dict)


# From the API


def request_for(connection: Connection, person: Person, options: Options) -> api.Request:
    """The request that a shop's page would make."""
    query = options.query(person)
    if person.session_id and not person.user_id:
        try:
            path = api.path_of("/sessions/{sessionId}/recommendations", {"sessionId": person.session_id})
        except ValueError:
            return api.Request(connection.api_url(), "GET", "/recommendations", query)
        del query["sessionId"]
        return api.Request(connection.api_url(), "GET", path, query)
    return api.Request(connection.api_url(), "GET", "/recommendations", query)


def from_shop(connection: Connection, person: Person, options: Options) -> Listed:
    """The list that the person gets from the API. Raises NoList in words, and `api.Unanswered`."""
    request = request_for(connection, person, options)
    answer = api.call(connection, request)
    if not answer.is_good:
        raise NoList(api.refusal_with_advice(answer))
    body = answer.body
    model = body.get("model")
    notes = []
    if isinstance(trial := body.get("trial"), dict):
        notes.append(f"On trial {trial.get('trialId')}: this answer counts for the side {trial.get('variant')}.")
    if body.get("excludeSeen") not in (None, options.exclude_seen):
        notes.append(f"It leaves out of the person's own items: {body['excludeSeen']}, not {options.exclude_seen}.")
    if window := body.get("window"):
        notes.append(f"Popular items of the last {window}.")
    return Listed(
        title="What the shop answers",
        entries=entries_of(body.get("itemList")),
        version=str(model.get("version", "?")) if isinstance(model, dict) else "?",
        source=str(body.get("source", "?")),
        notes=tuple(notes),
        raw=answer.text,
        curl=request.curl(connection.session.region_name or "us-east-1"),
        seconds=answer.seconds,
        answer=body,
    )


def entries_of(listed: Any) -> tuple[Entry, ...]:
    """The items of an answer's `itemList`; what is no item is left out."""
    found = []
    for one in listed if isinstance(listed, list) else []:
        if not isinstance(one, dict) or not isinstance(one.get("itemId"), str):
            continue
        score, fields, because = one.get("score"), one.get("fields"), one.get("because")
        found.append(
            Entry(
                one["itemId"],
                float(score) if isinstance(score, int | float) else 0.0,
                fields if isinstance(fields, dict) else {},
                tuple(str(item) for item in because) if isinstance(because, list) else (),
                one.get("isExploration") is True,
            )
        )
    return tuple(found)


# From a model itself


def invocation(person: Person, options: Options, history: Sequence[Mapping[str, Any]], rules: Mapping[str, Any]) -> Any:
    """The body of a request to the model server, as `recommend` makes it; without a placement and withdrawn items."""
    body: dict[str, Any] = {
        "userId": person.model_id,
        "numResults": options.number,
        "excludeSeen": seen.for_server(options.exclude_seen),
        "explain": True,
    }
    if options.categories:
        body["categories"] = list(options.categories)
    if options.fields:
        body["fields"] = list(options.fields)
    if history:
        body["history"] = [dict(one) for one in history]
    if options.with_rules:
        body |= {name: rules[name] for name in ("deny", "boosts", "categoryCaps", "exploration") if rules.get(name)}
    return body


def from_model(
    connection: Connection,
    which: str,
    person: Person,
    options: Options,
    history: Sequence[Mapping[str, Any]],
    rules: Mapping[str, Any],
) -> Listed:
    """The list of a model of the endpoint, asked directly (`which` is MODEL or OTHER). Raises NoList, and what boto3
    raises.
    """
    body = invocation(person, options, history, rules)
    variant = VARIANTS[which]
    try:
        answer = connection.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=connection.outputs["EndpointName"],
            ContentType="application/json",
            TargetVariant=variant,
            Body=json.dumps(body),
        )
        content = answer["Body"].read()
    except ClientError as error:
        code = error.response["Error"].get("Code", "")
        if code in (
            "ValidationError",
            "ValidationException",
            "ModelError",
            "ServiceUnavailable",
            "ModelNotReadyException",
        ):
            raise NoList(
                f"The model {variant} does not answer: {error.response['Error'].get('Message', code)}"
            ) from error
        raise
    try:
        found = documents.read_object(content, "the model's answer")
    except Unfit as error:
        raise NoList(f"The model {variant} gave no usable answer: {error}.") from error
    notes = ["Asked directly, with the rules in force." if options.with_rules else "Asked directly, without rules."]
    if options.placement:
        notes.append("A placement counts in the shop's answer alone.")
    return Listed(
        title=f"The model of {variant}" + ("" if options.with_rules else ", without rules"),
        entries=entries_of(found.get("itemList")),
        version=str(found.get("modelVersion", "?")),
        source=str(found.get("source", "?")),
        notes=tuple(notes),
        raw=content.decode("utf-8", "replace")[: api.LONGEST_SHOWN],
        answer=found,
    )


# From a batch


def from_batch(connection: Connection, run_id: str, person: Person, options: Options) -> Listed:
    """The list that a run's batch wrote for a user. Raises NoList if there is none."""
    if not person.user_id:
        raise NoList("Lists are stored for users alone, not for visitors.")
    pointer = document(connection, f"runs/{run_id}/batch.json")
    prefix, shards = pointer.get("prefix"), pointer.get("shards")
    if not isinstance(prefix, str) or not isinstance(shards, int) or shards < 1:
        raise NoList(f"Run {run_id} has no stored lists: no batch was made while it served.")
    key = f"{prefix}{lists.part_of(person.user_id, shards):04d}.json.out"
    part = document(connection, key, LARGEST_PART_BYTES)
    users = part.get("users")
    pairs = users.get(person.user_id) if isinstance(users, dict) else None
    if pairs is None:
        raise NoList(f"Run {run_id} has stored no list for this person: its model had not met them.")
    try:
        ids, scores = lists.of_pairs(pairs)
    except lists.BadList as error:
        raise NoList(f"The stored list of run {run_id} cannot be used: {error}.") from error
    texts = part.get("itemFields")
    fields = texts if isinstance(texts, dict) else {}
    wanted = zip(ids[: options.number], scores, strict=False)
    return Listed(
        title="A stored list",
        entries=tuple(Entry(item_id, score, _fields(fields.get(item_id))) for item_id, score in wanted),
        version=run_id,
        source="batch",
        notes=(
            f"Written {pointer.get('writtenAt', 'at an unknown time')}, without rules, filters, reasons and what "
            "happened since.",
        ),
        raw=json.dumps({person.user_id: pairs}, ensure_ascii=False)[: api.LONGEST_SHOWN],
    )


def _fields(text: Any) -> Mapping[str, Any]:
    try:
        return documents.read_object(text, "fields") if isinstance(text, str) else {}
    except Unfit:
        return {}


def document(connection: Connection, key: str, most: int = 1 << 20) -> dict[str, Any]:
    """A JSON document of the artifacts bucket, or {} if it is not there. Raises NoList if it is too large or broken."""
    try:
        found = connection.client("s3").get_object(Bucket=connection.outputs["ArtifactsBucketName"], Key=key)
    except ClientError as error:
        if error.response["Error"].get("Code") in ("NoSuchKey", "404"):
            return {}
        raise
    with found["Body"] as body:
        if found["ContentLength"] > most:
            raise NoList(f"{key} has {found['ContentLength']:,} bytes; {most:,} are the most here.")
        content = body.read()
    try:
        return documents.read_object(content, key)
    except Unfit as error:
        raise NoList(f"{error}.") from error


# Two lists beside each other


@dataclass(frozen=True)
class Place:
    """Where an item of a list stands in the other one: `sign` and `words` for it. `moved` is None if it is new."""

    entry: Entry
    rank: int
    moved: int | None

    @property
    def sign(self) -> str:
        if self.moved is None:
            return "+"
        return "=" if self.moved == 0 else f"↑{self.moved}" if self.moved > 0 else f"↓{-self.moved}"

    @property
    def words(self) -> str:
        if self.moved is None:
            return "new in this list"
        if self.moved == 0:
            return "the same place"
        return f"{abs(self.moved)} {'higher' if self.moved > 0 else 'lower'} than in the first list"


def compare(first: Sequence[Entry], second: Sequence[Entry]) -> tuple[list[Place], list[Entry]]:
    """The items of the second list with where they stood in the first one, and the items that are gone."""
    ranks = {entry.item_id: rank for rank, entry in enumerate(first, 1)}
    places = [
        Place(entry, rank, ranks[entry.item_id] - rank if entry.item_id in ranks else None)
        for rank, entry in enumerate(second, 1)
    ]
    kept = {entry.item_id for entry in second}
    return places, [entry for entry in first if entry.item_id not in kept]


def summary(places: Sequence[Place], gone: Sequence[Entry]) -> str:
    """How two lists differ, in a sentence."""
    new = sum(place.moved is None for place in places)
    moved = sum(bool(place.moved) for place in places)
    same = len(places) - new - moved
    if places and not new and not moved and not gone:
        return "Both lists are the same."
    return f"{same} in the same place (=), {moved} moved (↑↓), {new} new (+), {len(gone)} gone (−)."


def why_absent(item_id: str, category: str, rules: Mapping[str, Any], withdrawn: Iterable[str]) -> str:
    """Why the shop does not show an item that the model would: as far as the documents in force tell."""
    if item_id in (rules.get("deny") or ()):
        return "denied by the rules"
    if item_id in withdrawn:
        return "withdrawn from the catalogue"
    caps = rules.get("categoryCaps") or {}
    full = [name for name in category.split("|") if name in caps]
    if full:
        return f"the category {full[0]} has at most {caps[full[0]]} places"
    if rules.get("boosts") or rules.get("exploration"):
        return "other items go before it by boosts or exploration"
    return ""


def with_fields(entries: Sequence[Entry], known: Mapping[str, Mapping[str, Any]]) -> tuple[Entry, ...]:
    """The entries with what is `known` of each item, by its id, where the list itself tells nothing."""
    return tuple(
        replace(
            entry,
            fields={
                **known.get(entry.item_id, {}),
                **{name: value for name, value in entry.fields.items() if value is not None},
            },
        )
        for entry in entries
    )


HEADS = {name: name for name in ("rank", "title", "item", "category", "score", "because of")}
"""The columns of a list as a table."""


def as_rows(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """A list as rows with the columns HEADS."""
    return [
        {
            "rank": rank,
            "title": str(entry.fields.get("title") or ""),
            "item": entry.item_id,
            "category": str(entry.fields.get("category") or ""),
            "score": entry.score,
            "because of": " ".join(entry.because),
        }
        for rank, entry in enumerate(entries, 1)
    ]
