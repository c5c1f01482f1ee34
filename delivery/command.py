"""`python -m delivery`: look at an account before a deployment, and remove a stack with all that costs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from delivery.preflight import account, findings, settings
from delivery.preflight.account import Account
from delivery.preflight.findings import Finding, Level
from delivery.preflight.settings import Settings, SettingsError
from delivery.teardown import NoStack, Teardown

ROOT = Path(__file__).resolve().parents[1]
FINE, FAULTY, UNUSABLE = 0, 1, 2


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    top = argparse.ArgumentParser(prog="python -m delivery")
    commands = top.add_subparsers(dest="command", required=True, metavar="command")
    command = commands.add_parser(
        "preflight",
        help="look at an account before anything is deployed to it; nothing is changed",
        epilog="Exit status: 0 nothing stops the deployment, 1 something does, 2 the arguments or credentials.",
    )
    command.add_argument("--image", metavar="URI", help="look at this image, not at that of Parameter Store")
    _add_account(command)
    command = commands.add_parser(
        "teardown", help="remove a stack with the endpoint and the models that its runs made; data and ledger are kept"
    )
    command.add_argument("--yes", action="store_true", help="remove; without it, only say what would be removed")
    _add_account(command)
    return top


def _add_account(command: argparse.ArgumentParser) -> None:
    command.add_argument("--environment", default="dev", help="environment of samconfig.toml (default: dev)")
    command.add_argument("--profile", help="profile of the AWS CLI")
    command.add_argument("--region", help="region of the stack (default: the profile's)")


def look(account_: Account, given: Settings, image: str | None = None) -> list[Finding]:
    """All findings; `image` instead of the one that Parameter Store has."""
    return [
        *settings.check(given),
        *account.silence(given),
        *account_.look("the image", lambda: account.image(account_, given, image)),
        *account_.look("quotas", lambda: account.quotas(account_, given)),
        *account_.look("permissions", lambda: account.permissions(account_, given)),
        *account_.look("the price", lambda: account.cost(account_, given)),
    ]


def main(arguments: Sequence[str]) -> int:
    """Run one command; the exit status."""
    given = parser().parse_args(arguments)
    try:
        session = boto3.Session(profile_name=given.profile, region_name=given.region)
        if session.region_name is None:
            raise SettingsError("there is no region: give --region")
        if session.get_credentials() is None:
            raise SettingsError("there are no credentials: sign in with the AWS CLI, or give --profile")
        wanted = settings.read(ROOT, given.environment)
        if given.command == "teardown":
            return _teardown(session, wanted.stack, given.yes)
        return _preflight(look(Account(session.client, session.region_name), wanted, given.image))
    except (SettingsError, NoStack, BotoCoreError, ClientError) as error:
        print(error, file=sys.stderr)
        return UNUSABLE


def _preflight(found: list[Finding]) -> int:
    print(findings.text(found))
    faults = sum(finding.level is Level.FAULT for finding in found)
    if faults:
        print(f"\n{faults} of {len(found)} findings stop the deployment.")
        return FAULTY
    print("\nNothing found stops the deployment.")
    return FINE


def _teardown(session: boto3.Session, stack: str, is_meant: bool) -> int:
    teardown = Teardown.of(session.client, stack)
    if is_meant:
        teardown.remove(lambda step: print(step, flush=True))
        return FINE
    print("\n".join(teardown.plan()))
    print("\nNothing was removed. With --yes, it is.")
    return FINE
