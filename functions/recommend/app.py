"""`GET /users/{userId}/recommendations`, `GET /items/{itemId}/related`, `POST /rankings` and `GET /health`, from HTTP
API events (payload 2.0).

A valid request is answered with 200 and a list from one source: the endpoint, or, when it does not answer within the
request's budget, the list that a batch wrote for the user, or the popularity list. Only where no model was ever
deployed there is nothing to answer with: 503.
Lines of the log never hold ids of users.

A router of our own: four routes cost less to read than Powertools' resolver costs every cold start (about 60 ms).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit, single_metric

from recommend.aws import Bucket, Runtime
from recommend.batch import Batch
from recommend.budget import Budget
from recommend.documents import POPULAR_KEY, RULES_KEY, Absent, Document, Unreadable
from recommend.endpoint import Endpoint, EndpointUnavailable
from recommend.ranking import ListFilter, Popularity, Ranking, rules_from_json
from recommend.request import InvalidRequest, RankingRequest, RecommendationsRequest, RelatedRequest, route
from shared import environment
from shared.observability import count, logger, metrics, observed
from shared.rules import NO_RULES, Rules


@dataclass(frozen=True, kw_only=True)
class Settings:
    """This function reads no ledger, so it does not ask for what every other function knows."""

    endpoint_name: str
    artifacts_bucket: str
    aws_region: str
    url_suffix: str
    request_budget_milliseconds: int = 250


SETTINGS = environment.load(Settings)

_BUDGET_SECONDS = SETTINGS.request_budget_milliseconds / 1000

artifacts = Bucket(SETTINGS.artifacts_bucket, SETTINGS.aws_region, SETTINGS.url_suffix)
runtime = Runtime(SETTINGS.aws_region, SETTINGS.url_suffix)
endpoint = Endpoint(runtime, SETTINGS.endpoint_name)
popularity = Document(artifacts, POPULAR_KEY, Popularity.from_json)
batch = Batch(artifacts)
rules = Document(artifacts, RULES_KEY, rules_from_json, otherwise=NO_RULES)

# Nobody's id, and no item's: the endpoint has nothing to compute.
_HEALTH_INVOCATION = {"userId": "health-check", "candidates": ["health-check"]}


@observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """One HTTP request, one HTTP response."""
    event = event or {}
    try:
        match route(event):
            case "recommendations":
                return _answer(200, recommendations(RecommendationsRequest.from_event(event), context.aws_request_id))
            case "related":
                return _answer(200, related(RelatedRequest.from_event(event), context.aws_request_id))
            case "rankings":
                return _answer(200, rankings(RankingRequest.from_event(event), context.aws_request_id))
            case _:
                status, body = health()
                return _answer(status, body)
    except InvalidRequest as refusal:
        count("RequestRefused")
        return _error(refusal.status, refusal.code, refusal.field, refusal.message)
    except Absent:
        count("NothingToServe")
        return _error(503, "NothingDeployed", None, "no model has been deployed yet, so there is nothing to recommend")
    except Unreadable as error:
        count("NothingToServe")
        logger.error("neither the endpoint nor the popularity list is available", extra={"reason": str(error)})
        return _error(
            503, "DependencyFailed", None, "neither the endpoint nor the popularity list is available; try again"
        )


def recommendations(request: RecommendationsRequest, recommendation_id: str) -> dict[str, Any]:
    """Items for a user out of the whole catalogue. Raises `Absent` or `Unreadable`."""
    list_filter, budget = ListFilter(_rules(), request.categories), Budget(_BUDGET_SECONDS)
    try:
        ranking = endpoint.rank(request.to_invocation() | list_filter.to_invocation(), budget)
    except EndpointUnavailable as error:
        _fall_back(error)
        # The lists of a batch leave out what the user has; whoever wants that too is not served by them.
        listed = (
            batch.ranking(request.user_id, request.num_results, list_filter, budget) if request.exclude_seen else None
        )
        ranking = listed or popularity.current().top(request.num_results, list_filter)
    _served(ranking)
    return ranking.to_recommendations(recommendation_id)


def related(request: RelatedRequest, recommendation_id: str) -> dict[str, Any]:
    """Items that are like one item. Raises `Absent` or `Unreadable`."""
    list_filter = ListFilter(_rules(), request.categories, without=(request.item_id,))
    try:
        ranking = endpoint.rank(request.to_invocation() | list_filter.to_invocation(), Budget(_BUDGET_SECONDS))
    except EndpointUnavailable as error:
        _fall_back(error)
        ranking = popularity.current().top(request.num_results, list_filter)
    _served(ranking)
    return ranking.to_recommendations(recommendation_id)


def rankings(request: RankingRequest, recommendation_id: str) -> dict[str, Any]:
    """The given items in a user's order: the list is the caller's own, so no rule takes an item out of it. Raises
    `Absent` or `Unreadable`.
    """
    try:
        ranking = endpoint.rank(request.to_invocation(), Budget(_BUDGET_SECONDS))
    except EndpointUnavailable as error:
        _fall_back(error)
        ranking = popularity.current().rank(request.input_list)
    _served(ranking)
    return ranking.to_personalized_ranking(recommendation_id)


def health() -> tuple[int, dict[str, Any]]:
    """Who would answer now: `ok` (200, the endpoint), `degraded` (200, the popularity list) or `unavailable` (503)."""
    try:
        version = endpoint.probe(_HEALTH_INVOCATION, Budget(_BUDGET_SECONDS)).model_version
        return 200, {"status": "ok", "model": {"version": version}, "endpoint": {"status": "answering"}}
    except EndpointUnavailable as error:
        reason = error.reason
    try:
        version = popularity.current().run_id
    except (Absent, Unreadable):
        return 503, {"status": "unavailable", "model": {"version": None}, "endpoint": {"status": reason}}
    return 200, {"status": "degraded", "model": {"version": version}, "endpoint": {"status": reason}}


def _rules() -> Rules:
    """The shop's rules: none where it has none, or where they were never readable, since a list is worth more than a
    rule.
    """
    current = rules.current()
    if rules.unreadable:
        with single_metric(name="RulesUnreadable", unit=MetricUnit.Count, value=1):
            pass  # by itself, without the dimensions of what is served
        logger.warning(
            "the business rules cannot be read: what was read last, if anything, is applied",
            extra={"reason": rules.problem},
        )
    return current


def _fall_back(error: EndpointUnavailable) -> None:
    with single_metric(name="EndpointFallback", unit=MetricUnit.Count, value=1) as metric:
        metric.add_dimension(name="reason", value=error.reason)
    # While the circuit is open, the line that told why it opened is enough.
    if error.reason != "circuit_open":
        logger.warning("the endpoint does not answer", extra={"reason": error.reason, "detail": error.detail})


def _served(ranking: Ranking) -> None:
    metrics.add_dimension(name="source", value=ranking.source)
    count("RecommendationServed")
    if ranking.source == "popular" and popularity.problem:
        logger.warning("the popularity list is an earlier copy", extra={"reason": popularity.problem})


def _answer(status: int, body: dict[str, Any]) -> dict[str, Any]:
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    if status == 503:
        headers["retry-after"] = "60"
    return {"statusCode": status, "headers": headers, "body": json.dumps(body), "isBase64Encoded": False}


def _error(status: int, code: str, field: str | None, message: str) -> dict[str, Any]:
    return _answer(status, {"error": {"code": code, "field": field, "message": message}})
