"""`python -m local`: see `local.cli`."""

import signal
import sys

if __name__ == "__main__":
    # A request to end is treated as Ctrl-C: what was started is stopped, and the person is told what goes on.
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
