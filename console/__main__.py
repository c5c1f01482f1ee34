"""`python -m console` shows a stack in the browser, on this machine only.

Exit status: 0 stopped by Ctrl-C, or one runs already, 2 a problem with the arguments or the connection.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
from collections.abc import Sequence

from control import own_link
from control.connection import Connection

UNUSABLE = 2


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
        help="the embedded AWS (default: http://127.0.0.1:4566, or the port in NCF_LOCAL_PORT, unless --profile or "
        "--region is given)",
    )
    top.add_argument(
        "--port",
        type=_port,
        default=None,
        help="port on the loopback interface (0: any free one; default: 8090, or any free one if that is taken)",
    )
    top.add_argument("--write", action="store_true", help="allow changes: each asks first and is kept in the ledger")
    top.add_argument("--token", default=None, help="the token of the link (default: a new one)")
    top.add_argument(
        "--end-with-aws", action="store_true", help="end ten minutes after the embedded AWS has stopped answering"
    )
    top.epilog = (
        "Without --profile and --region the console shows the embedded AWS of `make up` and uses no credentials of "
        "yours. Open the printed link: it has a token, and only a browser that has it gets in. Ctrl-C stops it. "
        "If a console of this stack runs already that may do the same, its link is printed; --port starts another one."
    )
    return top


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 65535, not {text!r}")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the console until Ctrl-C; the exit status."""
    from console import server  # it needs the console's own environment, which the arguments do not

    given = parser().parse_args(arguments)
    on_aws = given.profile is not None or given.region is not None
    endpoint = given.endpoint_url or (
        None if on_aws else f"http://127.0.0.1:{os.environ.get('NCF_LOCAL_PORT', '4566')}"
    )
    connection = Connection(given.stack, given.profile, given.region, endpoint)
    if given.port is None and given.token is None and (link := own_link.of(connection, given.write)):
        print(f"console: {link}\nIt runs already. `make down` stops the one that `make demo` has started.")
        return 0
    # As Ctrl-C does it: otherwise the web server, when it has ended, lets the signal end the process at once.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        server.serve(connection, given.port, given.write, given.token or secrets.token_urlsafe(24), given.end_with_aws)
    except server.PortTaken as error:
        print(error, file=sys.stderr)
        return UNUSABLE
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
