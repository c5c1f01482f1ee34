"""Drills: faults that are caused on purpose on the embedded AWS, what is expected of each, and what came of it. Pure.

seen = judge(KILLED_TRAINING, Observed(seconds=40, run_status="ABORTED", job_status="Stopped", reasons=("…",), …))
seen.is_as_expected    # None while it is not over
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

LONGEST_SECONDS = 900.0
"""A drill that trains is over within this time."""
LONGEST_ANSWER_SECONDS = 120.0
"""A drill that does not train is over within this time."""
FULL_SECONDS = 10
"""So long a disk counts as full."""
SETTLED_SECONDS = 10.0
"""So long after a fault, what it was to cause would have happened."""
NORMAL_ENDS = ("DEPLOYED", "REJECTED", "UNCHANGED")
OVER = (*NORMAL_ENDS, "FAILED", "ABORTED", "ROLLED_BACK")
JOB_OVER = ("Completed", "Failed", "Stopped")


@dataclass(frozen=True)
class Expected:
    """A sentence of a document: `words` stand in `source`, in the row of `fault`, which is `case`, if there is one."""

    source: str
    words: str
    fault: str = ""
    case: str = ""

    def __str__(self) -> str:
        where = f"{self.source} {self.fault}, {self.case}" if self.fault else self.source
        return f"{where}: {self.words}"


@dataclass(frozen=True)
class Drill:
    """One fault that can be caused."""

    name: str
    title: str
    cause: str
    expected: tuple[Expected, ...]
    end: str
    """The expected end, in a sentence."""
    set_right: str


FAULTS = "docs/faults.md"
MODEL_STAYS = Expected(
    FAULTS, "Three things are never lost: a dataset version, the reason of each decision, and the model that serves."
)
WORSE_DATA = Drill(
    "worse-data",
    "Worse data",
    "Drops the data of the serving model again, with a random item in every row, so that there is nothing to learn.",
    (
        Expected(FAULTS, "REJECTED, which serves on", "E04", "worse than the model that serves"),
        Expected(
            FAULTS,
            'REJECTED, "the data changed"; by policy only a warning',
            "E14",
            "the data are unlike the serving model's (people or items gone, sizes, shares of items), or the serving "
            "model collapses on them",
        ),
    ),
    "The run ends REJECTED with its reasons; the model that serves now serves on.",
    "Nothing is to be set right: the random data stay in raw/, and the next drop is compared with the serving model.",
)
DUPLICATE_EVENT = Drill(
    "duplicate-event",
    "Duplicate event",
    "Writes the manifest of the serving model's data again, unchanged: S3 then sends the same event once more.",
    (Expected(FAULTS, "one run", "D04", "the same event twice, at once or one after the other"),),
    "The event is answered, and no run is started.",
    "Nothing is to be set right.",
)
KILLED_TRAINING = Drill(
    "killed-training",
    "Killed training",
    "Starts the next attempt on the serving model's data, and stops its training job as soon as it trains.",
    (
        Expected(
            FAULTS,
            "FAILED: one notification, the reason in the ledger, restartable. ABORTED: the same after a person "
            "stopped the job or the execution, without a notification.",
        ),
        MODEL_STAYS,
    ),
    "The run ends ABORTED with the reason; nobody is alarmed, since a person stopped it; the model that serves stays.",
    "The run can be restarted from the page Runs, or left: nothing waits for it.",
)
DEAD_ENDPOINT = Drill(
    "dead-endpoint",
    "Dead endpoint",
    "Deletes the endpoint, while customers ask.",
    (
        Expected(
            "docs/how-to/popular-now.md",
            "While the endpoint does not answer, items that were listed before and the model's popular ones are known",
        ),
        Expected(FAULTS, "created", "P01", "no endpoint"),
    ),
    "The API answers on with 200, from the lists of the last batch or from popular items, and says so.",
    "“Set right” creates the endpoint again with the configuration that it had. The next deployment would do it too.",
)
LOST_CALLBACK = Drill(
    "lost-callback",
    "Lost callback",
    "Switches off the rule that tells of ended training jobs, and starts the next attempt on the serving model's data. "
    "When nobody has heard of the job's end, the rule is switched on again and reconcile is called, which otherwise "
    "comes every 15 minutes.",
    (
        Expected("docs/explanation/architecture.md", "An event may come twice or never."),
        Expected("docs/explanation/architecture.md", "Every 15 minutes `reconcile` finds tokens whose job has ended"),
    ),
    "reconcile answers the task that waits, and the run ends as if nothing had been lost.",
    "The drill switches the rule on again by itself; “Set right” does it at once if the console was stopped meanwhile.",
)
FULL_DISK = Drill(
    "full-disk",
    "Full disk",
    f"Tells the embedded AWS to count its disk as full for {FULL_SECONDS} seconds; meanwhile makes a change, reads the "
    "ledger and asks for a list. Nothing is written to the disk, and other programs do not notice.",
    (
        Expected(
            "laptop_aws/docs/design.md",
            "requests that change state get 503 `ServiceUnavailable`; reading, invoking and deleting objects still "
            "work",
        ),
    ),
    "A change is refused with 503 and the bytes that are needed; answers to customers go on; with space, all goes on.",
    "Nothing is to be set right: the shortage ends by itself, even if the console is stopped meanwhile.",
)
DRILLS = {
    drill.name: drill
    for drill in (WORSE_DATA, DUPLICATE_EVENT, KILLED_TRAINING, DEAD_ENDPOINT, LOST_CALLBACK, FULL_DISK)
}


@dataclass(frozen=True, kw_only=True)
class Observed:
    """Facts that are seen of a drill. An empty string: not there (yet)."""

    seconds: float = 0.0
    """Since it began."""
    serving_before: str = ""
    serving_now: str = ""
    run_id: str = ""
    run_status: str = ""
    reasons: tuple[str, ...] = ()
    notices: int = 0
    dataset_status: str = ""
    job_status: str = ""
    seconds_since_job: float = 0.0
    """Since the training job's end."""
    is_waiting: bool = False
    """A task still waits for the job."""
    was_lost: bool = False
    """The task waited on after the job's end, while the rule was off."""
    is_rule_on: bool = True
    handled: int = 0
    """Number of events that were answered since."""
    executions_before: int = 0
    executions_now: int = 0
    endpoint_status: str = ""
    source_before: str = ""
    answer_status: int = 0
    answer_source: str = ""
    was_full: bool = False
    """The disk counted as full, and what came of it was seen."""
    refusal: str = ""
    """Why a change was refused meanwhile."""
    was_readable: bool = False
    """The ledger was read meanwhile."""
    goes_on: bool = False
    """The change was made afterwards."""


@dataclass(frozen=True)
class Seen:
    """A drill so far: steps with whether each is done, the real end in a sentence, and whether it is the expected one
    (None: it is not over). `due` names what the drill does next.
    """

    steps: tuple[tuple[str, bool], ...]
    end: str = ""
    is_as_expected: bool | None = None
    due: str = ""
    needs_setting_right: bool = False
    reasons: tuple[str, ...] = field(default=())


def judge(drill: Drill, seen: Observed) -> Seen:
    """Return how a drill stands that was begun."""
    return _JUDGES[drill.name](seen)


def _worse_data(seen: Observed) -> Seen:
    dataset = seen.dataset_status
    steps = (
        ("the data are dropped", True),
        (f"a dataset version is prepared ({dataset or 'waiting'})", dataset == "CLAIMED"),
        (f"run {seen.run_id or '…'} trains and is judged ({seen.run_status or 'waiting'})", seen.run_status in OVER),
    )
    if dataset in ("REFUSED", "QUARANTINED", "STALE"):
        return Seen(steps, f"The data were not used: {dataset}.", False, reasons=seen.reasons)
    return _end_of_run(seen, steps, ("REJECTED",))


def _end_of_run(seen: Observed, steps: tuple[tuple[str, bool], ...], wanted: tuple[str, ...]) -> Seen:
    """The end of a drill that is over with its run; the model that served must serve, unless the new one is deployed
    and may be.
    """
    if seen.run_status not in OVER:
        return _unfinished(seen, steps, LONGEST_SECONDS, f"Run {seen.run_id or '(none)'} has not ended")
    stays = seen.serving_now == seen.serving_before
    end = f"The run ended {seen.run_status}; model {seen.serving_now or 'none'} serves{', as before' if stays else ''}."
    return Seen(
        steps, end, seen.run_status in wanted and (stays or seen.run_status == "DEPLOYED"), reasons=seen.reasons
    )


def _unfinished(seen: Observed, steps: tuple[tuple[str, bool], ...], limit: float, what: str) -> Seen:
    if seen.seconds <= limit:
        return Seen(steps)
    return Seen(steps, f"{what} after {limit:.0f} s.", False, reasons=seen.reasons)


def _duplicate_event(seen: Observed) -> Seen:
    more = seen.executions_now - seen.executions_before
    steps = (
        ("the manifest is written again", True),
        (f"the event is answered ({seen.handled})", seen.handled > 0),
        (f"runs of these data: {seen.executions_before} before, {seen.executions_now} now", seen.handled > 0),
    )
    if more > 0:
        return Seen(steps, f"{more} more run was started by the same manifest.", False)
    if seen.handled == 0 or seen.seconds < SETTLED_SECONDS:
        return _unfinished(seen, steps, LONGEST_ANSWER_SECONDS, "The event was not answered")
    return Seen(steps, f"The event was answered, and {seen.executions_now} run is all there is, as before.", True)


def _killed_training(seen: Observed) -> Seen:
    steps = (
        (f"run {seen.run_id} is started", seen.run_status != ""),
        (f"its training job trains, and is stopped ({seen.job_status or 'waiting'})", seen.job_status == "Stopped"),
        (f"the run ends ({seen.run_status or 'waiting'})", seen.run_status in OVER),
        (f"nobody is alarmed ({seen.notices} notifications)", seen.run_status in OVER and seen.notices == 0),
    )
    if seen.job_status == "InProgress":
        return Seen(steps, due="stop")
    if seen.run_status in OVER and seen.job_status != "Stopped":
        return Seen(steps, f"The job was {seen.job_status} before it could be stopped: the run is {seen.run_status}.",
                    False, reasons=seen.reasons)  # fmt: skip
    if seen.run_status in OVER and seen.seconds_since_job < SETTLED_SECONDS and seen.seconds <= LONGEST_SECONDS:
        return Seen(steps)
    found = _end_of_run(seen, steps, ("ABORTED",))
    if found.is_as_expected and (seen.notices or not seen.reasons):
        return Seen(steps, f"{found.end} It has {len(seen.reasons)} reasons and {seen.notices} notifications.", False)
    return found


def _dead_endpoint(seen: Observed) -> Seen:
    is_gone = not seen.endpoint_status
    stands_in = seen.answer_status == 200 and seen.answer_source not in ("", "personalized")
    steps = (
        (f"the endpoint is deleted ({seen.endpoint_status or 'gone'})", is_gone),
        (f"the API answers {seen.answer_status or '…'} from “{seen.answer_source or '…'}”, before from "
         f"“{seen.source_before}”", stands_in),
    )  # fmt: skip
    if is_gone and stands_in:
        end = f"Without an endpoint the API answers 200, from “{seen.answer_source}”."
        return Seen(steps, end, True, needs_setting_right=True)
    found = _unfinished(
        seen, steps, LONGEST_ANSWER_SECONDS, f"The API answers {seen.answer_status} from “{seen.answer_source}”"
    )
    return Seen(found.steps, found.end, found.is_as_expected, needs_setting_right=is_gone)


def _lost_callback(seen: Observed) -> Seen:
    is_over = seen.job_status in JOB_OVER
    steps = (
        ("the rule is switched off", True),
        (f"run {seen.run_id} trains ({seen.job_status or 'waiting'})", is_over),
        ("nobody hears of the job's end: the task waits on", seen.was_lost),
        ("the rule is on again, and reconcile is called", seen.is_rule_on and is_over),
        (f"the run goes on to its end ({seen.run_status or 'waiting'})", seen.run_status in OVER),
    )
    has_waited = is_over and (seen.seconds_since_job >= SETTLED_SECONDS or not seen.is_waiting)
    if not seen.is_rule_on:
        due = "reconcile" if has_waited or seen.run_status in OVER or seen.seconds > LONGEST_SECONDS else ""
        return Seen(steps, due=due, needs_setting_right=True)
    found = _end_of_run(seen, steps, NORMAL_ENDS)
    if found.is_as_expected and not seen.was_lost:
        return Seen(steps, f"{found.end} But its callback was not lost: the task was answered meanwhile.", False)
    return found


def _full_disk(seen: Observed) -> Seen:
    answers = seen.answer_status == 200
    steps = (
        (f"the disk counts as full for {FULL_SECONDS} s", seen.was_full),
        (f"a change is refused: {seen.refusal or '…'}", "bytes free" in seen.refusal),
        ("the ledger is read meanwhile", seen.was_readable),
        (f"the API answers {seen.answer_status or '…'} meanwhile, from “{seen.answer_source or '…'}”", answers),
        ("with space, the same change is made", seen.goes_on),
    )
    if not seen.was_full:
        late = _unfinished(seen, steps, LONGEST_ANSWER_SECONDS, "The shortage was not observed until its end")
        return late if late.end else Seen(steps, due="fill")
    if all(is_done for _, is_done in steps):
        end = f"The change was refused and then made; the API answered 200, from “{seen.answer_source}”."
        return Seen(steps, end, True)
    return Seen(steps, "; ".join(f"not seen: {text}" for text, is_done in steps if not is_done) + ".", False)


_JUDGES: dict[str, Callable[[Observed], Seen]] = {
    "worse-data": _worse_data,
    "duplicate-event": _duplicate_event,
    "killed-training": _killed_training,
    "dead-endpoint": _dead_endpoint,
    "lost-callback": _lost_callback,
    "full-disk": _full_disk,
}
