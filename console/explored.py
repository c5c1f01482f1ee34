"""Readers of the page Explore; every function here blocks, so that pages call them by `frame.read`."""

from __future__ import annotations

from typing import Any

from console import state
from console.shelf import SHELF
from contracts.documents import Unfit
from contracts.forgotten import Forgotten
from control import api, catalogue, lists, people
from control.lists import MODEL, OTHER, SHOP, STORED, Options, Person


def serving() -> dict[str, Any]:
    """The record of the model that serves. Raises NoList if none does."""
    found = state.current.ledger.serving()
    if not found.get("runId"):
        raise lists.NoList("No model serves yet: the first run that passes its gate will. The page Runs shows them.")
    return found


def known_catalogue() -> catalogue.Catalogue:
    """People and items of the model that serves; the first call reads its archive."""
    return SHELF.take(state.current.connection, str(serving().get("modelDataUrl", "")))


def forgotten() -> Forgotten:
    """The forgotten people. Raises NoList if it cannot be told who they are."""
    try:
        return people.forgotten(state.current.connection)
    except Unfit as error:
        raise lists.NoList(f"{error}. Nothing of people is shown until it can be read.") from error


def sources() -> dict[str, str]:
    """The lists that there are, by the argument of the address."""
    ledger = state.current.ledger
    now, split = serving(), ledger.split()
    found = {SHOP: "What the shop answers", MODEL: f"Champion: {now['runId']}, asked directly"}
    if split:
        found[OTHER] = f"Challenger: {split['runId']}, asked directly"
    previous = now.get("previous")
    for run_id in [now["runId"], *([previous["runId"]] if isinstance(previous, dict) else [])]:
        found[f"{STORED}:{run_id}"] = f"Stored list of {run_id}"
    return found


def usual_pair(sources: dict[str, str], person: Person) -> tuple[str, str]:
    """During a split the two models; else the shop's answer beside the previous model's stored list, or the model's."""
    if OTHER in sources:
        return MODEL, OTHER
    stored = [name for name in sources if name.startswith(STORED)]
    return SHOP, stored[1] if len(stored) > 1 and person.user_id else MODEL


def list_of(source: str, person: Person, options: Options, history: list[dict[str, Any]], rules: dict[str, Any]) -> Any:
    """A list, or the sentence that says why there is none."""
    connection = state.current.connection
    try:
        if source == SHOP:
            return lists.from_shop(connection, person, options)
        if source.startswith(STORED):
            return lists.from_batch(connection, source.partition(":")[2], person, options)
        return lists.from_model(connection, source, person, options, history, rules)
    except (lists.NoList, api.Unanswered) as error:
        return str(error)


def reasons_of(chosen: tuple[str, str], new: list[lists.Entry], gone: list[lists.Entry], found: dict[str, Any]) -> Any:
    """Why the shop lacks what a model would show, by item id: of the items that are in the other list alone."""
    lacking = new if chosen[0] == SHOP else gone if chosen[1] == SHOP else []
    return {
        entry.item_id: lists.why_absent(
            entry.item_id, str(entry.fields.get("category") or ""), found["rules"], found["withdrawn"]
        )
        for entry in lacking
    }
