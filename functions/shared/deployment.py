"""The input of the states Deploy, Verify and RollBack of a retraining or a rollback. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from contracts.values import is_integer, shown
from shared import names
from shared.errors import InvalidInput


@dataclass(frozen=True)
class Deployment:
    """A deployment of the model of `run_id`. `holder` has the deployment lock: a run, or the execution of a rollback.

    For a rollback, `replacing` is the run that serves at its start, and `percent` (None: all) the share of requests
    for the model of `run_id`. With 0 the split ends, and both runs are the same.
    """

    run_id: str
    holder: str
    replacing: str | None = None
    percent: int | None = None

    @classmethod
    def from_event(cls, event: Any) -> Deployment:
        """Read a state's input. Raises InvalidInput naming the invalid field."""
        if not isinstance(event, dict):
            raise InvalidInput(f"the input must be an object with a runId, not {shown(event)}")
        run_id = names.require_run_id(event.get("runId"))
        if event.get("machine") != "rollback":
            return cls(run_id, run_id)
        percent = event.get("percent")
        if percent is not None and not is_integer(percent):
            raise InvalidInput(f"percent must be an integer, not {shown(percent)}")
        execution = str(event.get("executionArn")).rpartition(":")[2]
        return cls(run_id, execution, names.require_run_id(event.get("from"), "from"), percent)

    @property
    def is_split(self) -> bool:
        """True if two models share the traffic."""
        return self.replacing is not None and self.percent is not None and 0 < self.percent < 100

    def config(self, name_prefix: str) -> str:
        """Return the name of the endpoint configuration to deploy."""
        if self.replacing is not None and self.percent is not None and self.is_split:
            return names.split(name_prefix, self.replacing, self.run_id, self.percent)
        return names.model(name_prefix, self.run_id)
