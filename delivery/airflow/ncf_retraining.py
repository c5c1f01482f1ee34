"""An Airflow DAG: prepare data, wait until the retraining has ended, and fail with the reason if either failed.

Copy this file into the DAG folder. It needs Airflow 3 with the amazon provider, and knows nothing of this repository.
docs/how-to/schedule-with-airflow.md says when to use it, and what to set.
"""

from __future__ import annotations

import json
from typing import Any

from airflow.providers.amazon.aws.hooks.dynamodb import DynamoDBHook
from airflow.providers.amazon.aws.hooks.step_function import StepFunctionHook
from airflow.providers.amazon.aws.operators.step_function import StepFunctionStartExecutionOperator
from airflow.providers.amazon.aws.sensors.step_function import StepFunctionExecutionSensor
from airflow.sdk import DAG, Param, task
from airflow.sdk.exceptions import AirflowFailException

CONNECTION = "aws_default"
MACHINE = "{{ var.value.ncf_preparation_state_machine_arn }}"
OUTPUT = "{{ ti.xcom_pull('wait_for_preparation', key='output') }}"
TABLE = "{{ var.value.ncf_runs_table }}"
ENDED_WELL = ("DEPLOYED", "REJECTED", "UNCHANGED")
ENDED_BADLY = ("FAILED", "ABORTED", "ROLLED_BACK")
SET_ASIDE = ("STALE", "QUARANTINED")
DAY = 24 * 3600


def ledger(table: str, key: str) -> dict[str, Any]:
    """Return the state that the ledger has under `key`, such as DATASET#<version>; empty if there is none."""
    runs = DynamoDBHook(aws_conn_id=CONNECTION).conn.Table(table)
    found: dict[str, Any] = runs.get_item(Key={"pk": key, "sk": "STATE"}, ConsistentRead=True).get("Item", {})
    return found


def reason_in(history: list[dict[str, Any]]) -> str:
    """Return why an execution failed; `history`: its events, the newest first. The state HandleFailure got the cause;
    without one it is that of the execution.
    """
    for event in history:
        entered = event.get("stateEnteredEventDetails", {})
        if entered.get("name") == "HandleFailure":
            cause = json.loads(entered["input"]).get("error", {})
            return f"{cause.get('Error')}: {cause.get('Cause')}"
    for kind in ("Failed", "TimedOut", "Aborted"):
        ended = history[0].get(f"execution{kind}EventDetails") if history else None
        if ended:
            return f"{ended.get('error', kind)}: {ended.get('cause', 'no cause was given')}"
    return "no reason was given: look at the execution in the console of Step Functions"


# A sensor that is rescheduled gives its worker back while it waits.
@task.sensor(poke_interval=30, timeout=4 * DAY, mode="reschedule")
def wait_for_run(table: str, output: dict[str, Any]) -> bool:
    """Wait until the first run of the dataset version has ended, or the version is set aside."""
    version = output["preparation"]["datasetVersion"]
    if ledger(table, f"DATASET#{version}").get("status") in SET_ASIDE:
        return True
    return ledger(table, f"RUN#{version}-r1").get("status") in (*ENDED_WELL, *ENDED_BADLY)


@task(trigger_rule="all_done")
def say_outcome(table: str, execution: str | None, output: dict[str, Any] | None) -> str:
    """Log how the run ended, with its reasons. Fails, and so does the DAG run, unless a model was judged."""
    if not execution:
        raise AirflowFailException("the preparation was not started: the log of start_preparation says why")
    if not output:
        states = StepFunctionHook(aws_conn_id=CONNECTION).conn
        history = states.get_execution_history(executionArn=execution, reverseOrder=True, maxResults=100)["events"]
        raise AirflowFailException(f"the preparation failed: {reason_in(history)}")
    version = output["preparation"]["datasetVersion"]
    state = ledger(table, f"RUN#{version}-r1") or ledger(table, f"DATASET#{version}")
    said = "\n  ".join(
        [f"{version}: {state.get('status', 'the ledger knows nothing of it')}", *state.get("reasons", [])]
    )
    if state.get("status") not in ENDED_WELL:
        raise AirflowFailException(said)
    print(said)
    return str(state["status"])


with DAG(
    "ncf_retraining",
    # By hand, or by an asset of the DAG that writes the data.
    schedule=None,
    catchup=False,
    max_active_runs=1,
    render_template_as_native_obj=True,
    params={
        "source": Param(
            "", type="string", description="s3:// URI of the data; empty: the template's PreparationSource"
        ),
        "parameters": Param({}, type="object", description="as in the input of the machine, such as {'split': …}"),
    },
) as dag:
    start = StepFunctionStartExecutionOperator(
        task_id="start_preparation",
        aws_conn_id=CONNECTION,
        state_machine_arn=MACHINE,
        # A retry of this task finds the execution that it has started.
        name="airflow-{{ run_id | replace(':', '') | replace('+', '_') | replace('.', '_') }}",
        state_machine_input='{{ {"source": params.source, "parameters": params.parameters} | tojson }}',
    )
    prepared = StepFunctionExecutionSensor(
        task_id="wait_for_preparation",
        aws_conn_id=CONNECTION,
        execution_arn="{{ ti.xcom_pull('start_preparation') }}",
        mode="reschedule",
        poke_interval=15,
        timeout=2 * DAY,
    )
    ended = wait_for_run(TABLE, OUTPUT)
    start >> prepared >> ended >> say_outcome(TABLE, start.output, OUTPUT)
