"""`GET /users/{userId}/recommendations`, `GET /sessions/{sessionId}/recommendations`, `POST /recommendations`,
`GET /items/{itemId}/related`, `POST /rankings` and `GET /health`, from HTTP API events (payload 2.0).

A valid request gets 200 and a list from one source: the endpoint or, if it does not answer within the request's time
budget or its answer must not be shown, the user's list from a batch, or the popularity list. The answer is 503 only if
no model was ever deployed or no list can be read. Log lines never contain ids of users or sessions.

What a person did since the training is read before the model is asked; if it cannot be read in time, the answer is as
if there were none.

The router is our own: Powertools' resolver adds about 60 ms to every cold start.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit, single_metric

from contracts import event_types, hours, placements, popular_now, seen
from contracts.event_types import EventTypes
from contracts.placements import RECOMMENDATIONS, RELATED, Placements
from contracts.recommendation_ids import Answered
from recommend.batch import Batch
from recommend.beside import Beside
from recommend.budget import Budget
from recommend.documents import POPULAR_KEY, RULES_KEY, Absent, Document, Unreadable
from recommend.endpoint import Endpoint, EndpointUnavailable
from recommend.garbled import GarbledAnswer
from recommend.history import NO_HISTORY, History
from recommend.list_filter import ListFilter, rules_from_json
from recommend.people import People
from recommend.person import Person
from recommend.placement import Listing, placements_from_json
from recommend.popular_now import NOTHING, PopularNow, StandIn
from recommend.ranking import Ranking
from recommend.recent import OPENING, Reading, RecentEvents, RecentEventsUnavailable
from recommend.request import RankingRequest, RecommendationsRequest, RelatedRequest
from recommend.routes import route
from recommend.stored_lists import Popularity
from recommend.trial import NO_SIDE, CurrentTrial, Side
from recommend.withdrawal import Withdrawal
from shared import environment, http
from shared.caller import Caller
from shared.observability import count, logger, metrics, observed
from shared.refusal import InvalidRequest
from shared.rules import NO_RULES, Rules
from shared.signed import Bucket, Runtime, Table


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Environment of this function. It reads no ledger, so it does not need the common settings."""

    endpoint_name: str
    artifacts_bucket: str
    aws_region: str
    url_suffix: str
    stack_id: str
    events_table: str
    request_budget_milliseconds: int = 250
    recent_events_milliseconds: int = 10
    endpoint_hours: str = ""
    jwt_user_claim: str = ""


WITHOUT_ENDPOINT = "AnsweredWithoutEndpoint"
SETTINGS = environment.load(Settings)
try:
    HOURS = hours.parse(SETTINGS.endpoint_hours)
except ValueError as fault:
    raise environment.BadEnvironment(f"ENDPOINT_HOURS {fault}") from fault

_BUDGET_SECONDS = SETTINGS.request_budget_milliseconds / 1000
_RECENT_SECONDS = SETTINGS.recent_events_milliseconds / 1000
_NOW_SECONDS = 0.05  # for the first read of what is popular now, which begins when it is needed

artifacts = Bucket(SETTINGS.artifacts_bucket, SETTINGS.aws_region, SETTINGS.url_suffix)
runtime = Runtime(SETTINGS.aws_region, SETTINGS.url_suffix)
endpoint = Endpoint(runtime, SETTINGS.endpoint_name)
popularity = Document(artifacts, POPULAR_KEY, Popularity.from_json)
batch = Batch(artifacts)
rules = Document(artifacts, RULES_KEY, rules_from_json, otherwise=NO_RULES)
people = People(artifacts)
withdrawal = Withdrawal(artifacts)
placed = Document(artifacts, placements.KEY, placements_from_json, otherwise=Placements())
now = Beside(artifacts, popular_now.KEY, PopularNow.from_json, NOTHING)
trial = CurrentTrial(artifacts)
types = Beside(artifacts, event_types.KEY, EventTypes.from_json, event_types.DEFAULT)
recent = RecentEvents(Table(SETTINGS.events_table, SETTINGS.aws_region, SETTINGS.url_suffix), _RECENT_SECONDS)

# An unknown user and an unknown item: the endpoint has nothing to compute.
_HEALTH_INVOCATION = {"userId": "health-check", "candidates": ["health-check"]}


@observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer one HTTP request."""
    event = event or {}
    caller = Caller.from_event(event, SETTINGS.jwt_user_claim)
    request_id = context.aws_request_id
    try:
        match route(event):
            case "recommendations":
                return _answer(200, recommendations(RecommendationsRequest.from_event(event), request_id, caller))
            case "stateless":
                return _answer(200, recommendations(RecommendationsRequest.from_body(event), request_id, caller))
            case "related":
                return _answer(200, related(RelatedRequest.from_event(event), request_id))
            case "rankings":
                return _answer(200, rankings(RankingRequest.from_event(event), request_id, caller))
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


def recommendations(request: RecommendationsRequest, request_id: str, caller: Caller) -> dict[str, Any]:
    """Recommend items of the whole catalogue to a person. Raises `InvalidRequest`, `Absent` or `Unreadable`."""
    budget = Budget(_BUDGET_SECONDS)
    people.begin()
    trial.begin()
    reading = _begin_to_read(request, budget)
    listing = _listing(request, RECOMMENDATIONS, request.person.name)
    request = listing.completed(request)
    number = listing.page.depth(request.num_results)
    list_filter = ListFilter(listing.rules(_rules()), request.categories)
    person, history = _history(request, reading)
    caller.may_ask_for(person.user_id)  # of the request, or else of the session
    # A list that no model makes says nothing of the sides.
    side = _side(person.key) if listing.is_of_model else NO_SIDE

    def answer(name: str) -> Ranking:
        # A forgotten person is answered under another name, and without what they did.
        known = history if name == person.name else NO_HISTORY
        left_out = known.left_out(request.exclude_seen)
        rules = list_filter.to_invocation() | list_filter.rules.to_exploration()
        asked = replace(request, num_results=number).to_invocation(name, known) | rules
        found = _ranked(asked, budget, left_out | list_filter.untold, side) if listing.is_of_model else None
        sold = replace(list_filter, without=left_out, withdrawn=withdrawal.items())
        # The lists of a batch leave out all seen items, so they cannot answer a request that wants them all.
        if found is None and listing.is_of_model and request.exclude_seen != seen.NONE:
            found = _listed(name, number, sold, budget)
        return _with_popular(found, listing, number, sold)

    ranking, token = listing.cut(_known(person.name, budget, answer), request.num_results)
    _served(ranking, listing.name)
    side = _counted(side, ranking)
    shown = ranking.to_recommendations(_id(ranking, request_id, side, listing.name), request.fields, request.explain)
    return shown | side.shown() | token


def related(request: RelatedRequest, request_id: str) -> dict[str, Any]:
    """Recommend items similar to one item. Raises `Absent` or `Unreadable`."""
    listing = _listing(request, RELATED, request.item_id)
    request = listing.completed(request)
    number = listing.page.depth(request.num_results)
    list_filter = ListFilter(listing.rules(_rules()), request.categories, without=frozenset([request.item_id]))
    asked = replace(request, num_results=number).to_invocation() | list_filter.to_invocation()
    found = _ranked(asked, Budget(_BUDGET_SECONDS), list_filter.untold) if listing.is_of_model else None
    ranking = _with_popular(found, listing, number, replace(list_filter, withdrawn=withdrawal.items()))
    ranking, token = listing.cut(ranking, request.num_results)
    _served(ranking, listing.name)
    return ranking.to_related(_id(ranking, request_id, placement=listing.name), request.fields) | token


def rankings(request: RankingRequest, request_id: str, caller: Caller) -> dict[str, Any]:
    """Rank the given items for a user. The list is the caller's, so the business rules do not apply. Raises
    `InvalidRequest`, `Absent` or `Unreadable`.
    """
    caller.may_ask_for(request.user_id)
    budget = Budget(_BUDGET_SECONDS)
    trial.begin()
    side = _side(Person(user_id=request.user_id).key)

    def answer(user_id: str) -> Ranking:
        try:
            return endpoint.rank(replace(request, user_id=user_id).to_invocation(), budget, side.variant)
        except EndpointUnavailable as error:
            _fall_back(error)
            model = _popular()
            stand_in = StandIn.at(time.time(), model, _now())
            return _popular_or(lambda: stand_in.rank(request.input_list), model.rank(request.input_list))

    ranking = _known(request.user_id, budget, answer)
    _served(ranking)
    side = _counted(side, ranking)
    return ranking.to_personalized_ranking(_id(ranking, request_id, side), request.fields) | side.shown()


def health() -> tuple[int, dict[str, Any]]:
    """Return the health: `ok` (200, the endpoint answers), `degraded` (200, the popularity list) or `unavailable`
    (503).
    """
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


def _begin_to_read(request: RecommendationsRequest, budget: Budget) -> Reading | None:
    """Begin to read the person's recent events; None if none count."""
    person = request.person
    if request.history is not None or (person.user_id is not None and people.is_forgotten(person.user_id)):
        return None
    types.begin()
    return recent.begin(person, budget.left)


def _history(request: RecommendationsRequest, reading: Reading | None) -> tuple[Person, History]:
    """Return who the person is, for a session that has logged in its user, and what they chose."""
    if reading is None:
        return request.person, request.history or NO_HISTORY
    try:
        person, events = reading.result()
    except RecentEventsUnavailable as error:
        with single_metric(name="RecentEventsUnavailable", unit=MetricUnit.Count, value=1) as metric:
            metric.add_dimension(name="reason", value=error.reason)
        if error.reason != "circuit_open":
            logger.warning(
                "recent events cannot be read; the answer is as if there were none", extra={"reason": error.reason}
            )
        return request.person, NO_HISTORY
    return person, History.from_events(events, types.known(_RECENT_SECONDS * OPENING), time.time())


def _side(key: str | None) -> Side:
    """Return the side of the person with this key of their events in the trial."""
    side = trial.side_of(key, _RECENT_SECONDS * OPENING)
    if trial.problem:
        with single_metric(name="TrialUnreadable", unit=MetricUnit.Count, value=1):
            pass  # a metric without the dimensions of the others
        logger.warning("the trial cannot be read; the last known one counts", extra={"reason": trial.problem})
    return side


def _counted(side: Side, ranking: Ranking) -> Side:
    """Return the side that the answer counts for; tell if it is not the person's."""
    counted = side.of_answer(ranking)
    if counted != side:
        with single_metric(name="TrialSideNotServed", unit=MetricUnit.Count, value=1):
            pass
    return counted


def _ranked(
    invocation: dict[str, Any], budget: Budget, left_out: frozenset[str] = frozenset(), side: Side = NO_SIDE
) -> Ranking | None:
    """Return the endpoint's answer without withdrawn items and those of `left_out`; None if there is none, or nothing
    is left of it.
    """
    try:
        return endpoint.rank(invocation, budget, side.variant).without(withdrawal.items() | left_out)
    except EndpointUnavailable as error:
        _fall_back(error)
        return None


def _with_popular(found: Ranking | None, listing: Listing, number: int, list_filter: ListFilter) -> Ranking:
    """Return the ranking, or in place of none, or of one of popular items, what is popular now. Raises `Absent` or
    `Unreadable` if there is none at all.
    """
    if found is not None and found.source != "popular":
        return found
    known, moment = _now(), time.time()
    if found is not None and known.window(listing.window, moment) is None:
        return found
    try:
        model = _popular()
    except (Absent, Unreadable):
        if found is None:
            raise
        model = Popularity((), found.model_version)
    stand_in = StandIn.at(moment, model, known, listing.stand_in, listing.window)
    if found is None:
        return _popular_or(lambda: stand_in.top(number, list_filter), model.top(number, list_filter))
    return _popular_or(lambda: stand_in.before(found, number, list_filter), found)


def _now() -> PopularNow:
    now.begin()
    return now.known(_NOW_SECONDS)


def _popular_or(popular: Callable[[], Ranking], otherwise: Ranking) -> Ranking:
    """Return the list of popular items of now, or the other one if its document is broken."""
    try:
        return popular()
    except GarbledAnswer as error:
        _refused("popular_now", error)
        return otherwise


def _listing(request: RecommendationsRequest | RelatedRequest, route: str, subject: str) -> Listing:
    """Return which list is asked for. Raises `InvalidRequest`."""
    withdrawal.begin()
    return Listing.from_query(request.parameters, route, subject, _placements, SETTINGS.stack_id)


def _placements() -> Placements | None:
    """Return the shop's placements; None if they were never readable."""
    current = placed.current()
    if placed.unreadable:
        with single_metric(name="PlacementsUnreadable", unit=MetricUnit.Count, value=1):
            pass  # a metric without the dimensions of the others
        logger.warning(
            "the placements cannot be read; the last readable ones, if any, are used", extra={"reason": placed.problem}
        )
    return current if current.by_name or not placed.unreadable else None


def _id(ranking: Ranking, request_id: str, side: Side = NO_SIDE, placement: str = "") -> str:
    """Return the id of an answer, which tells what gave it."""
    made = Answered(
        run_id=ranking.model_version,
        source=ranking.source,
        request=request_id,
        placement=placement,
        trial=side.trial,
        variant=side.variant,
    )
    return made.to_text(SETTINGS.stack_id)


def _known(name: str, budget: Budget, answer: Callable[[str], Ranking]) -> Ranking:
    """Return the answer to this person, or to a stranger if the shop has forgotten this one. Raises as `answer`
    does.
    """
    ranking = people.as_known(name, budget, answer)
    if people.problem:
        with single_metric(name="ForgottenUnreadable", unit=MetricUnit.Count, value=1):
            pass  # a metric without the dimensions of the others
        logger.warning(
            "the forgotten people cannot be read; the last known ones count", extra={"reason": people.problem}
        )
    return ranking


def _rules() -> Rules:
    """Return the shop's rules; none if it has none, or if they were never readable: a list without rules is better
    than no list.
    """
    current = rules.current()
    if rules.unreadable:
        with single_metric(name="RulesUnreadable", unit=MetricUnit.Count, value=1):
            pass  # a metric without the dimensions of the others
        logger.warning(
            "the business rules cannot be read; the last readable ones, if any, are applied",
            extra={"reason": rules.problem},
        )
    return current


def _listed(name: str, number: int, list_filter: ListFilter, budget: Budget) -> Ranking | None:
    try:
        return batch.ranking(name, number, list_filter, budget)
    except GarbledAnswer as error:
        _refused("batch", error)
        return None


def _popular() -> Popularity:
    """Raises `Absent` or `Unreadable`."""
    try:
        current = popularity.current()
    finally:
        if popularity.refused:
            _refused("popular", popularity.refused)
    if current.fault and not popularity.refused:
        _refused("popular", current.fault)
    return current


def _refused(name: str, error: GarbledAnswer) -> None:
    """Tell that a stored list, or an entry of it, is not used."""
    with single_metric(name="ListRefused", unit=MetricUnit.Count, value=1) as metric:
        metric.add_dimension(name="list", value=name)
        metric.add_dimension(name="reason", value=error.reason)
    logger.warning(
        "a list, or an entry of it, is not used", extra={"list": name, "reason": error.reason, "detail": str(error)}
    )


def _fall_back(error: EndpointUnavailable) -> None:
    with single_metric(name="EndpointFallback", unit=MetricUnit.Count, value=1) as metric:
        metric.add_dimension(name="reason", value=error.reason)
    if not HOURS.has(datetime.now(UTC)):
        return  # it rests, as it should: no share of answers without it, so no alarm
    count(WITHOUT_ENDPOINT)
    # While the circuit is open, the log line of its opening is enough.
    if error.reason != "circuit_open":
        message = "the endpoint's answer is not shown" if error.is_refused else "the endpoint does not answer"
        logger.warning(message, extra={"reason": error.reason, "detail": error.detail})


def _served(ranking: Ranking, placement: str = "") -> None:
    if placement:
        with single_metric(name="PlacementServed", unit=MetricUnit.Count, value=1) as metric:
            metric.add_dimension(name="placement", value=placement)
            metric.add_dimension(name="source", value=ranking.source)
    if WITHOUT_ENDPOINT not in metrics.metric_set:
        count(WITHOUT_ENDPOINT, 0)  # so that its average is a share, which an alarm can watch
    metrics.add_dimension(name="source", value=ranking.source)
    metrics.add_dimensions(service=metrics.service)  # the same over all sources
    count("RecommendationServed")
    if ranking.source == "popular" and popularity.problem:
        logger.warning("an earlier copy of the popularity list is used", extra={"reason": popularity.problem})


def _answer(status: int, body: dict[str, Any]) -> dict[str, Any]:
    return http.answer(status, body)


def _error(status: int, code: str, field: str | None, message: str) -> dict[str, Any]:
    return _answer(status, http.error(code, field, message))
