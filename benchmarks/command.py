"""Common code of the benchmarks' commands."""

import os
import platform
import signal
import sys
from types import FrameType

import llvmlite.binding
from rich.console import Console


def begin(width: int | None = None) -> Console:
    """Return a console, after it has printed the machine. The processor's name is LLVM's, which has the generation.

    After this call, SIGTERM and SIGINT end the process by SystemExit: servers are stopped, and no traceback is printed.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    console = Console(width=width)
    processor = llvmlite.binding.get_host_cpu_name()
    console.print(f"{platform.machine()} {processor}, {os.cpu_count()} cores, Python {platform.python_version()}")
    return console


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)
