"""The gate: decides whether a model may reach customers. Pure.

All checks run and all must pass; the verdict lists each with its figures. Before any check, the report itself must be
valid: it belongs to this run, and every figure is a finite number in [0, 1]. An invalid report is a fault, never a
rejection and never a pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evaluate.policy import FIGURES, RATES, Policy
from shared.errors import NotComparable, UntrustworthyReport

SCHEMA_MAJOR = "1"
_PLACES = {
    "sampledHitRate": ("sampled", "hitRate"),
    "sampledNdcg": ("sampled", "ndcg"),
    "fullHitRate": ("full", "hitRate"),
    "fullNdcg": ("full", "ndcg"),
    "coverage": ("coverage",),
    "largestExposure": ("largestExposure",),
}
_WORDS = {
    "sampledHitRate": "hit rate at {k}",
    "sampledNdcg": "NDCG at {k}",
    "fullHitRate": "full-catalogue hit rate at {k}",
    "fullNdcg": "full-catalogue NDCG at {k}",
    "coverage": "coverage",
    "largestExposure": "the most-recommended item reaches",
}
_STRONG = ("ease", "als")
"""Strong baselines, compared with the candidate where the report has them."""
_BETTER_THAN_POPULARITY = ("sampledHitRate", "sampledNdcg")


@dataclass(frozen=True)
class Run:
    """The run that is judged, and the run that serves (None before the first model), from the ledger."""

    run_id: str
    dataset_version: str
    incumbent_run_id: str | None = None


@dataclass(frozen=True)
class Check:
    """One condition: `value` compared with `threshold`; `sentence` states the result with the figures."""

    name: str
    passed: bool
    value: float
    threshold: float
    sentence: str


@dataclass(frozen=True)
class Verdict:
    """The gate's decision: accepted when every check passed."""

    checks: tuple[Check, ...]
    figures: Mapping[str, float]

    @property
    def accepted(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def reasons(self) -> list[str]:
        """The sentences of the failed checks; of all checks when none failed."""
        failed = [check.sentence for check in self.checks if not check.passed]
        return failed or [check.sentence for check in self.checks]

    def to_figures(self) -> dict[str, Any]:
        """The candidate's figures and each check, for the ledger."""
        checks = [{"name": c.name, "passed": c.passed, "value": c.value, "threshold": c.threshold} for c in self.checks]
        return {"candidate": dict(self.figures), "checks": checks}


def judge(report: Any, policy: Policy, run: Run) -> Verdict:
    """The verdict on a report (docs/contracts.md, `evaluation.json`).

    Raises UntrustworthyReport when the report cannot be believed, NotComparable when it does not measure the model
    that serves.
    """
    report = _object(report, "the report")
    schema = report.get("schemaVersion")
    if not isinstance(schema, str) or schema.split(".")[0] != SCHEMA_MAJOR:
        raise UntrustworthyReport(f"schemaVersion must be {SCHEMA_MAJOR}.x, not {schema!r}")
    for field, expected in (("runId", run.run_id), ("datasetVersion", run.dataset_version)):
        if report.get(field) != expected:
            raise UntrustworthyReport(
                f"{field} must be {expected}, not {str(report.get(field))[:80]!r}: the report belongs to another run"
            )
    protocol = _object(report.get("protocol"), "protocol")
    k, users = _count(protocol, "k"), _count(protocol, "testUsers")
    if users < policy.minimum_test_users:
        raise UntrustworthyReport(
            f"{users} test users, below the minimum of {policy.minimum_test_users}: too few to judge the model"
        )

    candidate = _figures(report.get("candidate"), "candidate")
    baselines = _object(report.get("baselines"), "baselines")
    for name in baselines:
        _figures(baselines[name], f"baselines.{name}")
    popularity = _figures(baselines.get("popularity"), "baselines.popularity")
    incumbent = _incumbent(report, run)
    serving = _object(report.get("serving"), "serving")
    slowest = _number(serving.get("p99Milliseconds"), "serving.p99Milliseconds", 0.0, 1e6)

    checks = [_floor(name, candidate[name], policy.floors[name], k) for name in FIGURES if name in policy.floors]
    checks += [_ceiling(name, candidate[name], ceiling) for name, ceiling in policy.ceilings.items()]
    checks.append(_quick_enough(slowest, policy.maximum_serving_milliseconds))
    checks += [_above(name, candidate[name], popularity[name], k) for name in _BETTER_THAN_POPULARITY]
    for strong in _STRONG:
        if strong in baselines and report["candidate"].get("model") != strong:
            theirs = _figures(baselines[strong], f"baselines.{strong}")
            checks += [
                _not_worse(name, candidate[name], theirs[name], margin, k, strong, strong.upper())
                for name, margin in policy.baseline_margins.items()
            ]
    if incumbent is not None:
        checks += [
            _not_worse(name, candidate[name], incumbent[name], margin, k, "incumbent", "the incumbent")
            for name, margin in policy.margins.items()
        ]
        if users >= policy.minimum_interval_users:
            checks += [
                _cannot_be_much_worse(name, report["difference"][name]["lower"], lowest, k)
                for name, lowest in policy.lowest_difference.items()
            ]
        checks += _slices(report, policy, k)
    return Verdict(tuple(checks), candidate)


def _incumbent(report: Mapping[str, Any], run: Run) -> dict[str, float] | None:
    measured = report.get("incumbent")
    if measured is None:
        if run.incumbent_run_id is not None:
            raise NotComparable(
                f"not comparable: {run.incumbent_run_id} serves, and the report does not measure it on this test set"
            )
        return None
    figures = _figures(measured, "incumbent")
    _difference(report.get("difference"))
    for whose in ("candidate", "incumbent"):
        _check_slices(report[whose], whose)
    name = measured.get("runId")
    if run.incumbent_run_id is not None and name != run.incumbent_run_id:
        raise NotComparable(
            f"not comparable: {run.incumbent_run_id} serves, and the report measures {str(name)[:80]!r}"
        )
    return figures


def _floor(name: str, value: float, floor: float, k: int) -> Check:
    words, passed = _WORDS[name].format(k=k), value >= floor
    return Check(
        f"floor.{name}",
        passed,
        value,
        floor,
        f"{words} is {value:.4f}, {'at or above' if passed else 'below'} the floor of {floor:g}",
    )


def _ceiling(name: str, value: float, ceiling: float) -> Check:
    passed = value <= ceiling
    return Check(
        f"ceiling.{name}",
        passed,
        value,
        ceiling,
        f"{_WORDS[name]} {value:.1%} of users, {_limit(passed)} {ceiling * 100:g}%",
    )


def _quick_enough(value: float, most: float) -> Check:
    passed = value <= most
    sentence = f"p99 latency is {value:.3g} ms, {_limit(passed)} {most:g} ms"
    return Check("serving.p99Milliseconds", passed, value, most, sentence)


def _above(name: str, value: float, popularity: float, k: int) -> Check:
    words, passed = _WORDS[name].format(k=k), value > popularity
    return Check(
        f"popularity.{name}",
        passed,
        value,
        popularity,
        f"{words} is {value:.4f}, {'' if passed else 'not '}better than popularity's {popularity:.4f}",
    )


def _not_worse(name: str, value: float, other: float, margin: float, k: int, kind: str, whose: str) -> Check:
    words, threshold = _WORDS[name].format(k=k), other + margin
    # A report's rates are quotients of sums: equal models may differ in the last bit, which is no loss.
    passed = value >= threshold - 1e-12
    if margin:
        kind_of_margin = "allowed loss" if margin < 0 else "required gain"
        result = f"{'meets' if passed else 'misses'} the {kind_of_margin} of {abs(margin):g} against"
    else:
        result = f"{'not ' if passed else ''}worse than"
    return Check(
        f"{kind}.{name}",
        passed,
        value,
        threshold,
        f"{words} is {value:.4f}, {result} {whose}'s {other:.4f} on the same test set",
    )


def _cannot_be_much_worse(name: str, lower: float, lowest: float, k: int) -> Check:
    words, passed = _WORDS[name].format(k=k), lower >= lowest
    return Check(
        f"interval.{name}",
        passed,
        lower,
        lowest,
        f"change of {words} against the incumbent: at least {lower:+.4f} (95 % confidence), "
        f"{'at or above' if passed else 'below'} the limit of {lowest:+g}",
    )


def _limit(passed: bool) -> str:
    return "within the limit of" if passed else "above the limit of"


def _slices(report: Mapping[str, Any], policy: Policy, k: int) -> list[Check]:
    """A check for each slice of enough users and each figure that the policy names."""
    ours, theirs = report["candidate"]["slices"], report["incumbent"]["slices"]
    checks = []
    for slice_name in sorted(ours.keys() & theirs.keys()):
        users = ours[slice_name]["users"]
        if users < policy.minimum_slice_users:
            continue
        for name, margin in policy.slice_margins.items():
            protocol, rate = _PLACES[name]
            value, other = ours[slice_name][protocol][rate], theirs[slice_name][protocol][rate]
            passed = value >= other + margin - 1e-12
            words = _WORDS[name].format(k=k)
            checks.append(
                Check(
                    f"slice.{slice_name}.{name}",
                    passed,
                    value,
                    other + margin,
                    f"{words} for {slice_name} ({users} users) is {value:.4f}, the incumbent's is {other:.4f}: "
                    f"the loss is {_limit(passed)} {-margin:g}",
                )
            )
    return checks


def _check_slices(model: Any, where: str) -> None:
    slices = _object(model.get("slices"), f"{where}.slices")
    for slice_name, figures in slices.items():
        place = f"{where}.slices.{slice_name}"
        users = _object(figures, place).get("users")
        if isinstance(users, bool) or not isinstance(users, int) or users < 1:
            raise UntrustworthyReport(f"{place}.users must be an integer of at least 1, not {_shown(users)}")
        for name in RATES:
            protocol, rate = _PLACES[name]
            _number(_object(figures.get(protocol), place).get(rate), f"{place}.{protocol}.{rate}", 0.0, 1.0)


def _figures(model: Any, where: str) -> dict[str, float]:
    model = _object(model, where)
    figures: dict[str, float] = {}
    for name, place in _PLACES.items():
        value: Any = model
        for step in place:
            value = _object(value, where).get(step)
        figures[name] = _number(value, f"{where}.{'.'.join(place)}", 0.0, 1.0)
    return figures


def _difference(difference: Any) -> None:
    difference = _object(difference, "difference")
    for name in RATES:
        interval = _object(difference.get(name), f"difference.{name}")
        for part in ("mean", "lower", "upper"):
            _number(interval.get(part), f"difference.{name}.{part}", -1.0, 1.0)


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UntrustworthyReport(f"{where} must be an object, not {_shown(value)}")
    return value


def _count(protocol: Mapping[str, Any], name: str) -> int:
    value = protocol.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UntrustworthyReport(f"protocol.{name} must be an integer of at least 1, not {_shown(value)}")
    return value


def _number(value: Any, where: str, least: float, most: float) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
        or not least <= value <= most
    ):
        raise UntrustworthyReport(f"{where} must be a finite number from {least:g} to {most:g}, not {_shown(value)}")
    return float(value)


def _shown(value: object) -> str:
    return repr(value)[:80]
