"""`POST /events`: the API's document, the code and its answers agree. Requests are made from the document, and answered
by the function on stores in memory.
"""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection
from werkzeug.wrappers import Request, Response

from recommend.openapi import document
from tests.unit.functions.cloud import CONTEXT, NOW
from tests.unit.functions.conftest import cloud, lender, load, variables
from tests.unit.functions.eventing import Stores, events

__all__ = ["cloud", "events", "lender", "load", "variables"]  # fixtures

pytestmark = pytest.mark.slow

FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)


def web(app: ModuleType) -> Any:
    """The function behind HTTP, as API Gateway calls it."""

    @Request.application
    def answer(request: Request) -> Response:
        event = {
            "routeKey": "POST /events",
            "headers": {name.lower(): value for name, value in request.headers.items()},
            "body": request.get_data().decode("utf-8", "surrogateescape"),
        }
        given = app.handler(event, CONTEXT)
        return Response(given["body"], given["statusCode"], given["headers"])

    return answer


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_every_answer_is_as_the_document_says(
    events: ModuleType, monkeypatch: pytest.MonkeyPatch, mode: GenerationMode
) -> None:
    stores = Stores()
    monkeypatch.setattr(events.TABLE, "_dynamodb", stores)
    monkeypatch.setattr(events, "FIREHOSE", stores)
    schema = schemathesis.openapi.from_dict(document())
    schema.app = web(events)
    statuses = set()

    @FEW
    @given(schema["/events"]["POST"].as_strategy(generation_mode=mode))
    def holds(case: Any) -> None:
        if mode is GenerationMode.POSITIVE:
            for event in case.body["eventList"]:
                event["sentAt"] = NOW  # the document cannot say which times are recent
        response = case.call()
        # A list of which a part can be used is accepted in part.
        case.validate_response(response, excluded_checks=[negative_data_rejection])
        if response.status_code == 200:
            refused = json.loads(response.content)["refused"]
            assert bool(refused) is (mode is GenerationMode.NEGATIVE)
        statuses.add(response.status_code)

    holds()
    assert statuses <= {200, 400, 413, 415}
    assert 200 in statuses if mode is GenerationMode.POSITIVE else 400 in statuses
