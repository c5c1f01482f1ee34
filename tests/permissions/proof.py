"""The end of a deployed stack: no role made a call that its policies do not allow; and at the end of the whole tier,
no role has a permission that nothing used, except those in `unused.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import OF_THEIR_OWN
from tests.permissions.replay import Account, Permission, Replay, recorded
from tests.permissions.unused import REASONS, Reason

if TYPE_CHECKING:
    from tests.e2e.deployed_stack import DeployedStack

TIER = Path(__file__).resolve().parents[1] / "e2e"


def prove(stack: DeployedStack, request: pytest.FixtureRequest) -> None:
    """Replay what a stack has recorded. Fails with what is not allowed, and, when it is the last of the whole tier,
    with what is allowed and never used.
    """
    account = Account.of_stack(stack.name, stack.client).beside(*stack.others)
    assert not account.unknown_conditions(), "tests/permissions/authorization.py does not set these condition keys"
    replay = Replay(account, recorded(stack.calls_file))
    assert not replay.denied, "on AWS these calls would fail (calls):\n" + "\n".join(
        f"{number:6d}  {what}" for what, number in sorted(replay.denied.items())
    )
    if is_whole(request):
        allowed = set(account.permissions())
        stack.calls_file.with_suffix(".used.json").write_text(json.dumps([sorted(allowed), sorted(replay.used)]))
        others = list(run_folder(stack.state).rglob("*-calls.used.json"))
        if len(others) == 1 + len(OF_THEIR_OWN):
            complaints = unused([json.loads(path.read_text("utf-8")) for path in others])
            assert not complaints, "\n".join(complaints)


def is_whole(request: pytest.FixtureRequest) -> bool:
    """True if every file of the tier was collected as a whole, and nothing of it has failed in this process."""
    session, config = request.session, request.config
    collected = {item.path for item in session.items}
    chosen = config.option.keyword or config.option.markexpr or any("::" in argument for argument in config.args)
    return not chosen and not session.testsfailed and set(TIER.glob("test_*.py")) <= collected


def run_folder(folder: Path) -> Path:
    """pytest's folder of this run, which all its processes share."""
    return folder.parents[1] if folder.parent.name.startswith("popen-") else folder.parent


def unused(stacks: Iterable[tuple[list[list[str]], list[list[str]]]]) -> list[str]:
    """Return the complaints about all stacks together: [allowed, used] of each."""
    allowed: set[Permission] = set()
    used: set[Permission] = set()
    for theirs, those in stacks:
        allowed |= {Permission(*one) for one in theirs}
        used |= {Permission(*one) for one in those}
    return complaints_about(allowed - used, REASONS)


def complaints_about(idle: set[Permission], reasons: Iterable[Reason]) -> list[str]:
    """Idle permissions without a reason, and reasons for what is not idle."""
    reasons = list(reasons)
    found = [
        f"nothing used {one}: take it away, or give its reason in tests/permissions/unused.py"
        for one in sorted(idle)
        if not any(reason.fits(one) for reason in reasons)
    ]
    return found + [
        f"tests/permissions/unused.py: all that {reason.statement} {reason.actions} is for was used, or is not allowed"
        for reason in reasons
        if not any(reason.fits(one) for one in idle)
    ]
