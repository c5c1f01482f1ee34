"""`python -m console` shows a stack in the browser, on this machine only.

Exit status: 0 stopped by Ctrl-C, 2 a problem with the arguments or the connection.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Sequence

from console import server
from control.connection import Connection


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    top = argparse.ArgumentParser(prog="python -m console", description=(__doc__ or "").partition("\n\n")[0])
    top.add_argument("--stack", default="ncf-local", help="name of the stack (default: ncf-local)")
    top.add_argument(
        "--profile", help="profile of the AWS CLI; with it, or with --region, the console shows AWS itself"
    )
    top.add_argument("--region", help="region of the stack (default: the profile's)")
    top.add_argument(
        "--endpoint-url",
        default=None,
        help="the embedded AWS (default: http://127.0.0.1:4566, unless --profile or --region is given)",
    )
    top.add_argument("--port", type=int, default=8090, help="port on the loopback interface (default: 8090)")
    top.add_argument("--write", action="store_true", help="allow changes: each asks first and is kept in the ledger")
    top.add_argument("--token", default=None, help="the token of the link (default: a new one)")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the console until Ctrl-C; the exit status."""
    given = parser().parse_args(arguments)
    on_aws = given.profile is not None or given.region is not None
    endpoint = given.endpoint_url or (None if on_aws else "http://127.0.0.1:4566")
    connection = Connection(given.stack, given.profile, given.region, endpoint)
    server.serve(connection, given.port, given.write, given.token or secrets.token_urlsafe(24))
    return 0


if __name__ == "__main__":
    sys.exit(main())
