"""`python -m delivery preflight` looks at an AWS account before anything is deployed to it."""

from __future__ import annotations

import sys

from delivery.preflight import command

if __name__ == "__main__":
    sys.exit(command.main(sys.argv[1:]))
