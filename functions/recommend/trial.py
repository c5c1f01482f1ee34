"""The side of a person in the trial of two models."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from contracts.trials import ALL_TRAFFIC, KEY, Trial
from recommend.beside import Beside
from recommend.ranking import Ranking
from shared.signed import Bucket


class Side(NamedTuple):
    """A side of a trial: the endpoint variant that a person meets, and the run id of its model. Empty: no trial."""

    trial: str = ""
    variant: str = ""
    run_id: str = ""

    def of_answer(self, ranking: Ranking) -> Side:
        """Return the side that this answer to the person counts for.

        A list that stands in for the endpoint counts for the person's side: a model that does not answer earns less.
        An answer of another model or variant, while the endpoint changes, counts for none.
        """
        is_own = (ranking.variant, ranking.model_version) == (self.variant, self.run_id)
        return self if ranking.variant is None or is_own else NO_SIDE

    def shown(self) -> dict[str, Any]:
        """Return what an answer says of it; nothing without a trial."""
        return {"trial": {"trialId": self.trial, "variant": self.variant}} if self.trial else {}


NO_SIDE = Side()
_NONE = Trial(trial_id="", all_traffic="", other="", share=0.0, ended_at="there is none")


class CurrentTrial:
    """`serving/trial.json`, read at most once a minute beside the answers."""

    def __init__(self, bucket: Bucket, clock: Callable[[], float] = time.monotonic) -> None:
        self._document = Beside(bucket, KEY, Trial.from_json, _NONE, clock)

    @property
    def problem(self) -> str | None:
        """Why the document cannot be read, while what was known before counts; otherwise None."""
        return self._document.problem

    def begin(self) -> None:
        """Begin to read the document if it is due."""
        self._document.begin()

    def side_of(self, key: str | None, first_wait: float) -> Side:
        """Return the side of the person or session with this key of their events; none for nobody (None). Until the
        document was read for the first time, it is waited for at most `first_wait` seconds.
        """
        trial = self._document.known(first_wait)
        variant = None if key is None else trial.side_of(key)
        if variant is None:
            return NO_SIDE
        return Side(trial.trial_id, variant, trial.all_traffic if variant == ALL_TRAFFIC else trial.other)
