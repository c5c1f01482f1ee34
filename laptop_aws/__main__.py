"""``python -m laptop_aws``: the embedded AWS in the foreground, until SIGTERM or Ctrl-C.

``python -m laptop_aws corrections`` lists where ministack differs from AWS and how it was corrected; the exit status is
1 when a correction does not fit the installed ministack.
"""

import argparse
import sys


def list_corrections() -> int:
    """Prints every correction, and its problem if it does not fit; returns the exit status."""
    from laptop_aws import corrections

    found = corrections.corrections_of()
    for one in found:
        print(f"{one.target}  {one.source}")
        print(f"    AWS        {one.aws}\n    ministack  {one.ministack}")
        print(f"    here       {one.replacement.__module__}.{one.replacement.__name__}\n    test       {one.test}")
        if problem := one.problem():
            print(f"    PROBLEM    {problem}")
    wrong = sum(one.problem() is not None for one in found)
    print(f"{len(found)} corrections" + (f", {wrong} do not fit: see laptop_aws/docs/upgrading.md" if wrong else ""))
    return 1 if wrong else 0


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    top = argparse.ArgumentParser(prog="python -m laptop_aws", description="Runs the embedded AWS.")
    top.add_argument("command", nargs="?", choices=["corrections"], help="list the corrections of ministack")
    return top


if __name__ == "__main__":
    if parser().parse_args().command:
        sys.exit(list_corrections())
    from laptop_aws.host import main

    main()
