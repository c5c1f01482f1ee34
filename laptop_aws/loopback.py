"""Keeps all packets on this machine: refuses names and addresses other than loopback. An audit hook cannot be removed
and sees every socket of the interpreter, from any library. The same source runs before Lambda code
(``lambda_bootstrap``), so that a function with a wrong endpoint fails clearly. Standard library only; runs on every
Python that Lambda supports.
"""

import ipaddress
import os
import sys
from typing import Any


class LeavesLoopback(OSError):
    """A connection to another machine was refused; the message names the machine."""


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
        f"the embedded AWS connects only to this machine, not to {host!r}: "
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
    """True if looking up the name would send a packet. Servers look up this machine's own name when they start, which
    sends none."""
    return str(host) != os.uname().nodename if hasattr(os, "uname") else True


def install() -> None:
    """Refuses every connection of this process to another machine, until the process ends."""
    sys.addaudithook(_hook)
