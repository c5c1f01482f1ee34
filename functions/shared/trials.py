"""The trial of a traffic split, and its document in the artifacts bucket, which `recommend` reads."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime

from contracts.documents import Unfit
from contracts.trials import KEY, TRIAL_ID, Trial
from shared.errors import DependencyFailed
from shared.objects import Bucket
from shared.observability import logger
from shared.records import Serving, Split

ATTEMPTS = 3
"""Times that a write is tried while others write the document."""


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
    """`serving/trial.json` in the bucket `artifacts`. It is written only as it was read: of two writers the later one
    gives way.
    """

    def __init__(self, artifacts: Bucket) -> None:
        self._artifacts = artifacts
        self._etag: str | None = None

    def read(self) -> Trial | None:
        """Return the trial; None if there is no document, or one that cannot be read."""
        found = self._artifacts.get(KEY)
        self._etag = found.etag if found else None
        try:
            return Trial.from_json(found.content) if found else None
        except Unfit as error:
            logger.warning("the trial's document cannot be read", extra={"reason": str(error)})
            return None

    def write(self, trial: Trial) -> bool:
        """Write the trial. False if the document is no longer as it was read last, or written here since."""
        if not self._artifacts.put_unless_changed(KEY, trial.to_json(), self._etag):
            return False
        etag = self._etag
        if self.read() != trial:
            self._etag = etag  # another call has written since: the next write here gives way
        return True

    def begin(self, trial: Trial) -> None:
        """Write the trial, unless the document has it already: its share may have moved since. Raises DependencyFailed
        if others write all the time.
        """
        for _ in range(ATTEMPTS):
            current = self.read()
            if current is not None and current.trial_id == trial.trial_id and not current.ended_at:
                return
            if self.write(trial):
                return
        raise DependencyFailed(f"{KEY} was changed by others meanwhile, {ATTEMPTS} times")

    def end(self, now: float) -> None:
        """End the trial, if the document has one; `now` is epoch seconds. Raises DependencyFailed as `begin` does."""
        for _ in range(ATTEMPTS):
            if self.end_as_read(self.read(), now):
                return
        raise DependencyFailed(f"{KEY} was changed by others meanwhile, {ATTEMPTS} times")

    def end_as_read(self, current: Trial | None, now: float) -> bool:
        """End the trial that was read last. False if the document has changed since."""
        if current is None or current.ended_at:
            return True
        ended_at = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return self.write(replace(current, ended_at=ended_at))
