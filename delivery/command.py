"""`python -m delivery`: what stands between a commit and an account, each command a make target.

Exit status: 0 done, 1 something stops the deployment or did not hold, 2 the arguments or credentials.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from control.connection import Connection, NotReady
from delivery.chain import base, stack
from delivery.chain.image import Images
from delivery.chain.release import release
from delivery.chain.smoke import Smoke
from delivery.chain.stack import Chain, ChainError
from delivery.preflight import account, findings, settings
from delivery.preflight.account import Account, Types
from delivery.preflight.findings import Finding, Level
from delivery.preflight.settings import Settings, SettingsError
from delivery.teardown import NoStack, Teardown

ROOT = Path(__file__).resolve().parents[1]
FINE, FAULTY, UNUSABLE = 0, 1, 2
WITH_CUSTOMERS = "prod"


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
        "image", help="the image of this commit: found, or built by CodeBuild; its name goes to the SSM parameter"
    )
    command.add_argument("--here", action="store_true", help="build with the Docker of this machine")
    _add_account(command)
    command = commands.add_parser(
        "base", help="write the digest of the base image of now into the Dockerfile, for all builds from then on"
    )
    _add_account(command)
    command = commands.add_parser("release", help="preflight, sam build and sam deploy of one environment")
    _add_account(command)
    command = commands.add_parser(
        "smoke", help="drop a small shop, wait for its run, ask recommendations; in prod, only whether the API answers"
    )
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
    command.add_argument("--chain", default=stack.STACK, help=f"stack of the image build (default: {stack.STACK})")


def look(account_: Account, given: Settings, image: str | None = None, role: str | None = None) -> list[Finding]:
    """All findings; `image` instead of the one that Parameter Store has. `role` makes the resources; without one, the
    caller does.
    """
    types: Types = {}

    def region() -> list[Finding]:
        types.update(account.types_of(account_, given))
        return account.region(account_, given, types)

    return [
        *settings.check(given, account_.region),
        *account.silence(given),
        *account_.look("the image", lambda: account.image(account_, given, image)),
        *account_.look("the region", region),
        *account_.look("quotas", lambda: account.quotas(account_, given)),
        *account_.look("permissions", lambda: account.permissions(account_, given, types, role)),
        *account_.look("the price", lambda: account.cost(account_, given)),
    ]


def main(arguments: Sequence[str]) -> int:
    """Run one command; the exit status."""
    given = parser().parse_args(arguments)
    try:
        # boto3 itself reads AWS_DEFAULT_REGION only; pipelines and Lambda set AWS_REGION.
        region = given.region or os.environ.get("AWS_REGION")
        session = boto3.Session(profile_name=given.profile, region_name=region)
        if session.region_name is None:
            raise SettingsError("there is no region: give --region")
        if session.get_credentials() is None:
            raise SettingsError("there are no credentials: sign in with the AWS CLI, or give --profile")
        return COMMANDS[given.command](given, session, settings.read(ROOT, given.environment))
    except ChainError as error:
        print(error, file=sys.stderr)
        return FAULTY
    except (SettingsError, NoStack, NotReady, BotoCoreError, ClientError) as error:
        print(error, file=sys.stderr)
        return UNUSABLE


def _preflight(given: argparse.Namespace, session: boto3.Session, wanted: Settings) -> int:
    chain = Chain.find(session.client, given.chain)
    role = chain.execution_role if chain else None
    found = look(Account(session.client, session.region_name), wanted, getattr(given, "image", None), role)
    print(findings.text(found))
    faults = sum(finding.level is Level.FAULT for finding in found)
    if faults:
        print(f"\n{faults} of {len(found)} findings stop the deployment.")
        return FAULTY
    unknown = sum(finding.level is Level.UNKNOWN for finding in found)
    print(
        f"\n{unknown} of {len(found)} checks could not be made; the others found nothing that stops the deployment."
        if unknown
        else "\nNothing found stops the deployment."
    )
    return FINE


def _image(given: argparse.Namespace, session: boto3.Session, wanted: Settings) -> int:
    images = Images(session.client, session.region_name, Chain.of(session.client, given.chain), _say)
    if given.here:
        images.build_here(ROOT)
    else:
        images.build(ROOT)
    return FINE


def _base(given: argparse.Namespace, session: boto3.Session, wanted: Settings) -> int:
    _say(f"{base.DOCKERFILE} begins from {base.pin(ROOT, session.client)}")
    return FINE


def _release(given: argparse.Namespace, session: boto3.Session, wanted: Settings) -> int:
    chain = Chain.find(session.client, given.chain)
    if chain is not None:
        # Another commit may have named its image since; what staging ran is what prod gets.
        Images(session.client, session.region_name, chain, _say).name_again(ROOT)
    status = _preflight(given, session, wanted)
    if status == FINE:
        release(ROOT, given.environment, session.region_name, chain)
    return status


def _smoke(given: argparse.Namespace, session: boto3.Session, wanted: Settings) -> int:
    connection = Connection(wanted.stack, given.profile, session.region_name, os.environ.get("AWS_ENDPOINT_URL"))
    smoke = Smoke(connection, _say)
    if given.environment == WITH_CUSTOMERS:
        smoke.answers()
    else:
        smoke.run()
    return FINE


def _teardown(given: argparse.Namespace, session: boto3.Session, wanted: Settings) -> int:
    teardown = Teardown.of(session.client, wanted.stack)
    if given.yes:
        teardown.remove(_say)
        return FINE
    print("\n".join(teardown.plan()))
    print("\nNothing was removed. With --yes, it is.")
    return FINE


def _say(line: str) -> None:
    print(line, flush=True)


COMMANDS: dict[str, Callable[[argparse.Namespace, boto3.Session, Settings], int]] = {
    "preflight": _preflight,
    "image": _image,
    "base": _base,
    "release": _release,
    "smoke": _smoke,
    "teardown": _teardown,
}
