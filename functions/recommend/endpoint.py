"""The model endpoint, and the names of the ways in which it may fail to answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, ReadTimeoutError

from recommend.budget import Budget
from recommend.circuit import Circuit
from recommend.ranking import GarbledAnswer, Ranking

_REASONS = {
    "ValidationError": "absent",
    "ModelError": "model_error",
    "ModelNotReadyException": "not_ready",
    "ThrottlingException": "throttled",
    "Throttling": "throttled",
    "TooManyRequestsException": "throttled",
}
# An endpoint that is not there says so at once, and is asked again by the next request: its first deployment must show.
_FAST = {"absent"}
_LEAST_TO_TRY_AGAIN = 0.03
"""Seconds."""


class EndpointUnavailable(Exception):
    """Raised when the endpoint has no ranking for us.

    `reason` is one of absent, model_error, not_ready, overloaded, throttled, timeout, garbled, circuit_open,
    unreachable; `detail` is safe to log. `transient`: another try may help at once. So it is not where all the time was
    taken, nor where there was no room: more requests would make less of it.
    """

    def __init__(self, reason: str, detail: str, transient: bool = False) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.transient = transient


class Endpoint:
    """The SageMaker endpoint `name` behind a circuit breaker."""

    def __init__(self, client: Any, name: str, circuit: Circuit | None = None) -> None:
        self._client = client
        self._name = name
        self._circuit = circuit or Circuit()

    def rank(self, invocation: Mapping[str, Any], budget: Budget) -> Ranking:
        """The endpoint's answer, in the budget. Raises `EndpointUnavailable`, at once while the circuit is open."""
        if self._circuit.is_open:
            raise EndpointUnavailable("circuit_open", "the endpoint failed several times in a row")
        try:
            ranking = self.probe(invocation, budget)
        except EndpointUnavailable as error:
            if error.reason not in _FAST:
                self._circuit.failed()
            raise
        self._circuit.succeeded()
        return ranking

    def probe(self, invocation: Mapping[str, Any], budget: Budget) -> Ranking:
        """As `rank`, whatever the circuit says. One more try is made where it may help and there is time."""
        try:
            return self._within(budget, invocation)
        except EndpointUnavailable as error:
            if not error.transient or budget.left < _LEAST_TO_TRY_AGAIN:
                raise
        return self._within(budget, invocation)

    def _within(self, budget: Budget, invocation: Mapping[str, Any]) -> Ranking:
        try:
            return budget.spend(lambda: self._invoke(invocation))
        except TimeoutError:
            raise EndpointUnavailable("timeout", "no answer within the budget of the request") from None

    def _invoke(self, invocation: Mapping[str, Any]) -> Ranking:
        try:
            response = self._client.invoke_endpoint(
                EndpointName=self._name,
                ContentType="application/json",
                Accept="application/json",
                Body=json.dumps(invocation).encode(),
            )
            return Ranking.from_endpoint(response["Body"].read(), response.get("InvokedProductionVariant"))
        except GarbledAnswer as error:
            raise EndpointUnavailable("garbled", str(error)) from None
        except ClientError as error:
            raise _unavailable(error) from None
        except (ConnectTimeoutError, ReadTimeoutError) as error:
            raise EndpointUnavailable("timeout", type(error).__name__) from None
        except BotoCoreError as error:
            raise EndpointUnavailable("unreachable", type(error).__name__, transient=True) from None


def _unavailable(error: ClientError) -> EndpointUnavailable:
    """Only codes go into the detail: a message may quote what the container said about a request."""
    code = error.response.get("Error", {}).get("Code", "")
    status = error.response.get("OriginalStatusCode") or error.response.get("ResponseMetadata", {}).get(
        "HTTPStatusCode"
    )
    reason = "overloaded" if code == "ModelError" and status == 503 else _REASONS.get(code, "unreachable")
    transient = reason == "unreachable" and isinstance(status, int) and status >= 500
    return EndpointUnavailable(reason, f"{code} {status}", transient)
