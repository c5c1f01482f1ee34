"""`python -m delivery preflight`: the arguments, the checks in order, and the exit status."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError

from delivery.preflight import account, findings, settings
from delivery.preflight.account import Account
from delivery.preflight.findings import Finding, Level
from delivery.preflight.settings import Settings, SettingsError

ROOT = Path(__file__).resolve().parents[2]
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
    command.add_argument("--environment", default="dev", help="environment of samconfig.toml (default: dev)")
    command.add_argument("--profile", help="profile of the AWS CLI")
    command.add_argument("--region", help="region to deploy to (default: the profile's)")
    command.add_argument("--image", metavar="URI", help="ModelImageUri, where samconfig.toml does not have it")
    return top


def look(account_: Account, given: Settings) -> list[Finding]:
    """All findings."""
    return [
        *settings.check(given),
        *account.silence(given),
        *account_.look("the image", lambda: account.image(account_, given)),
        *account_.look("quotas", lambda: account.quotas(account_, given)),
        *account_.look("permissions", lambda: account.permissions(account_, given)),
        *account_.look("the price", lambda: account.cost(account_, given)),
    ]


def main(arguments: Sequence[str]) -> int:
    """Look, print what was found, return the exit status."""
    given = parser().parse_args(arguments)
    try:
        session = boto3.Session(profile_name=given.profile, region_name=given.region)
        if session.region_name is None:
            raise SettingsError("there is no region: give --region")
        if session.get_credentials() is None:
            raise SettingsError("there are no credentials: sign in with the AWS CLI, or give --profile")
        wanted = settings.read(ROOT, given.environment)
        if given.image:
            wanted = Settings(
                wanted.environment, wanted.stack, {**wanted.values, "ModelImageUri": given.image}, wanted.template
            )
        found = look(Account(session.client, session.region_name), wanted)
    except (SettingsError, BotoCoreError) as error:
        print(error, file=sys.stderr)
        return UNUSABLE
    print(findings.text(found))
    faults = sum(finding.level is Level.FAULT for finding in found)
    print(
        f"\n{faults} of {len(found)} findings stop the deployment."
        if faults
        else "\nNothing found stops the deployment."
    )
    return FAULTY if faults else FINE
