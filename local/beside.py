"""The console beside the embedded AWS: `demo` starts it in the background and prints its link, and `down` stops it.

It only reads. Without it a demo is as good as with it: what goes wrong here is said in a line and ends nothing.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from pathlib import Path

from control import own_link
from laptop_aws import identity
from laptop_aws.identity import Running
from local import host
from local.console import Show
from local.project import STACK, Project

RECORD = "console.json"
SET_UP_SECONDS = 600.0
START_SECONDS = 60.0
INSTEAD = "`make console` starts it"


class NotStarted(Exception):
    """The console could not be started; the message says why."""


def link(project: Project, show: Show) -> str | None:
    """The link of a console of this stack: of one that runs, else of a new one. None, and a line, without one."""
    if found := own_link.of(project.connection):
        return found
    try:
        if not (project.root / ".envs" / "console" / ".ready").exists():
            with show.stage("set up the console in the browser, once (140 MB)"):
                _set_up(project)
        with show.stage("start the console in the browser"):
            return _start(project)
    except (NotStarted, OSError) as error:
        show.warn(f"there is no console: {error}; {INSTEAD}")
    except KeyboardInterrupt:
        show.warn(f"stopped: the console does not run; {INSTEAD}")
    return None


def _python(project: Project) -> Path:
    return project.root / ".envs" / "console" / "bin" / "python"


def _set_up(project: Project) -> None:
    """Let `make` build its environment, as `make console` does. Raises NotStarted, and OSError without a `make`."""
    environment = {name: value for name, value in project.environment().items() if name not in ("MAKEFLAGS", "MFLAGS")}
    try:
        done = subprocess.run(
            ["make", "--no-print-directory", ".envs/console/.ready"],
            cwd=project.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SET_UP_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NotStarted(f"its set-up took longer than {SET_UP_SECONDS:.0f} s") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["without a message"])[-1]
        raise NotStarted(f"its set-up failed ({last})")


def _start(project: Project) -> str:
    """Start a console as a process of its own and wait for its link. Raises NotStarted; then none runs."""
    _end(project)
    log = project.logs / "console.log"
    command = [
        str(_python(project)),
        "-m",
        "console",
        "--stack",
        STACK,
        "--endpoint-url",
        project.endpoint,
        "--end-with-aws",
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=project.root,
            env=project.environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        project.write_state(RECORD, {"pid": process.pid, "started": identity.start_of(process.pid)})
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            if found := own_link.of(project.connection):
                return found
            time.sleep(host.POLL_SECONDS)
        why = "it did not answer" if process.poll() is None else f"it ended with status {process.returncode}"
        raise NotStarted(f"{why}, see {log}")
    except BaseException:
        process.terminate()
        process.wait(host.STOP_SECONDS)
        raise


def stop(project: Project, show: Show) -> None:
    """Stop the console that `link` has started, if it runs."""
    if _end(project):
        show.good("the console in the browser is stopped")


def _end(project: Project) -> bool:
    """End the process of the record, unless its number is another process's now. True if one was running."""
    record = project.read_state(RECORD)
    with contextlib.suppress(OSError):
        (project.state / RECORD).unlink()
    pid, started = record.get("pid"), record.get("started")
    if not isinstance(pid, int) or not isinstance(started, str):
        return False
    running = Running(pid, 0, started)
    if not running.is_alive:
        return False
    with contextlib.suppress(PermissionError):
        host.end(running)
    return True
