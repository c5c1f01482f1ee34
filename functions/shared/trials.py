"""The trial of a traffic split, and its document in the artifacts bucket, which `recommend` reads."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime

from contracts.documents import Unfit
from contracts.trials import KEY, TRIAL_ID, Trial
from shared.objects import Bucket
from shared.observability import logger
from shared.records import Serving, Split


def id_of(execution_arn: str) -> str:
    """Return the id of the trial that a rollback's execution began: its name, or a hash of a name with other
    characters.
    """
    name = execution_arn.rpartition(":")[2]
    return name if TRIAL_ID.fullmatch(name) else hashlib.sha256(name.encode()).hexdigest()[:32]


def of_split(serving: Serving | None, split: Split | None) -> Trial | None:
    """Return the trial of the split as it began; None if one model answers all requests."""
    if serving is None or split is None:
        return None
    return Trial(
        trial_id=id_of(split["by"]),
        all_traffic=serving["runId"],
        other=split["runId"],
        share=split["percent"] / 100,
    )


class TrialDocument:
    """`serving/trial.json` in the bucket `artifacts`."""

    def __init__(self, artifacts: Bucket) -> None:
        self._artifacts = artifacts

    def current(self) -> Trial | None:
        """Return the trial; None if there is no document, or one that cannot be read."""
        found = self._artifacts.get(KEY)
        try:
            return Trial.from_json(found.content) if found else None
        except Unfit as error:
            logger.warning("the trial's document cannot be read", extra={"reason": str(error)})
            return None

    def begin(self, trial: Trial) -> None:
        """Write the trial, unless the document has it already: its share may have moved since."""
        current = self.current()
        if current is None or current.trial_id != trial.trial_id or current.ended_at:
            self.write(trial)

    def write(self, trial: Trial) -> None:
        """Write the trial."""
        self._artifacts.put(KEY, trial.to_json())

    def end(self, now: float) -> None:
        """End the trial, if the document has one; `now` is epoch seconds."""
        current = self.current()
        if current is not None and not current.ended_at:
            ended_at = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            self.write(replace(current, ended_at=ended_at))
