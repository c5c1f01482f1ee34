"""The chain's stack on an embedded AWS of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from delivery.chain import base
from delivery.chain.stack import Chain
from laptop_aws.tests.conformance.hosting import Host

ROOT = Path(__file__).resolve().parents[2]
STAND_IN = Path(__file__).resolve().parent / "stand_in"


@dataclass(frozen=True)
class Account:
    """An account with the chain in it, as a machine with credentials sees it."""

    host: Host
    folder: Path
    base_digest: str
    """That of the base image, which AWS's own account has."""

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a shell there; its docker is the stand-in, its python the one of these tests."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return {
            **kept,
            "PATH": f"{STAND_IN}:{Path(sys.executable).parent}:{kept['PATH']}",
            "AWS_ENDPOINT_URL": self.host.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "000000000000",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "STAND_IN_LOG": str(self.folder / "docker.log"),
            "CHAIN_STACK": "ncf-chain",
        }

    def session(self) -> boto3.Session:
        return boto3.Session(aws_access_key_id="000000000000", aws_secret_access_key="local", region_name="us-east-1")

    def clients(self, service: Any, **settings: Any) -> Any:
        return self.session().client(service, endpoint_url=self.host.endpoint, **settings)

    @property
    def chain(self) -> Chain:
        return Chain.of(self.clients, "ncf-chain")

    def delivery(self, folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m delivery …` in a folder."""
        return subprocess.run(
            [sys.executable, "-m", "delivery", *arguments],
            cwd=folder,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            check=False,
        )


def base_image(host: Host) -> str:
    """Put a base image where the Dockerfile's is; its digest. The embedded AWS has one registry for all accounts."""
    repository, _, tag = base.named(ROOT).partition("@")[0].partition("/")[2].partition(":")
    ecr = host.client("ecr")
    ecr.create_repository(repositoryName=repository)
    manifest = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json"})
    image = ecr.put_image(repositoryName=repository, imageTag=tag, imageManifest=manifest)["image"]
    return str(image["imageId"]["imageDigest"])


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """The chain is deployed as the docs say: by CloudFormation, from the file."""
    folder = tmp_path_factory.mktemp("account")
    host = Host(folder / "local").start()
    try:
        cloudformation = host.client("cloudformation")
        cloudformation.create_stack(
            StackName="ncf-chain",
            TemplateBody=(ROOT / "delivery" / "chain" / "template.yaml").read_text("utf-8"),
            Capabilities=["CAPABILITY_IAM"],
        )
        cloudformation.get_waiter("stack_create_complete").wait(
            StackName="ncf-chain", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
        yield Account(host, folder, base_image(host))
    finally:
        host.stop()


@pytest.fixture
def commit(tmp_path: Path) -> Path:
    """A clone of the working tree whose one commit is these files, so that a test may change them."""
    folder = tmp_path / "commit"
    folder.mkdir()
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    files = [name for name in listed.decode().split("\0") if name and (ROOT / name).exists()]
    subprocess.run(
        ["tar", "--create", "--file", str(tmp_path / "tree.tar"), "--null", "--files-from", "-"],
        input="\0".join(files).encode(),
        cwd=ROOT,
        check=True,
    )
    subprocess.run(["tar", "--extract", "--file", str(tmp_path / "tree.tar")], cwd=folder, check=True)
    for arguments in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "All files"]):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *identity, *arguments], cwd=folder, check=True)
    return folder
