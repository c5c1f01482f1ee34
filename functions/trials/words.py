"""A trial's figures, as the ledger, notifications and the reasons of a rollback have them. Pure."""

from __future__ import annotations

from typing import Any

from contracts.trials import ALL_TRAFFIC, OTHER, Trial
from trials.decision import Estimate, Evidence, Verdict
from trials.limits import Limits

_SAID = {
    Verdict.OTHER_IS_BETTER: "{other} earns more clicks than {all_traffic} and serves from now on",
    Verdict.OTHER_IS_WORSE: "{other} earns fewer clicks than {all_traffic}, which goes on serving alone",
    Verdict.UNDECIDED: "no difference was found in time between {other} and {all_traffic}, which goes on serving alone",
}

IN_SHORT = {
    Verdict.OTHER_IS_BETTER: "it earns more clicks and will serve",
    Verdict.OTHER_IS_WORSE: "it earns fewer clicks; the trial ends",
    Verdict.UNDECIDED: "no difference found in time; the trial ends",
}
"""The verdict in a few words: for the subject of a notification."""


def figures(evidence: Evidence, found: Estimate | None, days: float, limits: Limits) -> dict[str, Any]:
    """Return the figures for the ledger. Differences are fractions of AllTraffic's click rate."""
    counted = {
        "days": round(days, 3),
        "daysLeft": round(max(limits.maximum_days - days, 0), 3),
        "impressions": dict(zip((ALL_TRAFFIC, OTHER), evidence.impressions, strict=True)),
        "clicks": dict(zip((ALL_TRAFFIC, OTHER), evidence.clicks, strict=True)),
    }
    if found is None:
        return counted
    low, high = found.interval
    return counted | {
        "difference": round(found.difference, 5),
        "low": round(low, 5),
        "high": round(high, 5),
        "chanceOtherIsBetter": round(found.chance(limits.expected), 5),
    }


def reasons(verdict: Verdict, trial: Trial, counted: dict[str, Any]) -> list[str]:
    """Return the verdict in sentences with numbers."""
    said = _SAID[verdict].format(other=trial.other, all_traffic=trial.all_traffic)
    shown, clicks = counted["impressions"], counted["clicks"]
    compared = "too few clicks for a comparison"
    if "difference" in counted:
        compared = f"{counted['difference']:+.1%} clicks (always-valid interval {counted['low']:+.1%} to "
        compared += f"{counted['high']:+.1%})"
    return [
        said,
        f"{OTHER} against {ALL_TRAFFIC} after {counted['days']:.1f} days: {compared}",
        f"{clicks[OTHER]} clicks of {shown[OTHER]} answers, against {clicks[ALL_TRAFFIC]} of {shown[ALL_TRAFFIC]}",
    ]
