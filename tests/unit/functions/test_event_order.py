"""Events that come twice, in another order, late or never, and functions that are killed between any two calls: no
dataset version is lost, none starts two runs, and an older one never replaces a newer one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.unit.functions.cloud import CONTEXT, DATA, Cloud
from tests.unit.functions.test_on_data_ready_app import event_for, executions, machine, upload
from tests.unit.functions.test_reconcile import LATER
from tests.unit.functions.wire import Wire

pytestmark = pytest.mark.slow

__all__ = ["machine"]  # a fixture
VERSIONS = [f"v2026112{day}t000000z-0000000{day}" for day in (1, 2, 3)]
MODEL = {"modelPackageArn": "arn", "modelDataUrl": "s3://a/b", "endpointConfigName": "ncf"}


class Killed(BaseException):
    """The function was killed: its error handling does not run."""


def kill_before(event_name: str, request: Any, do: Any) -> Any:
    raise Killed(event_name)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("deliver"), st.sampled_from(VERSIONS), st.none() | st.integers(0, 9)),
        st.tuples(st.just("finish"), st.sampled_from(VERSIONS), st.none()),
    ),
    max_size=9,
)


class Shop:
    """The three versions in the bucket, and their runs."""

    def __init__(self, cloud: Cloud, on_data_ready: ModuleType, reconcile: ModuleType, wire: Wire, states: Any) -> None:
        self.cloud, self.app, self.sweeper, self.wire, self.states = cloud, on_data_ready, reconcile, wire, states
        self.served: list[str] = []
        self.mine = set(executions(states))

    def started(self) -> list[str]:
        return [name for name in executions(self.states) if name not in self.mine]

    def deliver(self, event: dict[str, Any], killed_at: int | None) -> None:
        self.wire.begin(killed_at)
        try:
            self.app.handler(event, CONTEXT)
        except Killed:
            pass
        finally:
            self.wire.begin(None)

    def finish(self, version: str) -> None:
        """The end of a version's run, if it has begun: its model serves, unless newer data do."""
        run_id = f"{version}-r1"
        if run_id not in self.started():
            return
        model = {"runId": run_id, "datasetVersion": version, **MODEL}
        status = "DEPLOYED" if self.app.LEDGER.promote(model, "arn", "it passed the gate", 1) else "REJECTED"
        self.app.LEDGER.finish_run(run_id, status, [])
        self.served.append(self.app.LEDGER.serving()["datasetVersion"])

    def reconcile(self) -> None:
        """One pass, minutes later; what it sends arrives."""
        sent: list[dict[str, Any]] = []
        functions = SimpleNamespace(invoke=lambda Payload, **_: sent.append(json.loads(Payload)))
        vars(self.sweeper)["LAMBDA"] = functions
        self.sweeper.handler({}, CONTEXT)
        for event in sent:
            self.deliver(event, None)


@pytest.fixture
def apps(load: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, ModuleType]:
    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return LATER

    reconcile = load("reconcile")
    monkeypatch.setattr(reconcile, "datetime", Later)
    return load("on_data_ready"), reconcile


@pytest.fixture
def wire(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    with Wire(kill_before).laid(monkeypatch) as wire:
        yield wire


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
# The newer of two runs ends first; and a function is killed right after its claim.
@example(steps=[("deliver", VERSIONS[0], None), ("deliver", VERSIONS[1], None), ("finish", VERSIONS[1], None)])
@example(steps=[("deliver", VERSIONS[2], 7)])
@example(steps=[("deliver", VERSIONS[2], 8), ("deliver", VERSIONS[0], None)])
@example(steps=[("deliver", VERSIONS[2], 9), ("deliver", VERSIONS[0], None)])
@pytest.mark.fault("M09", "M15")
def test_no_version_is_lost_none_runs_twice_and_the_newest_data_serve_in_the_end(
    cloud: Cloud, wire: Wire, machine: Any, apps: tuple[ModuleType, ModuleType], steps: list[Any]
) -> None:
    wire.begin(None)
    cloud.empty()
    forget(machine)
    for version in VERSIONS:
        upload(cloud, version)
    shop = Shop(cloud, *apps, wire, machine)
    for kind, version, killed_at in steps:
        if kind == "deliver":
            shop.deliver(event_for(version), killed_at)
        else:
            shop.finish(version)
    for _ in range(2):
        shop.reconcile()
    for version in VERSIONS:
        shop.finish(version)

    newest = shop.app.LEDGER.newest_claimed()
    assert newest == VERSIONS[-1]
    for version in VERSIONS:
        state = cloud.item(f"DATASET#{version}").get("status")
        assert state in ("CLAIMED", "STALE") or (state is None and version < newest), (version, state)
        assert (f"{version}-r1" in shop.started()) == (state == "CLAIMED"), (version, state)
    assert shop.served == sorted(shop.served), "an older version never replaces a newer one"
    assert shop.app.LEDGER.serving()["datasetVersion"] == VERSIONS[-1]


def forget(states: Any) -> None:
    """A state machine without executions: moto, like AWS, keeps an execution's name for as long as there is one."""
    from moto.stepfunctions.models import stepfunctions_backends

    for backend in stepfunctions_backends.values():
        for region in backend.values():
            for one in region.state_machines:
                one.executions.clear()


def test_the_wire_reaches_every_call_of_the_function(
    cloud: Cloud, wire: Wire, machine: Any, apps: tuple[ModuleType, ModuleType]
) -> None:
    upload(cloud, VERSIONS[0])
    wire.begin(None)
    apps[0].handler(event_for(VERSIONS[0]), CONTEXT)
    assert len(wire.calls) >= 7, wire.calls
    assert any("StartExecution" in name for name, _ in wire.calls)
    assert cloud.s3.list_objects_v2(Bucket=DATA)["KeyCount"] > 0
