"""The loop as an operator sees it, from the console alone: a run watched to its end, a rejection read, an approval, a
rule, a person, a drill, and a model taken back. One stack; each test stands on those before it.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from local import shop
from tests.browser.local_stack import LocalStack, eventually
from tests.browser.visitor import TRACE, Visitor
from tests.copied_version import publish_copy
from tests.releases import configured

SEED, PEOPLE = 7, 300
RUN_MILLISECONDS = 900_000
pytestmark = pytest.mark.timeout(1800)


def shop_files(folder: Path, weeks: int) -> dict[str, bytes]:
    """The drop of a generated shop after `weeks` weeks."""
    shop.write_shop(folder, seed=SEED, weeks=weeks, users=PEOPLE)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def run_ids(stack: LocalStack) -> set[str]:
    return {str(run["pk"]).removeprefix("RUN#") for run in stack.ledger.of_kind("RUN")}


def dropped(stack: LocalStack, name: str, files: Mapping[str, bytes]) -> str:
    """Drop data; the id of the run that it starts, once the ledger has it."""
    before = run_ids(stack)
    stack.drop(name, dict(files))
    return str(eventually(lambda: run_ids(stack) - before, f"a run from raw/{name}/").pop())


def ended(stack: LocalStack, run_id: str) -> dict[str, Any]:
    """Wait until the run is over; its record."""
    found: dict[str, Any] = eventually(
        lambda: record if (record := stack.ledger.run(run_id)).get("status") not in ("RUNNING", "PARKED") else None,
        f"the end of {run_id}",
    )
    return found


def last_action(stack: LocalStack) -> dict[str, Any]:
    """The ledger's record of the last change made in the console."""
    return stack.ledger.of_kind("ACTION", 1)[0]


def demand(stack: LocalStack, better: float) -> None:
    """Put a policy into force by which a model must have so much more NDCG (a share) than the one that serves."""
    gains = {"fullNdcg": -1, "fullHitRate": -1}
    policy = {"better": {"minimumGain": better}, "baselineGains": {"popularity": gains, "others": gains}}
    body = json.dumps({**policy, "sliceGains": gains})
    stack.client("s3").put_object(Bucket=stack.outputs["ArtifactsBucketName"], Key="policy/gate.json", Body=body)


def trained_anew(stack: LocalStack, first: str, seed: int) -> str:
    """The id of a run, once the ledger has it, that trains with another seed on a copy of the data of the run `first`:
    its model is another one.
    """
    source = first.removesuffix("-r1")
    target = f"v{datetime.now(UTC):%Y%m%dt%H%M%Sz}-{seed:08x}"
    with configured(stack.client, "ncf-start-training", HYPERPARAMETERS=json.dumps({"seed": seed})):
        publish_copy(stack.client("s3"), stack.outputs["DataBucketName"], source, target)
        run_id = f"{target}-r1"
        eventually(lambda: stack.ledger.run(run_id).get("trainingAttempt"), f"the run {run_id} trains")
    return run_id


def content(visitor: Visitor) -> Locator:
    return visitor.page.get_by_role("main")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return shop_files(tmp_path_factory.mktemp("shop"), 8)


@pytest.fixture(scope="module")
def first(stack: LocalStack, files: dict[str, bytes]) -> str:
    """The id of a run that has just begun."""
    return dropped(stack, "first", files)


@pytest.fixture(scope="module")
def served(stack: LocalStack, first: str) -> str:
    """The id of that run, which is over."""
    ended(stack, first)
    return first


def test_a_run_is_watched_live_to_its_end_without_a_reload(stack: LocalStack, first: str, operator: Visitor) -> None:
    page = operator.open(f"/runs/{first}")
    page.evaluate("window.sameDocument = true")
    expect(content(operator)).to_contain_text("RUNNING")
    expect(content(operator)).to_contain_text("StartTraining", timeout=RUN_MILLISECONDS)
    expect(content(operator)).to_contain_text("DEPLOYED", timeout=RUN_MILLISECONDS)
    assert page.evaluate("window.sameDocument") is True
    assert stack.ledger.serving()["runId"] == first
    assert operator.errors == [] and not TRACE.search(operator.text)


def test_the_first_page_says_who_serves(stack: LocalStack, served: str, operator: Visitor) -> None:
    operator.open("/")
    expect(content(operator)).to_contain_text(served)


def test_the_reason_of_a_rejection_is_read_at_the_gate(stack: LocalStack, served: str, operator: Visitor) -> None:
    demand(stack, better=0.5)
    run_id = trained_anew(stack, served, seed=1)
    record = ended(stack, run_id)
    assert record["status"] == "REJECTED" and record["reasons"]
    operator.open(f"/gate?run={run_id}")
    for reason in record["reasons"]:
        expect(content(operator)).to_contain_text(reason, use_inner_text=True)


def test_an_approval_given_in_the_console_lets_the_model_serve(
    stack: LocalStack, served: str, operator: Visitor
) -> None:
    demand(stack, better=-1)
    with configured(stack.client, "ncf-register", APPROVAL="manual"):
        run_id = trained_anew(stack, served, seed=2)
        page = operator.open(f"/runs/{run_id}")
        approve = page.get_by_role("button", name="Approve")
        expect(approve).to_be_visible(timeout=RUN_MILLISECONDS)
        expect(approve).to_be_enabled(timeout=RUN_MILLISECONDS)
        approve.click()
        operator.confirm("Approve", "better on every slice")
    expect(content(operator)).to_contain_text("DEPLOYED", timeout=RUN_MILLISECONDS)
    assert stack.ledger.serving()["runId"] == run_id
    action = last_action(stack)
    assert (action["name"], action["status"], action["why"]) == ("approve", "DONE", "better on every slice")
    assert action["who"]


def test_a_person_is_explored_with_the_list_that_the_api_gives(
    stack: LocalStack, files: dict[str, bytes], operator: Visitor
) -> None:
    user = files["interactions.csv"].decode().splitlines()[1].split(",")[0]
    shown = stack.command("recommend", user, "-n", "1")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    titles = [line.split(",")[1] for line in files["items.csv"].decode().splitlines()[1:]]
    first_line = next(line for line in shown.stdout.splitlines() if re.match(r"\s*1\s+p\d", line))
    best = next(title for title in titles if title in first_line)
    page = operator.open(f"/explore?user={user}")
    expect(content(operator)).to_contain_text(user)
    expect(content(operator)).to_contain_text(best)
    page.get_by_text("The list as a table").first.click()
    expect(page.get_by_role("columnheader", name="because of").first).to_be_visible()
    expect(page.get_by_role("gridcell", name=best).first).to_be_visible()


def test_a_rule_is_published_and_put_in_force(stack: LocalStack, files: dict[str, bytes], operator: Visitor) -> None:
    item = files["items.csv"].decode().splitlines()[1].split(",")[0]
    bucket = stack.outputs["ArtifactsBucketName"]
    page = operator.open("/rules?doc=rules")
    never = page.get_by_label("Never recommended")
    expect(never).to_be_visible()
    never.fill(item)
    never.blur()
    page.get_by_role("button", name="Publish", exact=True).click()
    operator.confirm("Publish", "recalled by its maker")
    written = json.loads(stack.client("s3").get_object(Bucket=bucket, Key="rules/rules.json")["Body"].read())
    assert item in json.dumps(written)
    expect(content(operator)).to_contain_text("in force as written", timeout=RUN_MILLISECONDS)
    assert last_action(stack)["why"] == "recalled by its maker"


def write_draft(page: Page, policy: Mapping[str, Any]) -> None:
    """Put a policy in place of what the editor of the page Gate has."""
    field = page.get_by_role("textbox", name="The document as JSON")
    field.click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(json.dumps(policy))
    expect(field).to_contain_text("minimumTestUsers")


def test_a_draft_policy_judges_the_last_runs_and_records_nothing(
    stack: LocalStack, served: str, operator: Visitor
) -> None:
    page = operator.open(f"/gate?run={served}")
    write_draft(page, {"minimumTestUsers": 1_000_000})
    page.get_by_role("button", name="Judge the last runs by it").click()
    expect(content(operator)).to_contain_text("minimumTestUsers: 20 → 1000000")
    expect(content(operator)).to_contain_text(f"{served}: ")
    assert stack.ledger.run(served)["status"] == "DEPLOYED"


def test_the_second_of_two_people_who_publish_a_policy_is_told(stack: LocalStack, operator: Visitor) -> None:
    s3, place = stack.client("s3"), {"Bucket": stack.outputs["ArtifactsBucketName"], "Key": "policy/gate.json"}
    page = operator.open("/gate")
    write_draft(page, {"minimumTestUsers": 21})
    theirs = json.dumps({"minimumTestUsers": 22})
    s3.put_object(Body=theirs.encode(), **place)
    try:
        page.get_by_role("button", name="Publish").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Reason").fill("a stricter test")
        dialog.get_by_role("button", name="Publish the policy").click()
        expect(page.get_by_text("Someone else was first")).to_be_visible()
        assert s3.get_object(**place)["Body"].read().decode() == theirs
        assert last_action(stack)["status"] == "FAILED"
        page = operator.open("/gate")
        write_draft(page, {"minimumTestUsers": 21})
        page.get_by_role("button", name="Publish").click()
        operator.confirm("Publish the policy", "now I have seen theirs")
        assert json.loads(s3.get_object(**place)["Body"].read()) == {"minimumTestUsers": 21}
    finally:
        demand(stack, better=-1)


def test_the_runs_to_compare_are_chosen_on_the_page(stack: LocalStack, served: str, operator: Visitor) -> None:
    page = operator.open("/compare")
    chooser = page.get_by_label("Runs to compare")
    before = run_ids(stack) - {served}
    chooser.click()
    for run_id in [option for option in before if page.get_by_role("option", name=option).count()]:
        option = page.get_by_role("option", name=run_id)
        if option.get_attribute("aria-selected") == "true":
            option.click()
    option = page.get_by_role("option", name=served)
    if option.get_attribute("aria-selected") != "true":
        option.click()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Compare", exact=True).click()
    page.wait_for_url(f"**/compare?a={served}")
    expect(page.get_by_role("columnheader", name=served).first).to_be_visible()


def test_another_run_is_chosen_at_the_gate(served: str, operator: Visitor) -> None:
    page = operator.open("/gate")
    page.get_by_role("combobox", name="Run", exact=True).click()
    page.get_by_role("option", name=served).click()
    page.wait_for_url(f"**/gate?run={served}")
    expect(content(operator)).to_contain_text("ACCEPTED")


@pytest.mark.parametrize(
    ("drill", "expected"), [("Duplicate event", "no run is started"), ("Full disk", "the disk has 0 bytes free")]
)
def test_a_drill_shows_the_expected_end_and_the_real_one(
    stack: LocalStack, served: str, operator: Visitor, drill: str, expected: str
) -> None:
    before = run_ids(stack)
    page = operator.open("/drills")
    card = page.locator(".q-card").filter(has=page.get_by_role("button", name=f"Begin {drill}"))
    card.get_by_role("button", name=f"Begin {drill}").click()
    operator.confirm("Drill", "a rehearsal")
    expect(card).to_contain_text(expected)
    expect(card).to_contain_text("✓ as expected", timeout=RUN_MILLISECONDS)
    assert run_ids(stack) == before


def test_the_model_before_serves_again_after_a_rollback(stack: LocalStack, operator: Visitor) -> None:
    serving = stack.ledger.serving()
    page = operator.open("/history")
    expect(page.get_by_role("list", name="Who served when").get_by_role("listitem")).not_to_have_count(0)
    expect(content(operator)).to_contain_text(f"If {serving['previous']['runId']} serves again:")
    expect(content(operator)).to_contain_text("the one that serves knows")
    page.get_by_role("button", name="Roll back").first.click()
    operator.confirm("Roll back", "the lists look odd")
    eventually(lambda: stack.ledger.serving()["runId"] == serving["previous"]["runId"], "the model before serves")
    expect(content(operator)).to_contain_text("the lists look odd", timeout=RUN_MILLISECONDS)
    assert last_action(stack)["why"] == "the lists look odd"
    operator.open("/history")
    for step in ("drop", "dataset version", "training job", "gate", "model package", "endpoint"):
        expect(page.get_by_role("listitem").filter(has_text=step).first).to_be_visible()


def test_a_console_that_may_only_read_changes_nothing(stack: LocalStack, reader: Visitor) -> None:
    """Buttons of changes are missing, disabled or refuse: no action is in the ledger afterwards."""
    before = {action["pk"] for action in stack.ledger.of_kind("ACTION")}
    for path, name in {"/drills": "Begin", "/history": "Roll back", "/rules?doc=rules": "Publish"}.items():
        page = reader.open(path)
        for button in page.get_by_role("button", name=name).all():
            if button.is_visible() and button.is_enabled():
                button.click()
                expect(page.get_by_role("dialog")).to_have_count(0)
    assert {action["pk"] for action in stack.ledger.of_kind("ACTION")} == before
