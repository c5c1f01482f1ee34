"""The image's way: from a commit, through CodeBuild's phases as the file has them, to the parameter that names it.

Docker itself is a stand-in (stand_in/docker), and so is CodeBuild's machine: the embedded AWS ends a build at once and
runs none of its phases, so the tests run them. All else is real: the stack, the zip file in S3, ECR, SSM.
"""

from __future__ import annotations

import io
import itertools
import json
import subprocess
import zipfile
from pathlib import Path

import pytest

from delivery.chain import base, image
from delivery.chain.image import Images
from delivery.chain.stack import ChainError
from tests.pipelines import buildspec
from tests.pipelines.conftest import ROOT, Account

pytestmark = pytest.mark.slow
BASE = base.named(ROOT).partition("@")[0]
OCI_INDEX = "application/vnd.oci.image.index.v1+json"


def named(account: Account) -> str:
    """The image that a deployment would take."""
    return str(account.host.client("ssm").get_parameter(Name="/ncf/model-image")["Parameter"]["Value"])


def change(commit: Path, text: str) -> None:
    """Change a file of the image, and commit it."""
    (commit / "serving" / "__init__.py").write_text(f'"""{text}"""\n', "utf-8")
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, "commit", "--quiet", "--all", "--message", text], cwd=commit, check=True)


def source_of(account: Account, folder: Path) -> Path:
    """The sources that CodeBuild would read, unpacked."""
    body = account.host.client("s3").get_object(Bucket=account.chain.bucket, Key=image.SOURCES_KEY)["Body"].read()
    zipfile.ZipFile(io.BytesIO(body)).extractall(folder)
    return folder


def test_a_commit_becomes_an_image_that_the_parameter_names(account: Account, commit: Path, tmp_path: Path) -> None:
    change(commit, "a commit of its own")
    started = account.delivery(commit, "image")
    assert started.returncode == 1, started.stderr  # the emulator's build does nothing, and that is noticed
    assert "started the build ncf-chain-image:" in started.stdout
    assert "succeeded, and yet" in started.stderr

    source = source_of(account, tmp_path / "source")
    built = buildspec.run(source / "delivery" / "chain" / "buildspec.yml", source, account.environment)
    assert built.returncode == 0, built.stdout + built.stderr
    tag = image.content_tag(commit)
    uri = Images(account.clients, "us-east-1", account.chain, print).find(tag)
    assert uri is not None and named(account) == uri

    again = account.delivery(commit, "image")
    assert again.returncode == 0, again.stderr
    assert f"the image of this content is there already: tag {tag}" in again.stdout


def test_an_image_that_sagemaker_refuses_is_never_named(account: Account, commit: Path) -> None:
    change(commit, "a commit with an index")
    before = account.host.client("ssm").describe_parameters()["Parameters"]
    refused = account.delivery(commit, "image", "--here", STAND_IN_MEDIA=OCI_INDEX)
    assert refused.returncode == 1
    assert f"has a manifest of the type {OCI_INDEX}" in refused.stderr
    again = account.delivery(commit, "image")
    assert again.returncode == 1 and OCI_INDEX in again.stderr  # nor when it is found the second time
    assert account.host.client("ssm").describe_parameters()["Parameters"] == before


def test_docker_is_asked_for_what_sagemaker_takes(account: Account, commit: Path) -> None:
    change(commit, "a commit to look at")
    assert account.delivery(commit, "image", "--here").returncode == 0
    log = (account.folder / "docker.log").read_text("utf-8").splitlines()
    build = [words for words in map(json.loads, log) if words[:2] == ["buildx", "build"]][-1]
    options = dict(itertools.pairwise(build))
    assert options["--build-arg"] == f"BASE_IMAGE={BASE}@{account.base_digest}", "the tag alone may move"
    assert f"{base.DIGEST_LABEL}={account.base_digest}" in build and f"{base.NAME_LABEL}={BASE}" in build
    assert {"--provenance=false", "--sbom=false", "type=registry,oci-mediatypes=false", "linux/amd64"} <= set(build)
    logins = [words[-1] for words in map(json.loads, log) if words[0] == "login"]
    assert logins[-2:] == [
        "000000000000.dkr.ecr.us-east-1.amazonaws.com",
        "763104351884.dkr.ecr.us-east-1.amazonaws.com",
    ]


def test_a_release_names_the_image_of_its_own_commit(account: Account, commit: Path) -> None:
    images = Images(account.clients, "us-east-1", account.chain, print)
    change(commit, "a commit that staging runs")
    with pytest.raises(ChainError, match="has no image of these files: `make image` builds it"):
        images.name_again(commit)
    assert account.delivery(commit, "image", "--here").returncode == 0
    first = named(account)
    change(commit, "a later commit")
    assert account.delivery(commit, "image", "--here").returncode == 0
    assert named(account) != first
    change(commit, "a commit that staging runs")
    assert images.name_again(commit) == first == named(account)


def test_a_change_that_is_in_no_commit_is_refused(account: Account, commit: Path) -> None:
    (commit / "serving" / "more.py").write_text("", "utf-8")
    refused = account.delivery(commit, "image")
    assert refused.returncode == 1
    assert "?? serving/more.py" in refused.stderr and "commit them first" in refused.stderr


def test_without_docker_the_remedy_is_said(account: Account, commit: Path) -> None:
    change(commit, "a commit without docker")
    refused = account.delivery(commit, "image", "--here", PATH="/nowhere")
    assert refused.returncode == 1
    assert "docker is not installed" in refused.stderr


def test_without_the_stack_its_command_is_said(account: Account, commit: Path) -> None:
    refused = account.delivery(commit, "image", "--chain", "other-chain")
    assert refused.returncode == 1
    assert "aws cloudformation deploy --stack-name other-chain" in refused.stderr


def test_equal_content_has_an_equal_tag_and_other_content_another(commit: Path) -> None:
    tag = image.content_tag(commit)
    (commit / "README.md").write_text("no part of the image", "utf-8")
    (commit / "serving" / "__pycache__").mkdir(exist_ok=True)
    (commit / "serving" / "__pycache__" / "a.pyc").write_bytes(b"compiled")
    assert image.content_tag(commit) == tag
    (commit / "container" / "Dockerfile").write_text("FROM scratch\n", "utf-8")
    assert image.content_tag(commit) != tag
