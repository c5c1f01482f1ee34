"""`python -m local`: see `local.cli`."""

import signal
import sys

from local.cli import main

if __name__ == "__main__":
    # Being told to end is Ctrl-C: what was started is stopped, and the person is told what goes on.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    sys.exit(main())
