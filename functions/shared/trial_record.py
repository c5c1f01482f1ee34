"""Trials of two models in the run ledger: the state of each, and each step of its share."""

from __future__ import annotations

from typing import Any, cast

from boto3.dynamodb.conditions import Attr

from contracts.trials import Trial
from shared.records import TrialState, TrialStatus, TrialStep
from shared.table import Table

_OPEN = (TrialStatus.RUNNING, TrialStatus.DECIDED)


class TrialRecord(Table):
    """The part of the ledger that records trials."""

    def begin_trial(self, trial: Trial, since: str) -> None:
        """Record that the trial runs `since` its split stands, with the share that it began with. Repeating it changes
        nothing.
        """
        self._update(
            _pk(trial.trial_id),
            "STATE",
            Attr("pk").not_exists(),
            kind="TRIAL",
            trialId=trial.trial_id,
            status=TrialStatus.RUNNING,
            allTraffic=trial.all_traffic,
            other=trial.other,
            share=trial.share,
            startedAt=since,
            attempt=0,
        )
        self.add_step(trial.trial_id, 0, trial.share, since, {})

    def trial(self, trial_id: str) -> TrialState | None:
        """Return the state of a trial, or None."""
        return cast("TrialState | None", self._get(_pk(trial_id), "STATE"))

    def trial_steps(self, trial_id: str) -> list[TrialStep]:
        """Return the steps of a trial's share, the earliest first."""
        return [cast(TrialStep, item) for item in self._under(_pk(trial_id)) if item["sk"].startswith("STEP#")]

    def open_trials(self) -> list[TrialState]:
        """Return the trials that have not ended, read through the index (about a second behind)."""
        return [cast(TrialState, item) for item in self._by_kind("TRIAL") if item.get("status") in _OPEN]

    def add_step(self, trial_id: str, number: int, share: float, since: str, figures: dict[str, Any]) -> bool:
        """Record the share of Other from `since` on. False, and unchanged, if there is a step of this number."""
        return self._update(
            _pk(trial_id),
            f"STEP#{number:04}",
            Attr("pk").not_exists(),
            kind="TRIAL_STEP",
            share=share,
            since=since,
            figures=figures,
        )

    def look_at_trial(self, trial_id: str, share: float, figures: dict[str, Any]) -> bool:
        """Record the share and the figures of a look. False, and unchanged, if the trial does not run."""
        running = Attr("status").eq(TrialStatus.RUNNING)
        return self._update(_pk(trial_id), "STATE", running, share=share, figures=figures, lookedAt=self._now())

    def decide_trial(self, trial_id: str, verdict: str, reasons: list[str], figures: dict[str, Any]) -> bool:
        """Record the verdict. False, and unchanged, if the trial does not run."""
        return self._update(
            _pk(trial_id),
            "STATE",
            Attr("status").eq(TrialStatus.RUNNING),
            status=TrialStatus.DECIDED,
            verdict=verdict,
            reasons=reasons,
            figures=figures,
            decidedAt=self._now(),
        )

    def try_verdict(self, trial_id: str, attempt: int) -> bool:
        """Record that the verdict is carried out for the `attempt`-th time. False if it was recorded."""
        before = Attr("status").eq(TrialStatus.DECIDED) & Attr("attempt").eq(attempt - 1)
        return self._update(_pk(trial_id), "STATE", before, attempt=attempt)

    def end_trial(self, trial_id: str, end: str) -> bool:
        """Record that the trial's split has ended, and how (`end`). False if it was recorded."""
        is_open = Attr("status").is_in(list(_OPEN))
        return self._update(_pk(trial_id), "STATE", is_open, status=TrialStatus.ENDED, end=end, endedAt=self._now())


def _pk(trial_id: str) -> str:
    return f"TRIAL#{trial_id}"
