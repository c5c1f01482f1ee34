"""A model that a person took back is deployed again only if the execution's input acknowledges that."""

from __future__ import annotations

from typing import Any

from contracts import history
from contracts.values import shown
from shared import names
from shared.errors import InvalidInput
from shared.ledger import Ledger

LONGEST_REASON = 500


def reason(event: dict[str, Any]) -> str | None:
    """Return `acknowledge` of the execution's input, or None. Raises InvalidInput for anything but a reason."""
    given = event.get("acknowledge")
    if given is None:
        return None
    if not isinstance(given, str) or not given.strip() or len(given) > LONGEST_REASON:
        raise InvalidInput(f"acknowledge must be a reason of 1 to {LONGEST_REASON} characters, not {shown(given)}")
    return given


def why(event: dict[str, Any]) -> str:
    """Return why a retraining's model serves, for the serving record."""
    given = reason(event)
    return "it passed the gate" if given is None else f"it passed the gate; its data were acknowledged: {given}"


def refusal(ledger: Ledger, run_id: str, event: dict[str, Any]) -> str | None:
    """Return why this execution may not deploy a model of the run's data; None if it may.

    An acknowledgement is recorded in the ledger with the rollback that it answers. It does not hold for a later one:
    an execution that is redriven has the input that it had before.
    """
    given = reason(event)
    taken = history.taken_back_of(ledger.history(), names.version_of(run_id))
    if taken is None:
        return None
    if given is not None:
        execution_arn = event["executionArn"]
        stage = f"acknowledgement#{execution_arn.rpartition(':')[2]}"
        answered = {"takenBack": taken.run_id, "by": taken.by, "since": taken.since, "why": taken.why}
        figures = {"executionArn": execution_arn, **answered}
        ledger.decide(run_id, stage, "ACKNOWLEDGED", [given], figures, once=True)
        recorded = ledger.decision(run_id, stage)
        if recorded is not None and recorded["figures"] == figures:
            return None
    return (
        f"{taken}. A model of these data is deployed again only by an execution "
        'with "acknowledge": "<why it may serve again>" in its input'
    )
