"""Look at the trial of two models, on a schedule: move the share by what both sides earned, and end the trial with a
verdict. Returns `{"outcome": "NONE"|"RUNNING"|"DECIDED", "trialId"?, "share"?, "verdict"?}`.

The ledger's split (`SERVING`, `SPLIT`) says whether there is a trial, and which. All that follows is made from the
ledger anew at each call, in an order in which a call that was cut off is made good by the next one:
- a verdict is recorded before the rollback machine carries it out, by an execution whose name is that of the trial;
- a step of the share is recorded before `serving/trial.json` has it;
- a trial whose split has ended, by a person, another deployment or its verdict, is closed, and its document ended.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import Any

from botocore.exceptions import ClientError

from contracts.trials import Trial
from shared import environment, names, notices
from shared.clients import calling, client, code_of
from shared.ledger import Ledger
from shared.objects import Bucket
from shared.observability import count, logger, observed
from shared.records import Serving, TrialState, TrialStatus
from shared.trials import TrialDocument, of_split
from trials import counting, decision, words
from trials.decision import Verdict
from trials.limits import Limits

MOST_ATTEMPTS = 3
"""Executions of the rollback machine for one verdict. A failure of each is notified by the machine."""


@dataclass(frozen=True, kw_only=True)
class Settings(environment.Common):
    """Environment of this function."""

    artifacts_bucket: str
    notifications_topic_arn: str
    rollback_state_machine_arn: str
    trial_limits: dict[str, Any] = field(default_factory=dict)


SETTINGS = environment.load(Settings)
try:
    LIMITS = Limits.from_document(SETTINGS.trial_limits)
except ValueError as error:
    raise environment.BadEnvironment(f"TRIAL_LIMITS: {error}") from None
LEDGER = Ledger(SETTINGS.runs_table)
DOCUMENT = TrialDocument(Bucket(client("s3"), SETTINGS.artifacts_bucket))
STATES = client("stepfunctions")
SNS = client("sns")


@observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Raises DependencyFailed or MissingResource when a service fails; the next call goes on."""
    # The document is read before the ledger: what a deployment writes from now on is not overwritten.
    document = DOCUMENT.read()
    serving, split = LEDGER.serving(), LEDGER.current_split()
    trial = of_split(serving, split)
    _close_others(trial, serving)
    if trial is None or split is None:
        _report(DOCUMENT.end_as_read(document, LEDGER.seconds()))
        return {"outcome": "NONE"}
    LEDGER.begin_trial(trial, split["since"])
    state = LEDGER.trial(trial.trial_id)
    if state is None or state["status"] == TrialStatus.ENDED:
        _report(DOCUMENT.end_as_read(document, LEDGER.seconds()))
        return {"outcome": "NONE"}
    if state["status"] == TrialStatus.RUNNING:
        state = _look(trial, state, document)
    if state["status"] == TrialStatus.DECIDED:
        _carry_out(trial, state, document)
    return {
        "outcome": state["status"],
        "trialId": trial.trial_id,
        "share": state["share"],
        **({"verdict": state["verdict"]} if "verdict" in state else {}),
    }


def _close_others(trial: Trial | None, serving: Serving | None) -> None:
    """End the trials in the ledger whose split is no more."""
    for state in LEDGER.open_trials():
        if trial is None or state["trialId"] != trial.trial_id:
            end = _end(state, serving)
            if LEDGER.end_trial(state["trialId"], end):
                logger.info("trial ended", extra={"trial": state["trialId"], "reason": end})
                count("TrialEnded")


def _end(state: TrialState, serving: Serving | None) -> str:
    serves = serving["runId"] if serving else None
    if serves == state["allTraffic"]:
        how = "the split has ended, and the model that served goes on"
    elif serves == state["other"]:
        how = "the second model serves"
    else:
        how = f"{serves} was deployed"
    return how if "verdict" in state else f"ended without a verdict: {how}"


def _look(trial: Trial, state: TrialState, document: Trial | None) -> TrialState:
    """Count, move the share and decide. Returns the trial's state after it."""
    trial_id, now = trial.trial_id, LEDGER.seconds()
    steps = LEDGER.trial_steps(trial_id)
    since = [step["since"] for step in steps]
    windows = LEDGER.outcomes(counting.window_of(state["startedAt"]), counting.window_of(counting.time_of(now)))
    evidence = counting.evidence(windows, trial_id, since)
    found, days = decision.estimate(evidence, LIMITS), _days(state["startedAt"], now)
    counted = words.figures(evidence, found, days, LIMITS)
    verdict = decision.verdict(found, days, LIMITS)
    share = steps[-1]["share"]
    if verdict is not None:
        LEDGER.decide_trial(trial_id, verdict, words.reasons(verdict, trial, counted), counted)
        logger.info("trial decided", extra={"trial": trial_id, "verdict": verdict, "figures": counted})
        count("TrialDecided")
    else:
        wanted = decision.share(found, share, _days(since[-1], now), LIMITS)
        if wanted != share and LEDGER.add_step(trial_id, len(steps), wanted, counting.time_of(now), counted):
            logger.info("share moved", extra={"trial": trial_id, "share": wanted, "figures": counted})
            count("TrialShareMoved")
            share = wanted
        _put(trial, share, document)
        LEDGER.look_at_trial(trial_id, share, counted)
    return LEDGER.trial(trial_id) or state


def _carry_out(trial: Trial, state: TrialState, document: Trial | None) -> None:
    """Let the rollback machine do what the verdict says, and tell it. Repeating it changes nothing."""
    verdict, reasons = Verdict(state["verdict"]), state["reasons"]
    # Nobody meets the worse model any more, however long the endpoint's update takes.
    _put(trial, 0.0 if verdict == Verdict.OTHER_IS_WORSE else state["share"], document)
    reason = f"trial {trial.trial_id}: {'; '.join(reasons)}"[:500]
    wanted = {"to": trial.other} if verdict == Verdict.OTHER_IS_BETTER else {"percent": 0}
    _start(trial, state["attempt"], wanted | {"from": trial.all_traffic, "reason": reason})
    with LEDGER.notifying(f"TRIAL#{trial.trial_id}", "decided") as first:
        if first:
            with calling("sns Publish"):
                SNS.publish(
                    TopicArn=SETTINGS.notifications_topic_arn,
                    **notices.notice(
                        notices.Kind.TRIAL_DECIDED,
                        SETTINGS.name_prefix,
                        f"Trial of {trial.other}: {words.IN_SHORT[verdict]}",
                        [f"Trial {trial.trial_id}: {verdict}", "", *[f"- {one}" for one in reasons]],
                    ),
                )


def _start(trial: Trial, attempt: int, wanted: dict[str, Any]) -> None:
    """Start the execution of the verdict, or the next one if it has failed."""
    while True:
        name = _execution(trial.trial_id, attempt)
        with calling("states StartExecution"):
            try:
                STATES.start_execution(
                    stateMachineArn=SETTINGS.rollback_state_machine_arn, name=name, input=json.dumps(wanted)
                )
                return
            except ClientError as error:
                if code_of(error) != "ExecutionAlreadyExists":
                    raise
        arn = names.execution_arn(SETTINGS.rollback_state_machine_arn, name)
        with calling("states DescribeExecution"):
            status = STATES.describe_execution(executionArn=arn)["status"]
        if status in ("RUNNING", "SUCCEEDED") or attempt + 1 >= MOST_ATTEMPTS:
            logger.info("the verdict is carried out", extra={"execution": name, "status": status})
            return
        attempt += 1
        LEDGER.try_verdict(trial.trial_id, attempt)


def _execution(trial_id: str, attempt: int) -> str:
    """Return the name of the execution, at most 80 characters."""
    digest = hashlib.sha256(trial_id.encode()).hexdigest()[:12]
    return f"trial-{trial_id[:48]}-{digest}-{attempt + 1}"


def _put(trial: Trial, share: float, document: Trial | None) -> None:
    """Write the document, unless it says so already: `document` is what was read."""
    wanted = replace(trial, share=share)
    if document != wanted:
        _report(DOCUMENT.write(wanted))


def _report(is_written: bool) -> None:
    if not is_written:
        logger.info("the trial's document was changed by others meanwhile; the next call looks again")


def _days(since: str, now: float) -> float:
    return (now - counting.seconds_of(since)) / 86_400
