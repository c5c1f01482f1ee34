"""The gate: decides whether a model may reach customers. Pure.

All checks run and all must pass; the verdict lists each with its figures. Before any check, the report itself must be
valid: it belongs to this run, and every figure is a finite number in its range. An invalid report is a fault, never a
rejection and never a pass.

"Better than the incumbent" is a one-sided test on the fair test users, paired by user: the chance that the real gain is
above the required one, by the normal distribution of the mean difference, must reach the policy's confidence
(docs/decisions/0025-what-better-means.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import NormalDist
from typing import Any

from contracts import schemas
from contracts.documents import Unfit
from contracts.values import shown
from evaluate import notes
from evaluate.policy import ANY, FIGURES, DataChange, Policy
from shared.errors import NotComparable, UntrustworthyReport

REPORT = "evaluation.json"
ACCEPTED, REJECTED, UNCHANGED = "ACCEPTED", "REJECTED", "UNCHANGED"
_PLACES = {
    "sampledHitRate": ("sampled", "hitRate"),
    "sampledNdcg": ("sampled", "ndcg"),
    "fullHitRate": ("full", "hitRate"),
    "fullNdcg": ("full", "ndcg"),
    "coverage": ("coverage",),
    "largestExposure": ("largestExposure",),
    "withRepeatsNdcg": ("slices", "withRepeats", "full", "ndcg"),
}
_WORDS = {
    "sampledHitRate": "hit rate at {k} among sampled items",
    "sampledNdcg": "NDCG at {k} among sampled items",
    "fullHitRate": "hit rate at {k}",
    "fullNdcg": "NDCG at {k}",
    "coverage": "coverage",
    "largestExposure": "the most-recommended item reaches",
    "withRepeatsNdcg": "NDCG at {k} with repeats",
}
_WITH_REPEATS = "withRepeats"
_OTHER_PROTOCOL = "; the serving model was judged by {}: its figures of then are not compared with those of now"


@dataclass(frozen=True)
class Run:
    """The run that is judged, and the run that serves (None before the first model), from the ledger."""

    run_id: str
    dataset_version: str
    incumbent_run_id: str | None = None
    incumbent_ndcg: float | None = None
    """The serving model's full-catalogue NDCG when it was judged itself; None if it is not known."""
    incumbent_split: str | None = None
    """The protocol by which the serving model was judged itself; None if it is not known."""
    instance_type: str | None = None
    """The machine that the training asked for; None if it is not known."""
    instance_count: int | None = None
    """The number of machines that the training asked for; None if it is not known."""


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
    """The gate's decision, with the failed checks first."""

    checks: tuple[Check, ...]
    figures: Mapping[str, float]
    people: str
    """The sentence that says on whom the models were compared."""
    advice: tuple[str, ...] = ()
    """If the data changed: how they changed, where the policy does not stop at it, and otherwise what to do. Then what
    the policy does not limit or could not check.
    """
    gpu: str | None = None
    """A sentence if the training ran on the CPU of a machine with a GPU."""
    idle: str | None = None
    """A sentence if the training used fewer machines than it paid for."""
    is_unchanged: bool = False
    """True if the candidate equals the incumbent in every figure."""

    @property
    def outcome(self) -> str:
        """UNCHANGED if the candidate equals the incumbent, ACCEPTED if every check passed, otherwise REJECTED."""
        if self.is_unchanged:
            return UNCHANGED
        return ACCEPTED if all(check.passed for check in self.checks) else REJECTED

    @property
    def reasons(self) -> list[str]:
        """The sentences of the failed checks; of all checks when none failed. The last says who was tested."""
        last = [*(note for note in (self.gpu, self.idle) if note), self.people]
        if self.is_unchanged:
            equal = "the model equals the serving model in every figure: it is not deployed"
            return [equal, *last]
        failed = [check.sentence for check in self.checks if not check.passed]
        return [*(failed or [check.sentence for check in self.checks]), *self.advice, *last]

    def to_figures(self) -> dict[str, Any]:
        """The candidate's figures and each check, for the ledger."""
        names = ("name", "passed", "value", "threshold", "sentence")
        checks = [{name: getattr(check, name) for name in names} for check in self.checks]
        return {"candidate": dict(self.figures), "checks": checks, "people": self.people}


def judge(report: Any, policy: Policy, run: Run) -> Verdict:
    """Return the verdict on a report (docs/reference/contracts.md, `evaluation.json`).

    Raises UntrustworthyReport if the report is invalid, NotComparable if it is of another protocol than the policy's,
    if it does not measure the serving model, or on too few people whose test items that model has not learned.
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
    if report["serving"] is None:
        raise UntrustworthyReport(f"{REPORT}: serving must be an object, not null: the latency was not measured")
    _require_protocol(report["protocol"]["split"], policy.protocol)
    incumbent = _incumbent(report, run)
    is_judged_alike = run.incumbent_split in (None, report["protocol"]["split"])
    _require_people(report, policy, incumbent)

    k, candidate = int(report["protocol"]["k"]), report["candidate"]
    figures = _figures(candidate)
    checks: list[Check] = []
    changes: list[Check] = []
    if incumbent is not None:
        before = run.incumbent_ndcg if is_judged_alike else None
        changes = list(_data_changes(report, incumbent, policy.data_change, before))
        checks += changes if policy.data_change.stops else []
        checks.append(_better(incumbent, report["difference"], policy, k))
        checks += _gains(figures, _figures(incumbent), policy.incumbent_gains, k, "incumbent", "the incumbent")
        checks += _slices(report, policy, k)
    checks += _against_baselines(figures, report["baselines"], policy, k)
    checks += _absolute(figures, policy, k)
    checks += _slice_floors(candidate["slices"], policy, k)
    checks.append(_latency(float(report["serving"]["p99Milliseconds"]), policy.maximum_serving_milliseconds))
    return Verdict(
        checks=tuple(sorted(checks, key=lambda check: check.passed)),
        figures=figures,
        people=_people(report) + ("" if is_judged_alike else _OTHER_PROTOCOL.format(run.incumbent_split)),
        advice=(
            *_advice(changes, policy.data_change.stops),
            *notes.stronger(figures, {name: _figures(model) for name, model in report["baselines"].items()}, policy, k),
            *notes.unchecked(candidate["slices"], policy),
        ),
        gpu=notes.without_gpu(run.instance_type, report.get("device")),
        idle=notes.idle_machines(run.instance_count, report.get("machines"), candidate["model"]),
        is_unchanged=incumbent is not None and _same(candidate, incumbent),
    )


def _incumbent(report: Mapping[str, Any], run: Run) -> Mapping[str, Any] | None:
    measured: Mapping[str, Any] | None = report["incumbent"]
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
    return measured


def _require_people(report: Mapping[str, Any], policy: Policy, incumbent: Mapping[str, Any] | None) -> None:
    people, least = report["people"], policy.minimum_test_users
    if people["fair"] not in (0, report["protocol"]["testUsers"]):
        raise UntrustworthyReport(
            f"{REPORT}: people.fair must be protocol.testUsers, {report['protocol']['testUsers']}, or 0, "
            f"not {people['fair']}"
        )
    if people["withTest"] < least:
        raise UntrustworthyReport(
            f"{people['withTest']} test users, below the minimum of {least}: too few to judge the model"
        )
    if people["fair"] < least:
        whose = incumbent["runId"] if incumbent else "the incumbent"
        raise NotComparable(
            f"not comparable: {whose} learned the test items of {_learned(people)} of {people['withTest']} test users; "
            f"{people['fair']} are left, below the minimum of {least}. Data with newer interactions of more users, or "
            "a lower minimumTestUsers in policy/gate.json, makes them comparable"
        )


def _require_protocol(found: str, wanted: str) -> None:
    if wanted not in (ANY, found):
        raise NotComparable(
            f"not comparable: the dataset is split by {found}, and the policy asks for {wanted}. Set "
            f'{{"split": "{wanted}"}} in PreparationParameters and prepare the data again, or set protocol to {found} '
            f"or {ANY} in policy/gate.json"
        )


def _protocol(protocol: Mapping[str, Any]) -> str:
    if protocol["moment"] is None:
        return f"by {protocol['split']}"
    since = datetime.fromtimestamp(protocol["moment"], UTC).isoformat().replace("+00:00", "Z")
    return f"by {protocol['split']} (interactions from {since} on)"


def _learned(people: Mapping[str, int]) -> int:
    return people["learnedAgain"] + people["learnedWhenNew"]


def _people(report: Mapping[str, Any]) -> str:
    people = report["people"]
    measured, everybody = report["protocol"]["testUsers"], people["withTest"]
    number = f"all {everybody}" if measured == everybody else f"{measured} of {everybody}"
    sentence = f"tested {_protocol(report['protocol'])} on {number} test users"
    left_out = [
        f"{people[name]} {words}"
        for name, words in (
            ("learnedAgain", "whose items the incumbent had learned because they had them before"),
            ("learnedWhenNew", "whose items the incumbent had learned because they were too new to test"),
            ("notDrawn", "not drawn for the sample"),
        )
        if people[name]
    ]
    return f"{sentence}; left out: {', '.join(left_out)}" if left_out else sentence


def _same(candidate: Mapping[str, Any], incumbent: Mapping[str, Any]) -> bool:
    fields = ("sampled", "full", "coverage", "largestExposure", "slices")
    return all(candidate[field] == incumbent[field] for field in fields)


def _data_changes(
    report: Mapping[str, Any], incumbent: Mapping[str, Any], limits: DataChange, ndcg_before: float | None
) -> Iterator[Check]:
    """Yield a failed check for each limit that the data break, as broken data do."""
    data = report["data"]
    if data is None:
        raise UntrustworthyReport(f"{REPORT}: data must be an object, not null, where there is an incumbent")
    figures, now = dict(data), _figures(incumbent)["fullNdcg"]
    lowest = [
        ("formerUsers", limits.minimum_former_users, "{:.0%} of the serving model's users are in the data"),
        ("formerItems", limits.minimum_former_items, "{:.0%} of the serving model's items are in the data"),
        ("interactions", limits.minimum_size, "{:.0%} of the serving model's number of interactions"),
    ]
    if ndcg_before:
        # What chance explains is no collapse.
        figures["incumbent"] = (now + 2 * float(incumbent["standardErrors"]["fullNdcg"])) / ndcg_before
        words = f"the serving model's NDCG is {now:.4f}, and was {ndcg_before:.4f} when it was judged"
        lowest.append(("incumbent", limits.minimum_incumbent_share, words))
    highest = (
        ("interactions", limits.maximum_size, "{:.0%} of the serving model's number of interactions"),
        ("itemShift", limits.maximum_item_shift, "the popularity of items has moved: stability index {:.2f}"),
        ("eventShift", limits.maximum_event_shift, "the mix of event types has moved: stability index {:.2f}"),
        (
            "withdrawnItems",
            limits.maximum_withdrawn_items,
            "{:.0%} of the items that the serving model recommends are withdrawn",
        ),
    )
    for name, least, words in lowest:
        if figures[name] < least:
            yield _change(name, figures[name], least, words, "at least")
    for name, most, words in highest:
        if (figures.get(name) or 0.0) > most:  # the mix of event types may be unknown
            yield _change(name, figures[name], most, words, "at most")


def _advice(changes: list[Check], stops: bool) -> tuple[str, ...]:
    if changes and stops:
        return ('if the change is meant, put {"dataChange": {"action": "warn"}} into policy/gate.json and try again',)
    return tuple(change.sentence for change in changes)


def _change(name: str, value: float, limit: float, words: str, side: str) -> Check:
    shown_limit = f"{limit:g}" if name.endswith("Shift") else f"{limit:.0%}"
    sentence = f"the data changed: {words.format(value)} ({side} {shown_limit} expected)"
    return Check(f"data.{name}", False, value, limit, sentence)


def _absolute(figures: Mapping[str, float], policy: Policy, k: int) -> Iterator[Check]:
    """Yield the floors and ceilings that a figure can break."""
    for name in FIGURES:
        floor, value = policy.floors.get(name, 0.0), figures[name]
        if floor > 0:
            passed = value >= floor
            result = f"{'at or above' if passed else 'below'} the floor of {floor:g}"
            yield Check(f"floor.{name}", passed, value, floor, f"{_WORDS[name].format(k=k)} is {value:.4f}, {result}")
    for name, ceiling in policy.ceilings.items():
        value = figures[name]
        passed = value <= ceiling
        sentence = f"{_WORDS[name]} {value:.1%} of users, {_limit(passed)} {ceiling * 100:g}%"
        yield Check(f"ceiling.{name}", passed, value, ceiling, sentence)


def _latency(value: float, most: float) -> Check:
    passed = value <= most
    sentence = f"p99 latency is {value:.3g} ms, {_limit(passed)} {most:g} ms"
    return Check("serving.p99Milliseconds", passed, value, most, sentence)


def _against_baselines(
    figures: Mapping[str, float], baselines: Mapping[str, Any], policy: Policy, k: int
) -> Iterator[Check]:
    """Yield a check for each figure and baseline in the policy. An allowed loss is one beyond chance, as in a slice."""
    for name, measured in sorted(baselines.items()):
        gains = policy.gains_over(name)
        errors = {figure: float(found["standardError"]) for figure, found in measured.get("difference", {}).items()}
        chance = {figure: NormalDist().inv_cdf(policy.better.confidence) * error for figure, error in errors.items()}
        whose = f"the baseline {name.replace('_', ' ')}"
        yield from _gains(figures, _figures(measured), gains, k, f"baseline.{name}", whose, chance)


def _gains(
    figures: Mapping[str, float],
    others: Mapping[str, float],
    gains: Mapping[str, float],
    k: int,
    kind: str,
    whose: str,
    chance: Mapping[str, float] | None = None,
) -> Iterator[Check]:
    """Yield a check for each required gain: a share of the other model's figure; a negative one allows that loss, and
    as much more as chance explains, which is `chance` by figure.
    """
    for name, gain in gains.items():
        if name not in figures or name not in others:  # a test with repeats that the dataset does not have
            continue
        value, other = figures[name], others[name]
        by_chance = (chance or {}).get(name, 0.0) if gain < 0 else 0.0
        threshold = other * (1 + gain) - by_chance
        # Rates are quotients of sums, so equal models may differ in the last bit.
        passed = value >= threshold - 1e-12 and (gain <= 0 or value > other)
        words = f"{_WORDS[name].format(k=k)} is {value:.4f} against {other:.4f} of {whose}{_relative(value, other)}"
        beyond = " beyond chance" if by_chance else ""
        yield Check(f"{kind}.{name}", passed, value, threshold, f"{words}; {_required(gain, beyond)}")


def _required(gain: float, beyond: str) -> str:
    if gain == 0:
        return "no loss allowed"
    return f"gain of {gain:.0%} required" if gain > 0 else f"loss of {-gain:.0%}{beyond} allowed"


def _better(incumbent: Mapping[str, Any], difference: Mapping[str, Any], policy: Policy, k: int) -> Check:
    """Return the test that decides between candidate and incumbent: superiority, or non-inferiority where the policy's
    `minimumGain` is negative.
    """
    rule, words = policy.better, _WORDS[policy.better.figure].format(k=k)
    measured, other = difference[rule.figure], _figures(incumbent)[rule.figure]
    mean, error = float(measured["mean"]), float(measured["standardError"])
    above = mean - rule.minimum_gain * other
    chance = NormalDist().cdf(above / error) if error > 0 else float(above > 0)
    passed = chance >= rule.confidence and above > 0
    if rule.minimum_gain < 0:
        claim = f"the loss is at most {-rule.minimum_gain:.0%} (non-inferiority)"
    else:
        claim = "it is better" + (f" by {rule.minimum_gain:.0%}" if rule.minimum_gain else "")
    return Check(
        f"better.{rule.figure}",
        passed,
        chance,
        rule.confidence,
        f"{words} is {other + mean:.4f} against the incumbent's {other:.4f}{_relative(other + mean, other)}: "
        f"{chance:.1%} sure that {claim}, {rule.confidence:.0%} asked",
    )


def _relative(value: float, other: float) -> str:
    return f" ({(value - other) / other:+.1%})" if other > 0 else ""


def _limit(passed: bool) -> str:
    return "within the limit of" if passed else "above the limit of"


def _slices(report: Mapping[str, Any], policy: Policy, k: int) -> Iterator[Check]:
    """Yield a check for each slice with enough users and each figure in the policy.

    A slice fails if its loss exceeds the allowed one by more than chance explains: slices are small, so a bound on the
    mean alone would reject equal models.
    """
    ours, theirs, differences = report["candidate"]["slices"], report["incumbent"]["slices"], report["difference"]
    for slice_name in sorted((ours.keys() & theirs.keys()) - {_WITH_REPEATS}):
        users = ours[slice_name]["users"]
        if users < policy.minimum_slice_users:
            continue
        for name, gain in policy.slice_gains.items():
            if slice_name not in differences["slices"]:
                raise UntrustworthyReport(f"{REPORT}: difference.slices has no {slice_name}")
            protocol, rate = _PLACES[name]
            value, other = ours[slice_name][protocol][rate], theirs[slice_name][protocol][rate]
            error = float(differences["slices"][slice_name][name]["standardError"])
            threshold = other * (1 + gain) - NormalDist().inv_cdf(policy.better.confidence) * error
            yield Check(
                f"slice.{slice_name}.{name}",
                value >= threshold - 1e-12,
                value,
                threshold,
                f"{_WORDS[name].format(k=k)} of {slice_name} ({users} users) is {value:.4f} against the incumbent's "
                f"{other:.4f}{_relative(value, other)}; a loss of {-gain:.0%} beyond chance is allowed",
            )


def _slice_floors(slices: Mapping[str, Any], policy: Policy, k: int) -> Iterator[Check]:
    """Yield a check for each floor of a slice with enough users."""
    for slice_name, floors in policy.checked_floors(slices):
        for name, floor in floors.items():
            protocol, rate = _PLACES[name]
            value, users = slices[slice_name][protocol][rate], slices[slice_name]["users"]
            passed = value >= floor
            result = f"{'at or above' if passed else 'below'} the floor of {floor:g}"
            sentence = f"{_WORDS[name].format(k=k)} of {slice_name} ({users} users) is {value:.4f}, {result}"
            yield Check(f"floor.{slice_name}.{name}", passed, value, floor, sentence)


def _figures(model: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of `_PLACES`; that of a slice only if the model has it."""
    figures: dict[str, float] = {}
    for name, place in _PLACES.items():
        if place[0] == "slices" and place[1] not in model["slices"]:
            continue
        value: Any = model
        for step in place:
            value = value[step]
        figures[name] = float(value)
    return figures
