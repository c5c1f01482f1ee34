"""Tables of runs page by page, what a run cost, and what a person may do with a run."""

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, ClassVar

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from control import approvals, runs
from control.actions import perform
from control.connection import Connection
from control.ledger import Ledger

V1, V2, V3 = (f"v2026112{day}t000000z-0000000{day}" for day in (1, 2, 3))
OUTPUTS = {
    "RunsTableName": "runs",
    "DataBucketName": "data",
    "EndpointName": "ncf-recommender",
    "RetrainingStateMachineArn": "arn:aws:states:us-east-1:0:stateMachine:ncf-retraining",
    "RollbackStateMachineArn": "arn:aws:states:us-east-1:0:stateMachine:ncf-rollback",
}
ROLLBACK = "arn:aws:states:us-east-1:0:execution:ncf-rollback:7f"


class Table:
    """The index byKind over `records`, as DynamoDB answers: a filter is applied after `Limit` records were read."""

    def __init__(self, records: list[dict[str, str]]) -> None:
        self.records = sorted(records, key=lambda record: (record["updatedAt"], record["pk"]), reverse=True)
        self.read = 0

    def client(self, service: str) -> "Table":
        assert service == "dynamodb"
        return self

    def query(self, **query: Any) -> dict[str, Any]:
        values = {name: value["S"] for name, value in query["ExpressionAttributeValues"].items()}
        known = [record for record in self.records if record["kind"] == values[":kind"]]
        if start := query.get("ExclusiveStartKey"):
            place = (start["updatedAt"]["S"], start["pk"]["S"])
            known = [record for record in known if (record["updatedAt"], record["pk"]) < place]
        page = known[: query["Limit"]]
        self.read += len(page)
        wanted = values.get(":status")
        items = [record for record in page if wanted in (None, record["status"])]
        found: dict[str, Any] = {"Items": [{name: {"S": value} for name, value in one.items()} for one in items]}
        if len(known) > len(page):
            last = {"sk": "STATE", **page[-1]}
            found["LastEvaluatedKey"] = {name: {"S": last[name]} for name in ("pk", "sk", "kind", "updatedAt")}
        return found


def many(count: int) -> list[dict[str, str]]:
    """Runs, each a second after the one before; every 500th failed. Two have the same time."""
    return [
        {
            "pk": f"RUN#v{number:05d}-r1",
            "sk": "STATE",
            "kind": "RUN",
            "status": "FAILED" if number % 500 == 0 else "DEPLOYED",
            "updatedAt": datetime.fromtimestamp(1.7e9 + number // 2, UTC).isoformat(),
        }
        for number in range(count)
    ]


def test_pages_of_ten_thousand_runs_follow_each_other_and_read_no_more_than_they_show() -> None:
    table = Table(many(10_000))
    ledger = Ledger(table, "runs")
    first = runs.page_of(ledger, "RUN")
    assert [record["pk"] for record in first.records[:2]] == ["RUN#v09999-r1", "RUN#v09998-r1"]
    second = runs.page_of(ledger, "RUN", after=first.after)
    names = [record["pk"] for record in first.records + second.records]
    assert names == [f"RUN#v{number:05d}-r1" for number in range(9_999, 9_949, -1)]
    assert table.read == 2 * runs.PAGE


def test_a_rare_status_is_looked_for_in_bounded_steps_and_none_is_left_out() -> None:
    table = Table(many(10_000))
    ledger, after, found, steps = Ledger(table, "runs"), "", list[str](), 0
    while True:
        table.read = 0
        page = runs.page_of(ledger, "RUN", "FAILED", after, size=3)
        assert table.read <= runs.MOST_QUERIES * runs.RECORDS_A_QUERY
        assert len(page.records) <= 3
        found += [record["pk"] for record in page.records]
        after, steps = page.after, steps + 1
        if not after:
            break
    assert found == [f"RUN#v{number:05d}-r1" for number in range(9_500, -1, -500)]
    assert steps > 6


def test_a_frequent_status_fills_pages_without_gap_and_without_a_record_twice() -> None:
    ledger, after, found = Ledger(Table(many(600)), "runs"), "", list[str]()
    for _ in range(4):
        page = runs.page_of(ledger, "RUN", "DEPLOYED", after)
        assert len(page.records) == runs.PAGE
        found, after = found + [record["pk"] for record in page.records], page.after
    assert found == [f"RUN#v{number:05d}-r1" for number in range(599, 498, -1) if number != 500]


def test_a_last_page_that_is_full_has_no_next_one() -> None:
    page = runs.page_of(Ledger(Table(many(runs.PAGE)), "runs"), "RUN")
    assert (len(page.records), page.after) == (runs.PAGE, "")


def test_a_row_tells_what_a_run_took_and_where_its_page_is() -> None:
    record = {"pk": f"RUN#{V1}-r1", "status": "DEPLOYED", "startedAt": "2026-11-29T14:00:00Z"}
    row = runs.row_of("RUN", {**record, "endedAt": "2026-11-29T14:00:36.8Z", "reasons": ["a", "b" * 5000]})
    assert (row["took"], row["link"], row["status"]) == (36.8, f"/runs/{V1}-r1", "DEPLOYED")
    assert row["reasons"][:4] == "a; b"
    assert len(row["reasons"]) == runs.LONGEST_SHOWN
    assert runs.row_of("RUN", {**record, "status": "PARKED", "updatedAt": "2026-11-29T15:00:00Z"})["took"] is None
    assert runs.row_of("RUN", {"pk": 'RUN#<a href="x">/..'})["link"] == "/runs/%3Ca%20href%3D%22x%22%3E%2F.."


def test_a_preparation_links_to_its_execution_and_took_until_it_was_prepared() -> None:
    record = {"pk": f"DATASET#{V1}", "begunAt": "2026-11-29T14:00:00Z", "updatedAt": "2026-11-29T14:00:20Z"}
    record["executionArn"] = "arn:aws:states:us-east-1:0:execution:ncf-preparation:53741f2c"
    prepared = runs.row_of("DATASET", {**record, "status": "PREPARED"})
    assert (prepared["took"], prepared["link"]) == (20.0, "/executions/preparation/53741f2c")
    assert runs.row_of("DATASET", {**record, "status": "CLAIMED"})["took"] is None  # the run changed it later


# Actions


class Book(Ledger):
    """Runs by id and status; V2 was deployed over V1 and taken back."""

    def __init__(self, known: dict[str, str]) -> None:
        self.known = known

    def run(self, run_id: str) -> dict[str, Any]:
        return {"pk": f"RUN#{run_id}", "status": self.known[run_id]} if run_id in self.known else {}

    def history(self) -> list[dict[str, Any]]:
        first = {"sk": "SINCE#1", "since": "2026-11-26T10:00", "runId": f"{V1}-r1", "by": "x"}
        second = {"sk": "SINCE#2", "since": "2026-11-27T10:00", "runId": f"{V2}-r1", "by": "x", "replaced": f"{V1}-r1"}
        back = {"sk": "SINCE#3", "since": "2026-11-28T10:00", "runId": f"{V1}-r1", "by": ROLLBACK}
        return [first, second, {**back, "replaced": f"{V2}-r1", "why": "customers complain"}]


class Account(Connection):
    """Records the calls that are made, by their names."""

    made: ClassVar[list[tuple[str, dict[str, Any]]]] = []

    def client(self, service: str) -> Any:
        return self

    def __getattr__(self, name: str) -> Any:
        def call(**given: Any) -> dict[str, Any]:
            self.made.append((name, given))
            return {}

        return call


@pytest.fixture
def account() -> Account:
    Account.made.clear()
    found = Account("ncf-local")
    found.__dict__["outputs"] = OUTPUTS
    return found


def test_a_failed_run_is_restarted_under_a_new_name_with_its_own_input(account: Account) -> None:
    action = runs.restart(Book({f"{V3}-r1": "FAILED"}), OUTPUTS, f"{V3}-r1", is_anew=False)
    assert not action.needs_reason
    perform(account, action, "ann", "")
    ((_, given),) = [call for call in account.made if call[0] == "start_execution"]
    assert given["name"].startswith(f"{V3}-r1-restart-")
    assert json.loads(given["input"]) == {
        "runId": f"{V3}-r1",
        "datasetVersion": V3,
        "attempt": 1,
        "manifest": {"bucket": "data", "key": f"datasets/{V3}/manifest.json"},
    }


def test_a_model_that_was_taken_back_needs_a_reason_which_becomes_the_acknowledgement(account: Account) -> None:
    action = runs.restart(Book({f"{V2}-r1": "ROLLED_BACK"}), OUTPUTS, f"{V2}-r1", is_anew=False)
    assert action.needs_reason
    assert "customers complain" in action.consequences[-1]
    with pytest.raises(ValueError, match="Give a reason"):
        perform(account, action, "ann", " ")
    assert account.made == []
    perform(account, action, "ann", ' it was "the weather" ')
    ((_, given),) = [call for call in account.made if call[0] == "start_execution"]
    assert json.loads(given["input"])["acknowledge"] == 'it was "the weather"'


def test_the_next_attempt_takes_the_first_free_number() -> None:
    known = {f"{V3}-r{number}": "DEPLOYED" for number in (1, 2, 3)}
    action = runs.restart(Book(known), OUTPUTS, f"{V3}-r1", is_anew=True)
    assert action.calls[0].parameters["name"] == f"{V3}-r4"
    assert json.loads(action.calls[0].parameters["input"])["attempt"] == 4
    assert runs.next_attempt(f"{V3}-r9", [f"{V3}-r10", f"{V1}-r40"]) == f"{V3}-r11"


@pytest.mark.parametrize("status", ["RUNNING", "PARKED", "DEPLOYED", "REJECTED", "UNCHANGED"])
def test_only_a_failed_run_is_restarted(status: str) -> None:
    with pytest.raises(ValueError, match=f"is {status}, and only a failed run can be restarted"):
        runs.restart(Book({f"{V3}-r1": status}), OUTPUTS, f"{V3}-r1", is_anew=False)


def test_an_unknown_run_is_not_restarted() -> None:
    with pytest.raises(ValueError, match=f"There is no run {V3}-r1"):
        runs.restart(Book({}), OUTPUTS, f"{V3}-r1", is_anew=True)


def test_the_reason_of_a_stop_and_of_a_decision_goes_where_aws_keeps_it(account: Account) -> None:
    arn = runs.execution_arn(OUTPUTS, "rollback", "7f")
    assert arn == ROLLBACK
    perform(account, runs.stop(arn), "ann", "wrong data")
    perform(account, approvals.approval(f"{V1}-r1", "arn:package/1", approvals.REJECTED), "ann", "too many old films")
    perform(account, approvals.approval(f"{V1}-r1", "arn:package/1", approvals.APPROVED), "ann", "looked at")
    assert [given for name, given in account.made if name == "stop_execution"] == [
        {"executionArn": ROLLBACK, "error": "StoppedByPerson", "cause": "wrong data"}
    ]
    assert [given for name, given in account.made if name == "update_model_package"] == [
        {"ModelPackageArn": "arn:package/1", "ModelApprovalStatus": status, "ApprovalDescription": why}
        for status, why in (("Rejected", "too many old films"), ("Approved", "looked at"))
    ]
    with pytest.raises(ValueError, match="Give a reason"):
        perform(account, approvals.approval(f"{V1}-r1", "arn:package/1", approvals.REJECTED), "ann", "")


def test_the_package_of_a_run_is_the_one_that_it_registered() -> None:
    class Registered(Book):
        def decision(self, run_id: str, stage: str) -> dict[str, Any]:
            assert stage == "registration"
            return {"figures": {"modelPackageArn": f"arn:{run_id}"}} if run_id == "r" else {}

    assert runs.package_of(Registered({}), "r") == "arn:r"
    with pytest.raises(ValueError, match="has registered no model package"):
        runs.package_of(Registered({}), "other")


# Cost


def test_the_cost_of_a_training_counts_instances_and_says_whose_price_it_is() -> None:
    job: dict[str, Any] = {
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2},
        "BillableTimeInSeconds": 1800,
    }
    assert runs.cost_of(job, {}) == "training: it runs on 2 × ml.m5.large; its cost is known when it is over"
    job["TrainingEndTime"] = datetime.now(UTC)
    given = runs.cost_of(job, {"TrainingPricePerHour": "0.2"})
    assert given == (
        "training: 1800 s billed on 2 × ml.m5.large at 0.2 USD an hour = 0.2000 USD (the stack's TrainingPricePerHour)"
    )
    assert "0.1150 USD (list price of us-east-1" in runs.cost_of(job, {"TrainingPricePerHour": "0"})
    job["ResourceConfig"]["InstanceType"] = "ml.unheard-of.large"
    assert runs.cost_of(job, {}).endswith("its price is unknown: set the stack's parameter TrainingPricePerHour")


def test_a_run_without_a_report_says_so() -> None:
    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    connection = Connection("ncf-local")
    connection.__dict__["outputs"] = {"ArtifactsBucketName": "artifacts"}
    connection._clients["s3"] = client
    with Stubber(client) as stub:
        stub.add_client_error("get_object", "NoSuchKey", http_status_code=404)
        with pytest.raises(ValueError, match="has no report"):
            runs.report_of(connection, "r")
        stub.add_client_error("get_object", "AccessDenied", http_status_code=403)
        with pytest.raises(ClientError, match="AccessDenied"):
            runs.report_of(connection, "r")


def test_what_a_spark_job_used_is_told_with_units() -> None:
    job = {"totalExecutionDurationSeconds": 37, "billedResourceUtilization": {"vCPUHour": 0.25, "memoryGBHour": 1.5}}
    assert runs.spark_use(job) == ", 37 s, 0.25 vCPU hours billed, 1.5 GB hours of memory billed"
    assert runs.spark_use({}) == ""


def test_a_page_of_decisions_ends_with_the_key_that_the_next_one_begins_after() -> None:
    class Decisions:
        given: ClassVar[dict[str, Any]] = {}

        def query(self, **query: Any) -> dict[str, Any]:
            Decisions.given = query
            key = {"pk": "RUN#v1-r1", "sk": "DECISION#pin#output#job", "kind": "DECISION", "updatedAt": "2026"}
            return {"Items": [], "LastEvaluatedKey": {name: {"S": value} for name, value in key.items()}}

    client = Decisions()
    ledger = Ledger(SimpleNamespace(client=lambda service: client), "table")
    _, more = ledger.some_of_kind("DECISION", "", "", 50)
    assert more == "2026~RUN#v1-r1~DECISION#pin#output#job"
    ledger.some_of_kind("DECISION", "", more, 50)
    assert client.given["ExclusiveStartKey"]["sk"] == {"S": "DECISION#pin#output#job"}
