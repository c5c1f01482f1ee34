"""The base image is taken by its digest: the pinned one, or what its tag names now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from delivery.chain import base
from delivery.chain.stack import ChainError

NAME = "763104351884.dkr.ecr.eu-west-1.amazonaws.com/pytorch:2.13"
OLD, NEW = "sha256:" + "0" * 64, "sha256:" + "1" * 64


class Ecr:
    """ECR, where the tag names `digest`, or nothing."""

    def __init__(self, digest: str | None) -> None:
        self.digest, self.asked = digest, ""

    def __call__(self, service: str, **settings: Any) -> Ecr:
        self.asked = f"{service} {settings['region_name']}"
        return self

    def batch_get_image(self, registryId: str, repositoryName: str, imageIds: list[dict[str, str]]) -> dict[str, Any]:
        self.asked += f" {registryId} {repositoryName} {imageIds[0]['imageTag']}"
        return {"images": [{"imageId": {"imageDigest": self.digest}}] if self.digest else [], "failures": []}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "container").mkdir()
    lines = ("ARG REGION=eu-west-1", f"ARG BASE_IMAGE={NAME.replace('eu-west-1', '${REGION}')}", "FROM ${BASE_IMAGE}")
    (tmp_path / base.DOCKERFILE).write_text("\n".join((*lines, "RUN true", "")), "utf-8")
    return tmp_path


def test_without_a_pin_a_build_takes_what_the_tag_names_and_says_so(root: Path) -> None:
    ecr, said = Ecr(NEW), list[str]()
    assert base.by_digest(root, ecr, said.append) == f"{NAME}@{NEW}"
    assert ecr.asked == "ecr eu-west-1 763104351884 pytorch 2.13"
    assert said == [f"the base image is {NAME}@{NEW}; `make base` pins it in container/Dockerfile"]


def test_a_pinned_digest_holds_though_the_tag_moves_and_is_renewed_by_one_command(root: Path) -> None:
    assert base.pin(root, Ecr(OLD)) == OLD
    said: list[str] = []
    assert base.by_digest(root, Ecr(OLD), said.append) == f"{NAME}@{OLD}" and said == []
    assert base.by_digest(root, Ecr(NEW), said.append) == f"{NAME}@{OLD}"
    assert base.by_digest(root, Ecr(None), said.append) == f"{NAME}@{OLD}"
    assert [line.partition(";")[0] for line in said] == [
        f"the tag of the base image names {NEW} now",
        "the tag of the base image is gone",
    ]
    assert base.pin(root, Ecr(NEW)) == NEW
    assert (root / base.DOCKERFILE).read_text("utf-8").count("@sha256:") == 1
    assert base.named(root) == f"{NAME}@{NEW}"


def test_a_base_image_that_is_not_there_or_in_no_registry_of_aws_is_named(root: Path) -> None:
    with pytest.raises(ChainError, match=r"pytorch:2\.13 is not in its registry"):
        base.by_digest(root, Ecr(None), print)
    with pytest.raises(ChainError, match=r"pytorch:2\.13 is not in its registry"):
        base.pin(root, Ecr(None))
    (root / base.DOCKERFILE).write_text("FROM docker.io/pytorch:2.13\n", "utf-8")
    with pytest.raises(ChainError, match=r"docker\.io is not a registry of ECR"):
        base.by_digest(root, Ecr(NEW), print)
    (root / base.DOCKERFILE).write_text("RUN true\n", "utf-8")
    with pytest.raises(ChainError, match="has no FROM"):
        base.named(root)


def test_the_dockerfile_here_has_one_line_to_pin() -> None:
    root = Path(__file__).resolve().parents[3]
    assert len(base.ARGUMENT.findall((root / base.DOCKERFILE).read_text("utf-8"))) == 1
    assert base.in_ecr(base.named(root).partition("/")[0])


def test_the_image_says_what_it_began_from() -> None:
    assert base.arguments(f"{NAME}@{NEW}") == [
        *("--build-arg", f"BASE_IMAGE={NAME}@{NEW}"),
        *("--label", f"org.opencontainers.image.base.name={NAME}"),
        *("--label", f"org.opencontainers.image.base.digest={NEW}"),
    ]
