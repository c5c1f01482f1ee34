"""Ends the host's children when the host is gone. Run as ``python -I -S keeper.py``; standard library only.

The host writes ``+<pgid>`` and ``-<pgid>`` lines to this process's standard input for each process group it starts
and sees end. End of file means that the host has ended, however it ended (``kill -9`` too): then every group still
listed gets SIGTERM, and SIGKILL a second later. A pipe tells the end of the host on every system; PR_SET_PDEATHSIG is
Linux's alone and follows the starting thread, not the process.
"""

import contextlib
import os
import signal
import sys
import time

GRACE_SECONDS = 1.0


def signal_groups(groups: set[int], number: int) -> set[int]:
    """Signals each group; returns those that still had a member."""
    alive = set()
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)
            alive.add(group)
    return alive


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        sign, group = line[0], int(line[1:])
        (groups.add if sign == "+" else groups.discard)(group)
    alive = signal_groups(groups, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while alive and time.monotonic() < deadline:
        time.sleep(0.05)
        alive = signal_groups(alive, 0)
    signal_groups(alive, signal.SIGKILL)


if __name__ == "__main__":
    main()
