"""Shows recommendations from the HTTP API, with titles."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from control import people
from control.api import refusal
from control.ledger import Ledger
from local import http
from local.catalogue import Dataset
from local.console import Show
from local.project import Problem, Project, RunFailedError

TITLE_WIDTH = 60
BUSY_TRIES, BUSY_SECONDS = 6, 5.0
"""How often an answer of 503 is asked for again, and after how long: the API's own advice."""


def ask(
    project: Project, outputs: Mapping[str, str], user_id: str, number: int | None, candidates: list[str] | None = None
) -> http.Answer:
    """One request: `GET /recommendations`, or `POST /rankings` when there are candidates."""
    if candidates is not None:
        return http.call(
            project, outputs["ApiId"], "POST", "/rankings", body={"userId": user_id, "inputList": candidates}
        )
    query = {"userId": user_id} | ({"numResults": str(number)} if number is not None else {})
    return http.call(project, outputs["ApiId"], "GET", "/recommendations", query)


def serving_dataset(project: Project, outputs: Mapping[str, str]) -> Dataset | None:
    """The dataset of the serving model, or None if none serves."""
    version = Ledger(project, outputs["RunsTableName"]).serving().get("datasetVersion")
    return Dataset(project.client("s3"), outputs["DataBucketName"], str(version)) if version else None


def show_recommendations(
    project: Project,
    outputs: Mapping[str, str],
    show: Show,
    user_id: str,
    number: int | None = 10,
    candidates: list[str] | None = None,
    dataset: Dataset | None = None,
) -> http.Answer:
    """Request and show the list. Raises Problem if the API refuses the request, RunFailedError if it cannot answer."""
    answer = ask(project, outputs, user_id, number, candidates)
    if answer.status != 200:
        message = refusal(answer)
        raise Problem(message) if 400 <= answer.status < 500 else RunFailedError(message)
    if not isinstance(answer.body, dict):
        raise RunFailedError("the API answered 200 with a body that is not a JSON object")
    dataset = dataset or serving_dataset(project, outputs)
    items = answer.body.get("itemList") or answer.body.get("personalizedRanking") or []
    rows = [_row(position, entry, dataset) for position, entry in enumerate(items, 1)]
    forgotten = bool(people.forgotten(project.connection).digest_of(user_id))
    liked = dataset.liked_by(user_id) if dataset and not forgotten else []
    version = (answer.body.get("model") or {}).get("version") or "no model"
    show.heading(f"Recommendations for {user_id}" if candidates is None else f"Ranking for {user_id}")
    if liked:
        show.line("  liked before: " + "; ".join(item.label for item in liked))
    elif forgotten:
        show.line("  forgotten: these are the most popular items, as for a stranger")
    elif dataset is not None:
        show.line("  unknown to the model: these are the most popular items")
    show.table(["", "item", "title", "category", "score"], rows)
    unknown = answer.body.get("unknownItems")
    show.line(
        f"  {answer.body.get('source', '?')}, by {version}"
        + (f", unknown items left out: {unknown}" if unknown else "")
    )
    return answer


def _row(position: int, entry: Mapping[str, Any], dataset: Dataset | None) -> tuple[str, str, str, str, str]:
    item = dataset.item(str(entry["itemId"])) if dataset else None
    title = (item.title or "") if item else ""
    category = (item.category or "") if item else ""
    score = entry.get("score")
    return (
        str(position),
        str(entry["itemId"]),
        title if len(title) <= TITLE_WIDTH else f"{title[: TITLE_WIDTH - 1]}…",
        category if len(category) <= TITLE_WIDTH // 2 else f"{category[: TITLE_WIDTH // 2 - 1]}…",
        _score(score),
    )


def _score(score: Any) -> str:
    """A score as text: probabilities with four digits, counts of interactions (popular items) as whole numbers."""
    if not isinstance(score, (int, float)):
        return ""
    return f"{score:,.0f}" if score > 1 else f"{score:.4f}"


def answered(
    project: Project,
    outputs: Mapping[str, str],
    method: str,
    path: str,
    query: dict[str, str] | None = None,
    body: Any = None,
) -> dict[str, Any]:
    """The body of an answer of the API; an answer of 503 is asked for again, as it says. Raises RunFailedError for any
    other status than 200, and for 503 after BUSY_TRIES times.
    """
    answer = http.call(project, outputs["ApiId"], method, path, query, body)
    for _ in range(BUSY_TRIES - 1):
        if answer.status != 503:
            break
        time.sleep(BUSY_SECONDS)
        answer = http.call(project, outputs["ApiId"], method, path, query, body)
    if answer.status != 200 or not isinstance(answer.body, dict):
        raise RunFailedError(refusal(answer))
    return answer.body
