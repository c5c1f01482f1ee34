"""The lists of some people under the rules in force and under a draft, without publishing it."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from botocore.exceptions import ClientError

from contracts import limits, placements
from control import lists, people, rules
from control.connection import Connection
from control.lists import Entry, Listed, NoList, Options, Person
from control.spreadsheet import without_formula

PEOPLE = 10
"""Number of people whose lists are shown."""
EXACT = (
    "The model itself was asked twice, with the rules in force and with the draft, so the difference is the draft's. "
    "Not shown: items that the newest data withdraw, the second model of a split, and the stored or popular list that "
    "stands in for people whom the model does not know. Places for exploration are drawn anew for each answer."
)
ESTIMATED = (
    "An estimate: the model could not be asked directly, so the draft was applied to the API's longer answer. Not "
    "shown: items that come back because the draft denies or caps less, items below the first "
    f"{limits.RESULTS}, and places for exploration, which the model draws."
)


@dataclass(frozen=True)
class Effect:
    """One person's lists. `problem` says why there are none."""

    person: str
    before: tuple[Entry, ...] = ()
    after: tuple[Entry, ...] = ()
    source: str = ""
    is_exact: bool = False
    problem: str = ""

    @property
    def is_changed(self) -> bool:
        return [one.item_id for one in self.before] != [one.item_id for one in self.after]

    @property
    def summary(self) -> str:
        """How the lists differ, in a sentence."""
        if self.problem:
            return self.problem
        places, gone = lists.compare(self.before, self.after)
        return lists.summary(places, gone)


def effect(
    connection: Connection, user_id: str, in_force: Mapping[str, Any], draft: Mapping[str, Any], request: Options
) -> Effect:
    """The lists of one person. Raises what boto3 raises for calls other than those of the model."""
    person = Person(user_id)
    try:
        asked = _asked_twice(connection, person, in_force, draft, request)
    except NoList:
        asked = None
    except ClientError as error:
        if "Denied" not in error.response["Error"].get("Code", ""):
            raise
        asked = None
    if asked is not None:
        before, after = asked
        return Effect(user_id, before.entries, after.entries, before.source, is_exact=True)
    try:
        longer = lists.from_shop(connection, person, replace(request, number=limits.RESULTS))
    except NoList as error:
        return Effect(user_id, problem=str(error))
    before_entries = longer.entries[: request.number]
    return Effect(user_id, before_entries, _estimated(longer, in_force, draft, request.number), longer.source)


def _asked_twice(
    connection: Connection, person: Person, in_force: Mapping[str, Any], draft: Mapping[str, Any], request: Options
) -> tuple[Listed, Listed]:
    """The model's lists under both rules, with the same recent events of the person."""
    recent = people.recent(connection, person)
    history = people.history_of(recent.events, people.types_in_force(connection), time.time())
    before = lists.from_model(connection, lists.MODEL, person, request, history, in_force)
    return before, lists.from_model(connection, lists.MODEL, person, request, history, draft)


def _estimated(longer: Listed, in_force: Mapping[str, Any], draft: Mapping[str, Any], number: int) -> tuple[Entry, ...]:
    by_id = {entry.item_id: entry for entry in longer.entries}
    scored = [
        rules.Scored(entry.item_id, entry.score, rules.categories_of(entry.fields.get("category")))
        for entry in longer.entries
    ]
    chosen = rules.estimate(scored, in_force, draft, number)
    return tuple(replace(by_id[one.item_id], score=one.score) for one in chosen)


def effects(
    connection: Connection,
    user_ids: Sequence[str],
    in_force: Mapping[str, Any],
    draft: Mapping[str, Any],
    request: Options,
) -> list[Effect]:
    """The lists of several people, one after the other, so that the shop's endpoint has room for its customers."""
    return [effect(connection, user_id, in_force, draft, request) for user_id in user_ids[:PEOPLE]]


def as_csv(found: Sequence[Effect]) -> str:
    """The lists as a table: a row for each place of each list."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(["person", "list", "place", "item", "title", "score", "isExact"])
    for one in found:
        for name, entries in (("before", one.before), ("after", one.after)):
            for place, entry in enumerate(entries, 1):
                title = str(entry.fields.get("title") or "")
                texts = [without_formula(text) for text in (one.person, entry.item_id, title)]
                writer.writerow([texts[0], name, place, texts[1], texts[2], entry.score, one.is_exact])
    return file.getvalue()


def note(found: Sequence[Effect]) -> str:
    """How the lists were made, and what they cannot show."""
    return EXACT if found and all(one.is_exact or one.problem for one in found) else ESTIMATED


def request_of(placement: Mapping[str, Any] | None) -> Options:
    """The request that a page of the shop would make, with what the placement says."""
    given = placement or {}
    return Options(
        number=min(int(given.get("numResults", limits.DEFAULT_RESULTS)), limits.RESULTS),
        exclude_seen=str(given.get("excludeSeen", "any")),
        categories=tuple(given.get("categories", ())),
    )


def draft_rules(
    kind: rules.Kind, draft: Mapping[str, Any], in_force: Mapping[str, Mapping[str, Any]], name: str
) -> tuple[dict[str, Any], dict[str, Any], Options] | None:
    """The rules before and after, and the request, for a draft of `kind`; `in_force` has the documents in force by
    kind, `name` is a placement (empty: none). None if the draft changes no list of the model.
    """
    current = in_force["rules"]
    if kind is rules.RULES:
        return dict(current), dict(draft), request_of(None)
    if kind is not rules.PLACEMENTS:
        return None
    drafted = draft.get("placements", {}).get(name)
    if drafted is None or drafted.get("list", placements.RECOMMENDATIONS) != placements.RECOMMENDATIONS:
        return None
    before = in_force["placements"].get("placements", {}).get(name, {})
    return rules.for_placement(current, before), rules.for_placement(current, drafted), request_of(drafted)
