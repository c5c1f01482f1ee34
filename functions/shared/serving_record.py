"""Who serves in the run ledger: the model of now and those before, one beside it, and the lock of deployments.

Who writes any of it has the deployment lock, whose fence is in the write: a deployment that is slower than its lease
writes nothing over what a later one wrote (docs/decisions/0009-going-back.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from boto3.dynamodb.conditions import Attr, ConditionBase

from shared.records import Model, Serving, Split
from shared.table import Table

LOCK_LIFETIME_SECONDS = 6 * 3600
MAXIMUM_WHY_LENGTH = 1000


@dataclass(frozen=True)
class Lock:
    """Who has the deployment lock, a run or a rollback's execution; `fence` grows whenever it is taken or renewed."""

    holder: str
    fence: int


class ServingRecord(Table):
    """The part of the ledger that says who serves."""

    def serving(self) -> Serving | None:
        """The model that serves, with `previous` one level deep, or None before the first."""
        return cast("Serving | None", self._get("SERVING", "CURRENT"))

    def promote(self, model: Model, by: str, why: str, fence: int, replacing: str | None = None) -> bool:
        """Write that `model` (runId, datasetVersion, modelPackageArn, modelDataUrl, endpointConfigName) serves, `by`
        which execution and `why`, and remember that it did. `fence` is that of the writer's deployment lock.

        False, and nothing is changed, when a later holder of the lock has written who serves, or when newer data
        serves; with `replacing`, a rollback's, when another run than that one does. Writing the same run again changes
        nothing and is True.
        """
        current = self.serving()
        if current is None or current["runId"] != model["runId"]:
            if replacing is not None and (current is None or current["runId"] != replacing):
                return False
            allowed = Attr("pk").not_exists() if current is None else Attr("runId").eq(current["runId"])
            if replacing is None:
                allowed &= Attr("pk").not_exists() | Attr("datasetVersion").lte(model["datasetVersion"])
            allowed &= _not_fenced(fence)
            previous = (
                {name: value for name, value in current.items() if name in (*model, "since")} if current else None
            )
            promoted = {**model, "since": self._now(), "by": by, "why": why[:MAXIMUM_WHY_LENGTH], "previous": previous}
            if not self._update("SERVING", "CURRENT", allowed, kind="SERVING", fence=fence, **promoted):
                return False
            current = cast(Serving, promoted)
        elif not self._fenced(fence):
            return False
        # Written again by a retry that finds the first write done: nothing that has served is ever forgotten.
        before = current.get("previous")
        replaced = before["runId"] if before else None
        told = {name: current.get(name) for name in ("runId", "datasetVersion", "since", "by", "why")}
        self._update("SERVING", f"SINCE#{current['since']}", kind="TENURE", replaced=replaced, **told)
        return self._update(f"CHAMPION#{model['runId']}", "STATE", kind="CHAMPION", **model)

    def share_traffic(self, run_id: str, percent: int, config: str, by: str, why: str, fence: int) -> bool:
        """Write that the model of `run_id` answers `percent` of the requests, beside the one that serves. False, and
        nothing is changed, when a later holder of the deployment lock than `fence` has written who serves or shares.
        """
        return self._fenced(fence) and self._update(
            "SERVING",
            "SPLIT",
            _not_fenced(fence),
            kind="SPLIT",
            fence=fence,
            runId=run_id,
            percent=percent,
            endpointConfigName=config,
            by=by,
            why=why[:MAXIMUM_WHY_LENGTH],
            since=self._now(),
        )

    def _fenced(self, fence: int) -> bool:
        """Keep earlier holders of the lock from writing who serves, where that stays as it is. False when a later one
        has kept this one from it, or nobody serves.
        """
        return self._update("SERVING", "CURRENT", Attr("runId").exists() & _not_fenced(fence), fence=fence)

    def end_split(self, config: str | None = None) -> bool:
        """Write that one model answers all requests again; with `config`, only if it is by that configuration that two
        do. False when nothing was split (so).
        """
        split = Attr("percent").gt(0)
        if config is not None:
            split &= Attr("endpointConfigName").eq(config)
        return self._update("SERVING", "SPLIT", split, percent=0, endedAt=self._now())

    def current_split(self) -> Split | None:
        """The model that answers a share of the requests, or None."""
        found = self._get("SERVING", "SPLIT")
        return cast(Split, found) if found and found.get("percent") else None

    def champion(self, run_id: str) -> Model | None:
        """A model that serves, or has served (as given to `promote`), or None."""
        return cast("Model | None", self._get(f"CHAMPION#{run_id}", "STATE"))

    def champions(self) -> list[Model]:
        """Every model that has served, read through the index."""
        return cast(list[Model], self._by_kind("CHAMPION"))

    def lock_deployment(self, holder: str) -> Lock:
        """Take the deployment lock, or renew it, for a run or a rollback's execution; what comes back says who has it
        now. It is a lease: who is slower than that loses it to the next, and writes nothing over what that one wrote.
        """
        while True:
            now, found = int(self._clock()), self._get("LOCK", "DEPLOYMENT") or {}
            other, fence = found.get("runId"), int(found.get("fence", 0))
            if other not in (None, holder) and found.get("leasedUntil", 0) >= now:
                return Lock(str(other), fence)
            lease = {"runId": holder, "leasedUntil": now + LOCK_LIFETIME_SECONDS, "fence": fence + 1}
            unchanged = Attr("fence").eq(fence) if fence else Attr("fence").not_exists()
            if self._update("LOCK", "DEPLOYMENT", unchanged, kind="LOCK", **lease):
                return Lock(holder, fence + 1)

    def unlock_deployment(self, holder: str) -> bool:
        """Give the deployment lock back. False when `holder` does not have it."""
        return self._update("LOCK", "DEPLOYMENT", Attr("runId").eq(holder), runId=None)


def _not_fenced(fence: int) -> ConditionBase:
    """That no later holder of the deployment lock has written the item."""
    return Attr("fence").not_exists() | Attr("fence").lte(fence)
