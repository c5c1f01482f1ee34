"""CloudWatch: evaluation of alarms."""

from __future__ import annotations

import operator
import time
from collections.abc import Iterable
from typing import Any

from ministack.core.responses import get_account_id, get_region
from ministack.services import cloudwatch

from laptop_aws import registry
from laptop_aws.correction import corrects

COMPARISONS = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}


@corrects(
    "ministack.services.cloudwatch:_evaluate_alarm",
    source="a0b0acd3d432",
    aws="an alarm evaluates the metric with exactly its dimensions, period by period, needs DatapointsToAlarm of "
    "EvaluationPeriods, honours TreatMissingData, and notifies the event bus",
    ministack="adds up all dimensions over the whole time, never returns from ALARM without new data, and notifies "
    "only topics",
    test="test_an_alarm_goes_off_for_its_own_dimensions_and_calms_down",
)
def evaluate_alarm(stock: Any, alarm: dict[str, Any]) -> None:
    if alarm.get("MetricName") and alarm.get("ComparisonOperator") in COMPARISONS:
        evaluate(alarm)
    else:
        stock(alarm)


def evaluate(alarm: dict[str, Any]) -> None:
    """Sets the state of the alarm, and notifies its actions and the event bus of a change."""
    state, reason = judge(alarm, _points(alarm), time.time())
    previous = alarm["StateValue"]
    if state == previous:
        return
    alarm.update(StateValue=state, StateReason=reason, StateUpdatedTimestamp=int(time.time()))
    cloudwatch._record_history(alarm["AlarmName"], previous, state, reason)
    cloudwatch._dispatch_alarm_actions(alarm, previous, state, reason)
    cloudwatch._evaluate_parent_alarms(alarm)
    registry.emit_event(
        "aws.cloudwatch",
        "CloudWatch Alarm State Change",
        {
            "alarmName": alarm["AlarmName"],
            "state": {"value": state, "reason": reason},
            "previousState": {"value": previous},
            "configuration": {"description": alarm.get("AlarmDescription", "")},
        },
        [alarm["AlarmArn"]],
        get_region(),
        get_account_id(),
    )


def _points(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    dimensions = {item["Name"]: item["Value"] for item in alarm.get("Dimensions") or []}
    key = (alarm["Namespace"], alarm["MetricName"], cloudwatch._dims_key(dimensions))
    return list(cloudwatch._metrics.get(key) or [])


def judge(alarm: dict[str, Any], points: Iterable[dict[str, Any]], now: float) -> tuple[str, str]:
    """The state of the alarm at ``now``, and the reason."""
    period = int(alarm.get("Period") or 60)
    periods = int(alarm.get("EvaluationPeriods") or 1)
    needed = int(alarm.get("DatapointsToAlarm") or periods)
    threshold = float(alarm.get("Threshold") or 0)
    missing = alarm.get("TreatMissingData") or "missing"
    statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic") or "Average"
    compare = COMPARISONS[alarm["ComparisonOperator"]]
    windows: list[list[dict[str, Any]]] = [[] for _ in range(periods)]
    for point in points:
        index = int((now - point["Timestamp"]) // period)
        if 0 <= index < periods:
            windows[index].append(point)
    values = [_statistic(window, statistic) for window in windows]
    known = [value for value in values if value is not None]
    absent = periods - len(known)
    breaching = sum(compare(value, threshold) for value in known) + (absent if missing == "breaching" else 0)
    if not known and missing == "missing":
        return (
            "INSUFFICIENT_DATA",
            f"no data for {statistic} of {alarm['MetricName']} in {periods} periods of {period} s",
        )
    if not known and missing == "ignore":
        return alarm["StateValue"], alarm.get("StateReason", "")
    shown = ", ".join(f"{value:g}" for value in known) or "no data"
    compared = f"{statistic} of {alarm['MetricName']} ({shown}) {alarm['ComparisonOperator']} {threshold:g}"
    if breaching >= needed:
        return "ALARM", f"Threshold Crossed: {breaching} of {periods} datapoints: {compared}"
    return "OK", f"{breaching} of {periods} datapoints, {needed} needed: {compared}"


def _statistic(window: list[dict[str, Any]], statistic: str) -> float | None:
    if not window:
        return None
    stats = cloudwatch._calc_stats(window)
    value = cloudwatch._stat_value(stats, statistic, window) if stats else None
    return None if value is None else float(value)
