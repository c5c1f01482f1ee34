"""Short forms of run ids: `latest`, the beginning of an id, or the digest in it."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.names import RUN_ID

LATEST = "latest"
MOST_SHOWN = 10
"""Maximum candidates in a message."""


class NoSuchRun(ValueError):
    """No run, or more than one, has the given name; the message lists those that it may be."""


def resolve(text: str, run_ids: Sequence[str]) -> str:
    """Return the id of the run that `text` names among `run_ids` (the newest first).

    A whole id is returned even if it is not among them: they may be only the last ones. Raises NoSuchRun.
    """
    name = text.strip()
    if RUN_ID.fullmatch(name):
        return name
    if not run_ids:
        raise NoSuchRun("There is no run yet: `make demo` starts one.")
    if name == LATEST:
        return run_ids[0]
    found = [run_id for run_id in run_ids if _is_named(name, run_id)] if name else []
    if len(found) == 1:
        return found[0]
    shown = found or list(run_ids)
    listed = "\n".join(f"  {run_id}" for run_id in shown[:MOST_SHOWN])
    more = f"\n  and {len(shown) - MOST_SHOWN} more" if len(shown) > MOST_SHOWN else ""
    if found:
        raise NoSuchRun(f"{name} names {len(found)} runs; write more of the one that you mean:\n{listed}{more}")
    raise NoSuchRun(f"No run is named {name!r}. The last ones are:\n{listed}{more}")


def _is_named(name: str, run_id: str) -> bool:
    """True if `name` begins the id, its digest (`11946262-r1` too), or its date and time without the v."""
    digest = run_id.partition("-")[2]
    return any(part.startswith(name.lower()) for part in (run_id, run_id.removeprefix("v"), digest))
