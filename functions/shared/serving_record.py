"""The serving record in the run ledger: the current and earlier models, a traffic split, and the deployment lock.

Only the holder of the deployment lock writes the record, and each write carries the lock's fence: a deployment that
outlasts its lease cannot overwrite the record of a later one (docs/decisions/0009-going-back.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from boto3.dynamodb.conditions import Attr, ConditionBase

from shared.records import Model, PreviousModel, Serving, Split
from shared.table import Table

LOCK_LIFETIME_SECONDS = 10 * 3600
MAXIMUM_WHY_LENGTH = 1000


@dataclass(frozen=True)
class Lock:
    """The deployment lock. `holder` is a run or a rollback's execution; each taking or renewal increases `fence`."""

    holder: str
    fence: int


class ServingRecord(Table):
    """The part of the ledger that records which model serves."""

    def serving(self) -> Serving | None:
        """Return the model that serves, with `previous` one level deep; None before the first."""
        return cast("Serving | None", self._get("SERVING", "CURRENT"))

    def promote(self, model: Model, by: str, why: str, fence: int, replacing: str | None = None) -> bool:
        """Record that `model` serves, the execution that deployed it (`by`) and the reason (`why`), and keep it in the
        history. `fence` is that of the writer's deployment lock.

        False, and unchanged, if a later holder of the lock has written the record, if a model trained on newer data
        serves, or, in a rollback, if the serving run is not `replacing`. Recording the same run again changes nothing
        and returns True.
        """
        current = self.serving()
        if current is None or current["runId"] != model["runId"]:
            if replacing is not None and (current is None or current["runId"] != replacing):
                return False
            allowed = Attr("pk").not_exists() if current is None else Attr("runId").eq(current["runId"])
            if replacing is None:
                allowed &= Attr("pk").not_exists() | Attr("datasetVersion").lte(model["datasetVersion"])
            allowed &= _not_fenced(fence)
            kept = PreviousModel.__annotations__
            previous = {name: value for name, value in current.items() if name in kept} if current else None
            promoted = {
                "bundleDigest": None,  # or that of the model before would stay
                **model,
                "since": self._now(),
                "by": by,
                "why": why[:MAXIMUM_WHY_LENGTH],
                "previous": previous,
            }
            if not self._update("SERVING", "CURRENT", allowed, kind="SERVING", fence=fence, **promoted):
                return False
            current = cast(Serving, promoted)
        elif not self._fenced(fence):
            return False
        # A retry that finds the first write done repeats these writes, so the history is complete.
        before = current.get("previous")
        replaced = before["runId"] if before else None
        entry = {name: current.get(name) for name in ("runId", "datasetVersion", "since", "by", "why")}
        self._update("SERVING", f"SINCE#{current['since']}", kind="TENURE", replaced=replaced, **entry)
        return self._update(f"CHAMPION#{model['runId']}", "STATE", kind="CHAMPION", **model)

    def share_traffic(self, run_id: str, percent: int, config: str, by: str, why: str, fence: int) -> bool:
        """Record that the model of `run_id` answers `percent` of the requests. False, and unchanged, if a holder of
        the deployment lock with a later fence has written the record.
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
        """Stop earlier holders of the lock from writing the record, without changing the model. False if a later holder
        has stopped this one, or no model serves.
        """
        return self._update("SERVING", "CURRENT", Attr("runId").exists() & _not_fenced(fence), fence=fence)

    def end_split(self, config: str | None = None) -> bool:
        """Record that one model answers all requests again; with `config`, only if that configuration splits traffic.
        False if no such split exists.
        """
        split = Attr("percent").gt(0)
        if config is not None:
            split &= Attr("endpointConfigName").eq(config)
        return self._update("SERVING", "SPLIT", split, percent=0, endedAt=self._now())

    def current_split(self) -> Split | None:
        """Return the second model of a traffic split, or None."""
        found = self._get("SERVING", "SPLIT")
        return cast(Split, found) if found and found.get("percent") else None

    def rest_endpoint(self, is_resting: bool) -> None:
        """Record that the endpoint was deleted for a time, outside its hours, or that it is there again."""
        self._update("ENDPOINT", "REST", kind="ENDPOINT", isResting=is_resting)

    def endpoint_rests(self) -> bool:
        """Return whether the endpoint was deleted for a time; nobody else's deletion is undone."""
        return bool((self._get("ENDPOINT", "REST") or {}).get("isResting"))

    def history(self) -> list[dict[str, Any]]:
        """Return the items of the serving record, for `contracts.history`."""
        return self._under("SERVING")

    def champion(self, run_id: str) -> Model | None:
        """Return the run's model if it serves or has served, or None."""
        return cast("Model | None", self._get(f"CHAMPION#{run_id}", "STATE"))

    def retire_champion(self, run_id: str) -> bool:
        """Record that a model cannot serve again, because its archive is deleted."""
        return self._delete(f"CHAMPION#{run_id}", "STATE")

    def champions(self) -> list[Model]:
        """Return every model that has served, read through the index."""
        return cast(list[Model], self._by_kind("CHAMPION"))

    def lock_deployment(self, holder: str) -> Lock:
        """Take or renew the deployment lock for a run or a rollback's execution; returns the current lock. It is a
        lease: when it expires, the next holder may take it, and the earlier one can no longer write the record.
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
        """Release the deployment lock. False if `holder` does not have it."""
        return self._update("LOCK", "DEPLOYMENT", Attr("runId").eq(holder), runId=None)


def _not_fenced(fence: int) -> ConditionBase:
    """Return the condition that no later holder of the deployment lock has written the item."""
    return Attr("fence").not_exists() | Attr("fence").lte(fence)
