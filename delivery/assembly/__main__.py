"""`python -m delivery.assembly` writes every assembled file; with `--check` it writes nothing and exits with status 1
if one of them is not current."""

from __future__ import annotations

import argparse
import sys

from delivery.assembly import machines


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m delivery.assembly", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with status 1 if a file is not current"
    )
    if parser.parse_args(arguments).check:
        outdated = machines.check()
        for path in outdated:
            print(f"{path} is not current: run `python -m delivery.assembly`", file=sys.stderr)
        return 1 if outdated else 0
    for path in machines.write():
        print(f"{path} written")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except machines.SourceError as error:
        sys.exit(str(error))
