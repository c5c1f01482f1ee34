"""The container's `serve` command."""

import sys

from serving.serve import main

if __name__ == "__main__":
    sys.exit(main())
