"""The archive of Spark's classes: written once, used after that, and another one for another Java or Spark."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from laptop_aws.emr_serverless.class_archive import FOLDER, ClassArchive, find
from laptop_aws.java import Java

OPTIONS = ("-XX:+UseSerialGC",)


@pytest.fixture
def spark(tmp_path: Path) -> Path:
    (tmp_path / "spark" / "jars").mkdir(parents=True)
    (tmp_path / "spark" / "jars" / "core.jar").write_bytes(b"1")
    return tmp_path / "spark"


def java(tmp_path: Path, version: str = "17.0.15") -> Java:
    (tmp_path / "java").mkdir(exist_ok=True)
    (tmp_path / "java" / "release").write_text(f'JAVA_VERSION="{version}"\n')
    return Java(tmp_path / "java", 17, "JAVA_HOME")


def written(found: ClassArchive | None, group: int) -> Path:
    assert found is not None and found.draft is not None
    assert f'"-XX:ArchiveClassesAtExit={found.draft}"' in found.options
    found.draft.write_bytes(b"classes")
    assert found.keep(group)
    return found.path


@pytest.fixture
def ended() -> int:
    """The group of a process that has ended."""
    process = subprocess.Popen(["true"], start_new_session=True)
    process.wait()
    return process.pid


def test_the_first_job_writes_it_and_later_ones_use_it(tmp_path: Path, spark: Path, ended: int) -> None:
    path = written(find(java(tmp_path), OPTIONS, spark), ended)
    again = find(java(tmp_path), OPTIONS, spark)
    assert again == ClassArchive(path)
    assert f'"-XX:SharedArchiveFile={path}"' in again.options
    again.drop()
    assert [file.name for file in (spark / FOLDER).iterdir()] == [path.name]


def test_another_java_spark_or_option_has_another_one_in_place_of_the_old(
    tmp_path: Path, spark: Path, ended: int
) -> None:
    paths = [written(find(java(tmp_path), OPTIONS, spark), ended)]
    paths.append(written(find(java(tmp_path, "17.0.16"), OPTIONS, spark), ended))
    os.utime(spark / "jars" / "core.jar", (1, 1))
    paths.append(written(find(java(tmp_path, "17.0.16"), OPTIONS, spark), ended))
    paths.append(written(find(java(tmp_path, "17.0.16"), (), spark), ended))
    assert len(set(paths)) == 4
    assert list((spark / FOLDER).iterdir()) == [paths[-1]]


def test_a_job_that_wrote_none_leaves_none(tmp_path: Path, spark: Path, ended: int) -> None:
    found = find(java(tmp_path), OPTIONS, spark)
    assert found is not None and not found.keep(ended)
    assert found.draft is not None
    found.draft.write_bytes(b"half")
    found.drop()
    assert list((spark / FOLDER).iterdir()) == []


def test_where_nothing_can_be_written_jobs_run_without_one(tmp_path: Path, spark: Path) -> None:
    (spark / FOLDER).write_text("no folder")
    assert find(java(tmp_path), OPTIONS, spark) is None
