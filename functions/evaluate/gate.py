"""The gate: decides whether a model may reach customers. Pure.

All checks run and all must pass; the verdict lists each with its figures. Before any check, the report itself must be
valid: it belongs to this run, and every figure is a finite number in [0, 1]. An invalid report is a fault, never a
rejection and never a pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts import schemas
from contracts.documents import Unfit
from contracts.values import shown
from evaluate.policy import FIGURES, Policy
from shared.errors import NotComparable, UntrustworthyReport

REPORT = "evaluation.json"
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
        """True if every check passed."""
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
    """Return the verdict on a report (docs/contracts.md, `evaluation.json`).

    Raises UntrustworthyReport if the report is invalid, NotComparable if it does not measure the serving model.
    """
    try:
        schemas.check(report, "evaluation", REPORT)
    except Unfit as error:
        raise UntrustworthyReport(str(error)) from error
    for field, expected in (("runId", run.run_id), ("datasetVersion", run.dataset_version)):
        if report[field] != expected:
            raise UntrustworthyReport(
                f"{REPORT}: {field} must be {expected}, not {shown(report[field])}: the report belongs to another run"
            )
    k, users = int(report["protocol"]["k"]), int(report["protocol"]["testUsers"])
    if users < policy.minimum_test_users:
        raise UntrustworthyReport(
            f"{users} test users, below the minimum of {policy.minimum_test_users}: too few to judge the model"
        )

    candidate, baselines = _figures(report["candidate"]), report["baselines"]
    popularity = _figures(baselines["popularity"])
    incumbent = _incumbent(report, run)
    if report["serving"] is None:
        raise UntrustworthyReport(f"{REPORT}: serving must be an object, not null: the latency was not measured")
    slowest = float(report["serving"]["p99Milliseconds"])

    checks = [_floor(name, candidate[name], policy.floors[name], k) for name in FIGURES if name in policy.floors]
    checks += [_ceiling(name, candidate[name], ceiling) for name, ceiling in policy.ceilings.items()]
    checks.append(_latency(slowest, policy.maximum_serving_milliseconds))
    checks += [_above(name, candidate[name], popularity[name], k) for name in _BETTER_THAN_POPULARITY]
    for strong in _STRONG:
        if strong in baselines and report["candidate"]["model"] != strong:
            theirs = _figures(baselines[strong])
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
    if report["difference"] is None:
        raise UntrustworthyReport(f"{REPORT}: difference must be an object, not null, where there is an incumbent")
    name = measured["runId"]
    if run.incumbent_run_id is not None and name != run.incumbent_run_id:
        raise NotComparable(f"not comparable: {run.incumbent_run_id} serves, and the report measures {shown(name)}")
    return _figures(measured)


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


def _latency(value: float, most: float) -> Check:
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
    # Rates are quotients of sums, so equal models may differ in the last bit.
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
    """Return a check for each slice with enough users and each figure in the policy."""
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


def _figures(model: Mapping[str, Any]) -> dict[str, float]:
    figures: dict[str, float] = {}
    for name, place in _PLACES.items():
        value: Any = model
        for step in place:
            value = value[step]
        figures[name] = float(value)
    return figures
