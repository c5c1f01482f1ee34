"""Ends the host's children when the host has ended. Run as ``python -I -S keeper.py``; standard library only.

The host writes ``+<pgid>`` and ``-<pgid>`` lines to this process's standard input for each process group that starts
and ends. End of file means that the host has ended (also by ``kill -9``): then every group still listed gets SIGTERM,
and SIGKILL 1 s later. A pipe works on every system; PR_SET_PDEATHSIG exists only on Linux and follows the starting
thread, not the process.
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
