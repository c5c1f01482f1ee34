"""`up`, `run` and `demo`: from an empty machine to served recommendations, each step shown as it happens."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from contracts import sources
from control import own_link, pauses
from control.ledger import Ledger
from local import beside, data, host, http, images, shop, stack
from local import worse as worse_copy
from local.catalogue import Dataset
from local.console import Show
from local.data import Drop
from local.forget import call
from local.live import show_clicks
from local.project import ACCESS_KEY, REGION, SECRET_KEY, Problem, Project
from local.recommend import serving_dataset, show_recommendations
from local.watch import Outcome, Watcher

SHOP_SEED = 7
SHOP_FILE = "shop.json"
PEOPLE_SHOWN = 3
RECOMMENDATIONS_SHOWN = 5


class StoppedDeploying(KeyboardInterrupt):
    """Ctrl-C before the application was deployed: what the command started has been stopped."""


@dataclass(frozen=True)
class Prepared:
    """A drop to upload under `name`; `week` is the week of the generated shop, or None for a user's data."""

    name: str
    drop: Drop
    week: int | None = None


def up(project: Project, show: Show) -> dict[str, str]:
    """Start the embedded AWS and deploy the application from the working tree, if needed; return the stack's outputs.
    Raises Problem with what to do. Ctrl-C stops what this call started.
    """
    host.check_environments(project)
    host.check_java(project)
    with stack.only_deployment(project, show):
        has_started = host.start(project, show)
        try:
            with show.stage("build the model image") as note:
                try:
                    image = images.build(project.root, project.state)
                except images.BrokenSource as error:
                    raise Problem(str(error)) from error
                note(image.rpartition("/")[2][:35] + "…")
            images.compile_loops(image, project)
            stack.deploy(project, image, show)
        except KeyboardInterrupt as interrupt:
            if has_started:
                host.stop(project, show)
            raise StoppedDeploying from interrupt
    return stack.Stack(project).outputs()


def show_deployed(project: Project, outputs: Mapping[str, str], show: Show) -> None:
    """Print the addresses of the deployed stack, and the next commands."""
    counts: dict[str, int] = {}
    for resource in stack.Stack(project).resources():
        kind = resource["ResourceType"].rpartition("::")[2]
        counts[kind] = counts.get(kind, 0) + 1
    main = ("Function", "StateMachine", "Rule", "Bucket", "Table", "Application", "ModelPackageGroup", "Alarm")
    show.line("  " + ", ".join(f"{counts[kind]} × {kind}" for kind in main if kind in counts))
    show.line(f"  HTTP API  {http.api_url(project, outputs['ApiId'])}")
    show.line(f"  data      s3://{outputs['DataBucketName']}/raw/<drop>/, closed by an empty _SUCCESS")
    show.heading("Next")
    show.line("  make demo                          a generated shop (or DATA=path), to recommendations")
    show.line("  .venv/bin/python -m local --help   run, recommend, status, logs, down")


def prepare_drop(
    project: Project,
    source: Path | None,
    items: Path | None,
    worse: bool,
    parameters: Mapping[str, Any] | None = None,
) -> Prepared:
    """The drop for `demo`: the user's data or the generated shop's next week; with `worse`, a random copy of it.

    `parameters`: what the user says of the data, by the keys of `_drop.json`. Raises Problem for data that cannot be
    used.
    """
    moment = datetime.now(UTC).strftime("%Y%m%dt%H%M%Sz")
    if source is not None:
        drop = data.read_drop(source, items, parameters)
        prefix = (
            "".join(letter if letter.isalnum() else "-" for letter in sources.stem_of(source.name)).strip("-")[:40]
            or "data"
        )
        return Prepared(f"{prefix}{'-worse' if worse else ''}-{moment}", _spoiled(project, drop) if worse else drop)
    drops = project.read_state(SHOP_FILE).get("drops", 0)
    weeks = shop.FIRST_WEEKS + (drops if isinstance(drops, int) else 0)
    folder = project.state / "shop" / f"week-{weeks}"
    project.make_state_folder()
    shop.write_shop(folder, SHOP_SEED, weeks)
    drop = data.read_drop(folder / "interactions.csv")
    if worse:
        return Prepared(f"shop-week-{weeks}-worse-{moment}", _spoiled(project, drop))
    return Prepared(f"shop-week-{weeks}-{moment}", drop, weeks)


def _spoiled(project: Project, drop: Drop) -> Drop:
    return worse_copy.spoil(drop, project.state / "shop" / "worse", SHOP_SEED)


def run(project: Project, outputs: Mapping[str, str], prepared: Prepared, show: Show) -> Outcome:
    """Upload the drop and follow it to its end; show recommendations for a few users if a new model serves.

    Raises RunFailedError with the reason when preparation or the run failed.
    """
    _check_not_paused(project, outputs)
    watcher = Watcher(project, outputs, show)
    before = watcher.known_preparations()
    show.heading("The loop")
    with show.stage(f"drop raw/{prepared.name}/") as note:
        data.upload(project.client("s3"), outputs["DataBucketName"], prepared.name, prepared.drop)
        note(f"{prepared.drop.summary}, and _SUCCESS")
    show.sentences(prepared.drop.notes if prepared.week is None else ())
    if prepared.week is not None:
        project.write_state(SHOP_FILE, {"seed": SHOP_SEED, "drops": prepared.week - shop.FIRST_WEEKS + 1})
    return _follow(project, outputs, prepared.name, before, watcher, show)


def close_events(project: Project, outputs: Mapping[str, str], show: Show) -> Outcome | None:
    """Announce the events since the last announcement, and follow what that starts to its end, as `run`. None if there
    are no new events.
    """
    _check_not_paused(project, outputs)
    watcher = Watcher(project, outputs, show)
    before = watcher.known_preparations()
    answer = call(project, outputs, "close-events", {})
    if answer["drop"] is None:
        show.line("there are no new events: those that were sent are files after a few seconds")
        return None
    show.heading("The loop")
    show.good(f"the events up to raw/{answer['drop']}/ are announced")
    return _follow(project, outputs, answer["drop"], before, watcher, show)


def _check_not_paused(project: Project, outputs: Mapping[str, str]) -> None:
    """Raises Problem while new data start no training: there would be nothing to follow."""
    found = pauses.retraining(project.connection, Ledger(project, outputs["RunsTableName"]))
    if found.is_paused:
        by = f" by {found.who}" if found.who else ""
        raise Problem(f"retraining is paused{by}, and data start nothing: `.venv/bin/python -m local resume` first")


def _follow(
    project: Project, outputs: Mapping[str, str], drop: str, before: set[str], watcher: Watcher, show: Show
) -> Outcome:
    outcome = watcher.follow(drop, before)
    if outcome.status == "DEPLOYED":
        show.good(f"model {outcome.run_id} serves, {outcome.seconds:.1f} s after the drop")
        dataset = Dataset(project.client("s3"), outputs["DataBucketName"], outcome.dataset_version)
        _show_people(project, outputs, dataset, watcher, show)
    else:
        _show_not_deployed(project, outputs, outcome, watcher, show)
    return outcome


def _show_people(project: Project, outputs: Mapping[str, str], dataset: Dataset, watcher: Watcher, show: Show) -> None:
    people = dataset.examples(PEOPLE_SHOWN)
    for position, user_id in enumerate(people):
        answer = show_recommendations(project, outputs, show, user_id, RECOMMENDATIONS_SHOWN, dataset=dataset)
        if position == 0:
            source = (answer.body or {}).get("source")
            show.good(f"first recommendation {watcher.elapsed:.1f} s after the drop (source: {source})")
    for user_id in people[:1]:
        show_clicks(project, outputs, dataset, user_id, show)


def _show_not_deployed(
    project: Project, outputs: Mapping[str, str], outcome: Outcome, watcher: Watcher, show: Show
) -> None:
    serving = Ledger(project, outputs["RunsTableName"]).serving().get("runId")
    if outcome.status == "REJECTED":
        show.warn(f"the gate rejected model {outcome.run_id}: it was not deployed")
    elif outcome.status == "UNCHANGED":
        show.good(f"model {outcome.run_id} equals the serving one in every figure: it was not deployed")
    else:
        show.warn(f"dataset {outcome.dataset_version} was not trained on ({outcome.status})")
    show.sentences(reason for reason in outcome.reasons if reason not in watcher.shown_reasons)
    if any("serving model's users are in the data" in reason for reason in outcome.reasons):
        show.line(
            "    another shop's data? `.venv/bin/python -m local down --delete` removes the earlier shop and its model"
        )
    if serving:
        show.good(f"model {serving} still serves")
        dataset = serving_dataset(project, outputs)
        for user_id in dataset.examples(1) if dataset else []:
            show_recommendations(project, outputs, show, user_id, RECOMMENDATIONS_SHOWN, dataset=dataset)
    else:
        show.line("  no model serves yet: the API answers 503 until one passes")


def demo(
    project: Project,
    show: Show,
    source: Path | None,
    items: Path | None,
    worse: bool,
    parameters: Mapping[str, Any] | None = None,
) -> Outcome:
    """Run the whole demo: `up`, data, `run`, and the next commands. Raises Problem or RunFailedError."""
    started = time.monotonic()
    prepared = prepare_drop(project, source, items, worse, parameters)
    outputs = up(project, show)
    if running := own_link.of(project.connection):
        show.line(f"  watch it in the browser: {running}")
    outcome = run(project, outputs, prepared, show)
    show.heading(f"Done in {time.monotonic() - started:.0f} s. The embedded AWS runs until `make down`.")
    show_next(project, outputs, outcome, show)
    link = beside.link(project, show)
    show.heading("The run, the gate and what a person would get, in the browser:")
    show.line(f"  {link or 'make console'}")
    return outcome


def show_next(project: Project, outputs: Mapping[str, str], outcome: Outcome, show: Show) -> None:
    """Print commands for a look at the results; they can be pasted."""
    local = ".venv/bin/python -m local"
    dataset = serving_dataset(project, outputs)
    people = dataset.examples(1) if dataset else []
    for line in next_commands(project, outputs, outcome, people[0] if people else "somebody", local):
        show.line(f"  {line}")


def next_commands(
    project: Project, outputs: Mapping[str, str], outcome: Outcome, user_id: str, local: str
) -> list[str]:
    """The lines of `show_next`: comments, each followed by its commands."""
    api = http.api_url(project, outputs["ApiId"])
    credentials = f"AWS_ACCESS_KEY_ID={ACCESS_KEY} AWS_SECRET_ACCESS_KEY={SECRET_KEY} AWS_DEFAULT_REGION={REGION}"
    lines = [
        "# the model that serves, the latest runs and their reasons; the log lines of each part",
        f"{local} status",
        f"{local} logs training",
        "# again with one more week of history; or with random data, to see the gate reject the model",
        "make demo",
        "make demo WORSE=1",
        "# when two models have served: a trial of both in fast motion",
        f"{local} trial",
        "# call the API as any client does",
        f"curl --aws-sigv4 aws:amz:{REGION}:execute-api --user {ACCESS_KEY}:{SECRET_KEY} "
        f"'{api}/users/{quote(user_id, safe='')}/recommendations?numResults=5'",
    ]
    if outcome.run_id:
        machine = outputs["RetrainingStateMachineArn"].replace(":stateMachine:", ":execution:")
        lines += [
            "# the execution's history, with the AWS CLI",
            f"{credentials} aws --endpoint-url {project.endpoint} stepfunctions get-execution-history "
            f"--execution-arn {machine}:{outcome.run_id} --query 'events[].[id,type]' --output text",
        ]
    return lines


def check_deployed(project: Project) -> dict[str, str]:
    """The stack's outputs. Raises Problem if the embedded AWS does not run or the application is not deployed."""
    running = host.find(project)
    if running is None or running.port != project.port or not host.is_healthy(project.port):
        raise Problem(f"the embedded AWS of {project.state} does not run on port {project.port}: `make up` starts it")
    return stack.Stack(project).outputs()
