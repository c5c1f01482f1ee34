"""Starts, finds and stops the embedded AWS as a background process, and finds the owner of its port."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from contracts import documents
from laptop_aws import identity, java
from laptop_aws.config import HOST
from laptop_aws.identity import Running
from local.console import Show
from local.project import Problem, Project

START_SECONDS = 60.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.1
HEALTH_PATH = "/_ministack/health"
MODULE = "laptop_aws"


def command_of(pid: int) -> str:
    """The command line of a process, or an empty string when there is none (or it is a zombie)."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            return ""
    result = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return result.stdout.strip()


def find(project: Project) -> Running | None:
    """The emulator of this project's state folder, when one is alive."""
    return identity.running_on(project.state)


def is_listening(port: int) -> bool:
    """True if a process accepts connections on the port of the loopback interface."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0


def is_healthy(port: int) -> bool:
    """True if an embedded AWS answers on the port."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{HOST}:{port}{HEALTH_PATH}", timeout=1.0) as response:
            return isinstance(documents.read_object(response.read(), "the health").get("services"), dict)
    except (OSError, urllib.error.URLError, ValueError):
        return False


def port_owner(port: int) -> int | None:
    """The pid of the process that listens on the port, or None if the system does not tell."""
    if Path("/proc/net/tcp").exists():
        return _port_owner_from_proc(port)
    if lsof := shutil.which("lsof"):
        command = [lsof, "-nP", "-t", f"-iTCP:{port}", "-sTCP:LISTEN"]
        found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
        return int(found[0]) if found else None
    return None


def _port_owner_from_proc(port: int) -> int | None:
    sockets = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) == port:
                    sockets.add(f"socket:[{fields[9]}]")
    if not sockets:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(descriptor.readlink()) in sockets:
                        return int(process.name)
    return None


def port_in_use_message(port: int, pid: int | None, command: str, is_emulator: bool) -> str:
    """The message for a port that is taken by a process other than this project's emulator."""
    who = "another embedded AWS (not of this folder)" if is_emulator else "another program"
    named = f", pid {pid}" if pid else ""
    running = f" ({command[:120]})" if command else ""
    return (
        f"port {port} on {HOST} is in use by {who}{named}{running}. "
        f"Stop it, or choose another port: NCF_LOCAL_PORT={port + 1 if port < 65535 else port - 1}"
    )


def check_port(project: Project) -> None:
    """Raises Problem if the port is taken by a process other than this project's emulator."""
    if not is_listening(project.port):
        return
    pid = port_owner(project.port)
    command = command_of(pid) if pid else ""
    raise Problem(port_in_use_message(project.port, pid, command, is_healthy(project.port)))


def check_java(project: Project) -> None:
    """Raises Problem if there is no Java for Spark."""
    try:
        java.find(project.state)
    except java.NoJava as error:
        raise Problem(str(error)) from error


def check_environments(project: Project) -> None:
    """Raises Problem if an environment that `make setup` builds is missing."""
    missing = [path for path in (".envs/sam/bin/sam", ".envs/lambda/bin/python") if not (project.root / path).exists()]
    if missing:
        raise Problem(f"{' and '.join(missing)} not found in {project.root}: run `make setup` first")


def start(project: Project, show: Show) -> bool:
    """Start this project's emulator if it does not run; True if this call started it.

    Raises Problem when it cannot be started: the port is taken, the environment is incomplete, or the process ended.
    """
    running = find(project)
    if running and running.port != project.port:
        raise Problem(
            f"the embedded AWS of {project.state} already runs on port {running.port} (pid {running.pid}). "
            f"Use that one (NCF_LOCAL_PORT={running.port}), or stop it first: NCF_LOCAL_PORT={running.port} make down"
        )
    if running and is_healthy(running.port):
        show.good(f"embedded AWS is up on {project.endpoint} (pid {running.pid})")
        return False
    if running is None:
        check_port(project)
    project.make_state_folder()
    with show.stage(f"start the embedded AWS on {project.endpoint}") as note:
        process = None if running else _spawn(project)
        try:
            pid = _wait_until_healthy(project, process)
        except BaseException:
            if process is not None and (started := identity.start_of(process.pid)):
                end(Running(process.pid, project.port, started), process)
            raise
        note(f"pid {pid}")
    return process is not None


def _spawn(project: Project) -> subprocess.Popen[bytes]:
    output = project.logs / "emulator.out"
    with output.open("wb") as file:
        return subprocess.Popen(
            [project.python, "-m", MODULE],
            cwd=project.root,
            env=project.emulator_environment(),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _wait_until_healthy(project: Project, process: subprocess.Popen[bytes] | None) -> int:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        running = find(project)
        if running and is_healthy(project.port):
            return running.pid
        if process is not None and process.poll() is not None:
            raise Problem(f"the embedded AWS exited at once with status {process.returncode}:\n{last_output(project)}")
        time.sleep(POLL_SECONDS)
    raise Problem(
        f"the embedded AWS did not answer on {project.endpoint} within {START_SECONDS:.0f} s; its last lines:\n"
        f"{last_output(project)}"
    )


def last_output(project: Project, lines: int = 12) -> str:
    """The last lines of the emulator's output or, if it is empty, of its log; indented."""
    for path in (project.logs / "emulator.out", project.emulator_log):
        with contextlib.suppress(OSError):
            if text := path.read_text("utf-8", errors="replace").splitlines()[-lines:]:
                return "\n".join(f"  {line}" for line in text)
    return f"  (nothing in {project.logs})"


def stop(project: Project, show: Show) -> bool:
    """Stop this project's emulator and its children; False if none was running.

    Raises Problem when the process could not be ended.
    """
    running = find(project)
    if running is None:
        return False
    with show.stage(f"stop the embedded AWS (pid {running.pid})"):
        try:
            end(running)
        except PermissionError:
            raise Problem(
                f"the embedded AWS of {project.state} (pid {running.pid}) was started by {owner_of(running.pid)}: "
                "stop it as that user"
            ) from None
        if running.is_alive:
            raise Problem(f"pid {running.pid} did not end; see {project.emulator_log}")
        with contextlib.suppress(OSError):
            project.emulator_file.unlink()
    return True


def owner_of(pid: int) -> str:
    """The owner of the process, as text."""
    try:
        return f"the user {Path(f'/proc/{pid}').owner()}"
    except (OSError, KeyError):
        return "another user"


def end(running: Running, process: subprocess.Popen[bytes] | None = None) -> None:
    """Send SIGTERM, then SIGKILL if the process still runs. Raises PermissionError for another user's process."""
    for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, 5.0)):
        if not running.is_alive:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(running.pid, number)
        deadline = time.monotonic() + seconds
        while running.is_alive and time.monotonic() < deadline:
            if process is not None:
                process.poll()
            time.sleep(POLL_SECONDS)
