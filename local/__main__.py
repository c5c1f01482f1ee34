"""`python -m local`: see `local.cli`."""

import signal
import sys

if __name__ == "__main__":
    # SIGTERM is treated as Ctrl-C: the command stops what it started, and prints what continues.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        from local.cli import main
    except ImportError as error:
        print(
            f"the environment {sys.prefix} is incomplete ({error}): run `make clean`, then `make setup`",
            file=sys.stderr,
        )
        sys.exit(2)
    sys.exit(main())
