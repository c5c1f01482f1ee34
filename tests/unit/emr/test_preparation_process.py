"""The preparation as it is deployed: `preprocess.py`, and an archive of the other files, in its own process."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

import spark_session
from refusal import PreparationFailed

EMR = Path(__file__).parents[3] / "emr"
VERSION = "v20261123t151300z-1a2b3c4d"


def run(folder: Any, entry_point: Any, **environment: Any) -> Any:
    return subprocess.run(
        [sys.executable, entry_point, "--source", folder / "drop", "--output", folder / "datasets",
         "--quarantine", folder / "quarantine", "--dataset-version", VERSION, "--code-version", "c0de"],
        env={**os.environ, **environment}, cwd=folder, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip


def test_the_layer_as_built_refuses_data_with_status_2_and_the_reason_on_the_last_line(tmp_path: Path) -> None:
    built = tmp_path / "built"
    subprocess.run(
        ["make", "-s", "-C", EMR, "build-PreparationCodeLayer", f"ARTIFACTS_DIR={built}"], check=True, timeout=60
    )
    package = built / "python" / "preparation_code"
    assert {path.name for path in package.iterdir()} == {
        "__init__.py",
        *(path.name for path in EMR.glob("*.py")),
        "contracts",
    }
    with zipfile.ZipFile(tmp_path / "preparation.zip", "w") as archive:
        for path in package.rglob("*"):
            archive.write(path, path.relative_to(package))
    entry_point = tmp_path / "preprocess.py"
    entry_point.write_bytes((package / "preprocess.py").read_bytes())
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop" / "events.csv").write_text("user_id,item_id,timestamp\nann,tea,1\nann,cup,2\n")

    ended = run(tmp_path, entry_point, PYTHONPATH=str(tmp_path / "preparation.zip"))
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.splitlines()[-1] == (
        "REFUSED: below minimum support: all 2 interactions are of one user; two users and two items are needed"
    )
    assert (tmp_path / "quarantine" / VERSION / "report.json").exists()
    assert {path.name for path in tmp_path.iterdir()} <= {
        "built", "preparation.zip", "preprocess.py", "drop", "quarantine",
    }  # fmt: skip


def test_without_java_it_says_so_and_fails(tmp_path: Path) -> None:
    ended = run(tmp_path, EMR / "preprocess.py", PATH=str(tmp_path), JAVA_HOME="", PYTHONPATH=str(EMR))
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("FAILED: no Java found: install Java 17 or 21")


def test_a_java_home_without_java_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(PreparationFailed, match=f"JAVA_HOME is {tmp_path}, but there is no bin/java in it"):
        spark_session.require_java()


def test_shuffles_grow_with_the_input(spark: Any) -> None:
    for size, partitions in ((1, spark.sparkContext.defaultParallelism), (10 * 2**30, 640), (10**15, 2000)):
        spark_session.size_shuffles(spark, size)
        assert spark.conf.get("spark.sql.shuffle.partitions") == str(partitions)
    spark_session.size_shuffles(spark, 1)
