"""The model endpoint, and the reasons for which it may not answer."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from recommend.budget import Budget
from recommend.circuit import Circuit
from recommend.garbled import GarbledAnswer
from recommend.ranking import Ranking
from shared.signed import Answer, NoAnswer, Runtime

_REASONS = {
    "ValidationError": "absent",
    "ModelError": "model_error",
    "ModelNotReadyException": "not_ready",
    "ThrottlingException": "throttled",
    "Throttling": "throttled",
    "TooManyRequestsException": "throttled",
}
# These do not open the circuit. A missing endpoint costs no time, and its first deployment takes effect at once. A user
# who has seen everything gets an empty list, which says nothing about the answers to others.
_FAST = {"absent", "empty"}
OLD_SERVER_SECONDS = 60.0
"""For this time no history is sent to a model server that does not know the field: one of before version 0.3."""
ABSENT_VARIANT_SECONDS = 60.0
"""For this time a variant is not asked for that the endpoint does not have: a trial's document may be a minute old."""
_LEAST_TO_TRY_AGAIN = 0.03
"""Minimum seconds left in the budget for a second try."""


class EndpointUnavailable(Exception):
    """Raised when the endpoint gives no ranking.

    `reason` is one of absent, model_error, not_ready, overloaded, throttled, timeout, circuit_open, unreachable, or of
    an answer that must not be shown (`is_refused`): garbled, not_finite, too_long, duplicates, unsorted, not_asked_for,
    incomplete, empty. `detail` is safe to log. `transient` is True if an immediate second try may help: not after a
    timeout, and not on overload, which more requests would increase. `is_misread` is True if the model server refused
    the request: an older one does not know every field.
    """

    def __init__(
        self, reason: str, detail: str, transient: bool = False, is_refused: bool = False, is_misread: bool = False
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.transient = transient
        self.is_refused = is_refused
        self.is_misread = is_misread


class Endpoint:
    """The SageMaker endpoint `name` behind a circuit breaker."""

    def __init__(
        self,
        runtime: Runtime,
        name: str,
        circuit: Circuit | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runtime = runtime
        self._name = name
        self._circuit = circuit or Circuit(clock)
        self._clock = clock
        self._no_history_until = float("-inf")
        self._absent_until: dict[str, float] = {}

    def rank(self, invocation: Mapping[str, Any], budget: Budget, variant: str = "") -> Ranking:
        """Return the ranking of the endpoint, or of its `variant`, within the budget. If the endpoint has no such
        variant, any answers. Raises `EndpointUnavailable`; at once if the circuit is open.
        """
        if self._circuit.is_open:
            raise EndpointUnavailable("circuit_open", "the endpoint failed several times in a row")
        try:
            ranking = self.probe(invocation, budget, variant)
        except EndpointUnavailable as error:
            if error.reason not in _FAST:
                self._circuit.failed()
            raise
        self._circuit.succeeded()
        return ranking

    def probe(self, invocation: Mapping[str, Any], budget: Budget, variant: str = "") -> Ranking:
        """Like `rank`, but ignores the circuit. Tries a second time if that may help and time is left."""
        try:
            return self._within(budget, invocation, variant)
        except EndpointUnavailable as error:
            if not error.transient or budget.left < _LEAST_TO_TRY_AGAIN:
                raise
        return self._within(budget, invocation, variant)

    def _within(self, budget: Budget, invocation: Mapping[str, Any], variant: str) -> Ranking:
        try:
            return budget.spend(lambda: self._invoke(invocation, variant))
        except TimeoutError:
            raise EndpointUnavailable("timeout", "no answer within the budget of the request") from None

    def _invoke(self, invocation: Mapping[str, Any], variant: str) -> Ranking:
        if "history" not in invocation:
            return self._send(invocation, variant)
        if self._clock() >= self._no_history_until:
            try:
                return self._send(invocation, variant)
            except EndpointUnavailable as error:
                if not error.is_misread:
                    raise
        ranking = self._send({name: value for name, value in invocation.items() if name != "history"}, variant)
        if self._clock() >= self._no_history_until:
            self._no_history_until = self._clock() + OLD_SERVER_SECONDS
        return ranking

    def _send(self, invocation: Mapping[str, Any], variant: str) -> Ranking:
        if not variant or self._clock() < self._absent_until.get(variant, float("-inf")):
            return self._send_to(invocation, "")
        try:
            return self._send_to(invocation, variant)
        except EndpointUnavailable as error:
            if error.reason != "absent":
                raise
        ranking = self._send_to(invocation, "")  # raises if it is the endpoint that is absent
        self._absent_until[variant] = self._clock() + ABSENT_VARIANT_SECONDS
        return ranking

    def _send_to(self, invocation: Mapping[str, Any], variant: str) -> Ranking:
        try:
            answer = self._runtime.invoke_endpoint(self._name, json.dumps(invocation).encode(), variant)
        except NoAnswer as error:
            reason = "timeout" if error.timed_out else "unreachable"
            raise EndpointUnavailable(reason, str(error), transient=not error.timed_out) from None
        if answer.status != 200:
            raise _unavailable(answer)
        try:
            invoked = answer.headers.get("x-amzn-invoked-production-variant")
            return Ranking.from_endpoint(answer.content, invocation, invoked)
        except GarbledAnswer as error:
            raise EndpointUnavailable(error.reason, str(error), is_refused=True) from None


def _unavailable(answer: Answer) -> EndpointUnavailable:
    """Translate an error answer. Only codes go into the detail: a message may quote the request."""
    document = answer.document
    code = answer.code(document)
    status = document.get("OriginalStatusCode") or answer.status
    reason = "overloaded" if code == "ModelError" and status == 503 else _REASONS.get(code, "unreachable")
    transient = reason == "unreachable" and answer.status >= 500
    is_misread = code == "ModelError" and status == 400
    return EndpointUnavailable(reason, f"{code} {status}", transient, is_misread=is_misread)
