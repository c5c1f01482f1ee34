"""Runs one handler as on AWS Lambda: with the built artefact, its layers and boto3, and nothing else of this machine's
Python.

Started by the Lambda interpreter as `python -I -S -B isolated.py`; reads from standard input `{"paths", "handler",
"event"}` and writes as its
last line of standard output `{"outcome": "answered"|"raised", "stage": "import"|"call", "type", "module",
"message", "value", "python"}`.
"""

import importlib
import json
import socket
import sys
from typing import Any


class Context:
    """The context that Lambda passes to a handler with the event."""

    function_name = "ncf-function"
    function_version = "$LATEST"
    invoked_function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:ncf-function"
    memory_limit_in_mb = 512
    aws_request_id = "5b6f0e10-0000-4000-8000-000000000000"
    log_group_name = "/aws/lambda/ncf-function"
    log_stream_name = "2026/11/23/[$LATEST]0"

    @staticmethod
    def get_remaining_time_in_millis() -> Any:
        """Remaining milliseconds."""
        return 60_000


def stay_on_this_machine() -> None:
    """Refuses every connection to an address other than loopback, with an error."""
    connect = socket.socket.connect

    def checked(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise SystemError(f"the function tried to leave this machine: {address}")
        return connect(self, address)

    setattr(socket.socket, "connect", checked)  # noqa: B010 (a class of C is not typed for it)


def report(**fields: Any) -> None:
    """Print the result as the last line."""
    python = "{}.{}".format(*sys.version_info[:2])
    print("\n" + json.dumps({**fields, "python": python}), flush=True)


def main() -> None:
    """Import the handler, call it once, print the result."""
    task = json.load(sys.stdin)
    sys.path[:0] = task["paths"]
    stay_on_this_machine()
    stage = "import"
    try:
        module_name, _, name = task["handler"].rpartition(".")
        handler = getattr(importlib.import_module(module_name), name)
        stage = "call"
        value = handler(task["event"], Context())
        json.dumps(value)
    except BaseException as error:
        kind = type(error)
        report(outcome="raised", stage=stage, type=kind.__name__, module=kind.__module__, message=str(error)[:500])
    else:
        report(outcome="answered", stage=stage, value=value)


main()
