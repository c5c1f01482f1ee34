"""No packet leaves this machine: names and addresses other than loopback are refused.

An audit hook cannot be removed and sees every socket of the interpreter, whichever library opened it. The same source
is put in front of Lambda code (``lambda_bootstrap``), so that a function with a wrong endpoint fails here as loudly
as it should. Standard library only; runs on every Python that Lambda offers.
"""

import ipaddress
import os
import sys
from typing import Any


class LeavesLoopback(OSError):
    """Something tried to reach another machine; the message says which."""


def _is_loopback(host: object) -> bool:
    if host is None:
        return True
    text = host.decode() if isinstance(host, bytes) else str(host)
    text = text.partition("%")[0].rstrip(".").lower()
    if text in ("", "localhost") or text.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback or address.is_unspecified


def _refuse(host: object) -> None:
    raise LeavesLoopback(
        f"the embedded AWS reaches this machine only, and {host!r} was asked for: "
        "check endpoint URLs (AWS_ENDPOINT_URL points at the emulator) and proxies"
    )


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        if isinstance(address, tuple) and not _is_loopback(address[0]):
            _refuse(address[0])
    elif event == "socket.getaddrinfo":
        if not _is_loopback(arguments[0]) and _host_is_name_of_another(arguments[0]):
            _refuse(arguments[0])
    elif event == "socket.gethostbyname" and not _is_loopback(arguments[0]):
        _refuse(arguments[0])


def _host_is_name_of_another(host: object) -> bool:
    """A name lookup is itself a packet; this machine's own name, which servers look up when they start, is answered
    without one."""
    return str(host) != os.uname().nodename if hasattr(os, "uname") else True


def install() -> None:
    """Refuses every connection of this process to another machine, until the process ends."""
    sys.addaudithook(_hook)
