"""`python -m delivery preflight` and `python -m delivery teardown`: before a stack, and after it."""

from __future__ import annotations

import sys

from delivery import command

if __name__ == "__main__":
    sys.exit(command.main(sys.argv[1:]))
