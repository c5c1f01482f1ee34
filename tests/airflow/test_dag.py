"""The DAG of `delivery/airflow/`, executed by Airflow itself against the stack on the embedded AWS (`make airflow`)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.local_stack import LocalStack
from tests.e2e.drops import shop_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).resolve().parents[2]
AIRFLOW = ROOT / ".envs" / "airflow" / "bin" / "airflow"
ENDPOINT = "NCF_AIRFLOW_ENDPOINT"
"""A stack that runs already, for writing tests: its endpoint URL. Without it, one is deployed for the session."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    assert AIRFLOW.exists(), f"{AIRFLOW} is missing: run `make .envs/airflow/.ready`"
    if given := os.environ.get(ENDPOINT):
        yield LocalStack(given)
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with LocalStack.deployed(tmp_path_factory.mktemp("local"), port) as stack:
        yield stack


@pytest.fixture(scope="module")
def environment(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An Airflow of its own, with the connection and the variables that docs/how-to/schedule-with-airflow.md names."""
    home = tmp_path_factory.mktemp("airflow")
    connection = {
        "conn_type": "aws",
        "login": "000000000000",
        "password": "local",
        "extra": {"region_name": "us-east-1", "endpoint_url": stack.endpoint_url},
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AIRFLOW"))}
    environment |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "delivery" / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection),
        "AIRFLOW_VAR_NCF_PREPARATION_STATE_MACHINE_ARN": stack.outputs["PreparationStateMachineArn"],
        "AIRFLOW_VAR_NCF_RUNS_TABLE": stack.outputs["RunsTableName"],
        "NO_COLOR": "1",
    }
    made = subprocess.run([AIRFLOW, "db", "migrate"], env=environment, capture_output=True, text=True, timeout=300)
    assert made.returncode == 0, made.stdout + made.stderr
    return environment


def run(stack: LocalStack, environment: dict[str, str], name: str, files: dict[str, bytes]) -> tuple[int, str]:
    """Upload a drop without its marker, and execute the DAG on it; the exit status, and what Airflow logged."""
    bucket = stack.outputs["DataBucketName"]
    for file, content in files.items():
        stack.client("s3").put_object(Bucket=bucket, Key=f"raw/{name}/{file}", Body=content)
    given = json.dumps({"source": f"s3://{bucket}/raw/{name}/"})
    done = subprocess.run(
        [AIRFLOW, "dags", "test", "ncf_retraining", "--conf", given],
        env=environment, capture_output=True, text=True, timeout=1200,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_a_refused_drop_fails_the_dag_run_with_its_reason_in_the_log(
    stack: LocalStack, environment: dict[str, str]
) -> None:
    status, log = run(stack, environment, "refused", {"orders.csv": b"who,what,when\nann,tea,1700000000\n"})
    assert status != 0, log
    assert "the preparation failed: PreparationFailed: " in log, log
    assert "no column is known to hold the users" in log


def test_the_dag_ends_when_the_model_of_its_data_serves(
    stack: LocalStack, environment: dict[str, str], tmp_path: Path
) -> None:
    status, log = run(stack, environment, "shop", shop_files(tmp_path, weeks=8))
    assert status == 0, log
    serving = stack.ledger.serving()
    assert serving is not None and f"{serving['datasetVersion']}: DEPLOYED" in log, log
