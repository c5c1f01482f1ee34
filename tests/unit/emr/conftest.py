"""One Spark session for all tests of the preparation, and a fixture that runs it on a few lines of text."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# Set before Spark starts a JVM. The code that Spark generates for each query costs more time than it saves in tests;
# the end-to-end tests run that code. The optimising compiler pays after some fifty preparations; the tests are more.
os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
os.environ.setdefault(
    "PYSPARK_SUBMIT_ARGS",
    "--master local[2] --driver-memory 1g"
    " --driver-java-options '-XX:+UseSerialGC'"
    " --conf spark.sql.codegen.wholeStage=false --conf spark.sql.codegen.factoryMode=NO_CODEGEN pyspark-shell",
)

VERSION = "v20261123t151300z-1a2b3c4d"


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    from spark_session import open_session

    session = open_session("tests")
    yield session
    session.stop()


@pytest.fixture
def frame(spark: Any) -> Any:
    """Makes a frame of tuples: `frame("user_id string, n int", ("ann", 1), …)`."""

    def make(schema: Any, *rows: Any) -> Any:
        return spark.createDataFrame(list(rows), schema)

    return make


@dataclass(frozen=True)
class Ended:
    """The result of a whole preparation, and the folders that it wrote."""

    status: int
    last_line: str
    output: str
    dataset: Path
    quarantine: Path

    @property
    def manifest(self) -> Any:
        return json.loads((self.dataset / "manifest.json").read_text())

    @property
    def report(self) -> Any:
        return json.loads((self.quarantine / "report.json").read_text())

    @property
    def hashes(self) -> Any:
        return {file["path"]: file["sha256"] for file in self.manifest["files"]}

    def rows(self, table: Any) -> Any:
        """The rows of a table as dicts, in the order of the files."""
        import pyarrow.parquet

        files = sorted((self.dataset / table).glob("*.parquet"))
        return [row for file in files for row in pyarrow.parquet.read_table(file, partitioning=None).to_pylist()]


@pytest.fixture
def prepare(spark: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Any:
    """Writes `files` (name -> text or bytes) into a source folder and runs the preparation on it."""
    import preprocess

    def run(files: Any, *options: Any, version: Any = VERSION, root: Any = tmp_path, source: Any = None) -> Any:
        drop = root / "drop" if source is None else source
        drop.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            path = drop / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        argv = ["--source", str(drop), "--output", str(root / "datasets"), "--quarantine", str(root / "quarantine")]
        capfd.readouterr()
        status = preprocess.main([*argv, "--dataset-version", version, "--code-version", "c0de", *options])
        out, err = capfd.readouterr()
        last = err.rstrip("\n").splitlines()[-1] if err.strip() else ""
        return Ended(status, last, out, root / "datasets" / version, root / "quarantine" / version)

    return run
