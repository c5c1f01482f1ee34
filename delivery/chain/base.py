"""The image that the Dockerfile begins from, always by its digest: AWS moves the tag of a base image when it mends it.

A digest in the Dockerfile holds for every build; without one, a build takes what the tag names, and the image's labels
say which that was. `make base` writes the digest of now into the Dockerfile.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from pathlib import Path

from delivery.chain.stack import ChainError, Clients

DOCKERFILE = Path("container") / "Dockerfile"
REGISTRY = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.[a-z.]+")
ARGUMENT = re.compile(r"^(ARG BASE_IMAGE=[^@\s]+)(@\S+)?$", re.MULTILINE)
NAME_LABEL, DIGEST_LABEL = "org.opencontainers.image.base.name", "org.opencontainers.image.base.digest"


def named(root: Path) -> str:
    """The base image as the Dockerfile has it, by the defaults of its arguments. Raises ChainError."""
    values: dict[str, str] = {}
    for line in (root / DOCKERFILE).read_text("utf-8").splitlines():
        if argument := re.fullmatch(r"ARG (\w+)=(\S+)", line):
            values[argument[1]] = string.Template(argument[2]).safe_substitute(values)
        if source := re.match(r"FROM (?:--\S+ )*(\S+)", line):
            return string.Template(source[1]).safe_substitute(values)
    raise ChainError(f"{DOCKERFILE} has no FROM")


def in_ecr(registry: str) -> tuple[str, str]:
    """Account and region of a registry. Raises ChainError if it is not one of ECR."""
    known = REGISTRY.fullmatch(registry)
    if known is None:
        raise ChainError(f"{registry} is not a registry of ECR: BASE_IMAGE of {DOCKERFILE} must be in one")
    return known[1], known[2]


def by_digest(root: Path, clients: Clients, say: Callable[[str], None]) -> str:
    """The base image by its digest: that in the Dockerfile, or else what its tag names now. Raises ChainError."""
    name, _, digest = named(root).partition("@")
    now = _digest_of(name, clients)
    if not digest:
        if now is None:
            raise ChainError(f"the base image {name} is not in its registry")
        say(f"the base image is {name}@{now}; `make base` pins it in {DOCKERFILE}")
        return f"{name}@{now}"
    if now != digest:
        moved = f"names {now} now" if now else "is gone"
        say(f"the tag of the base image {moved}; the build takes {digest}, as {DOCKERFILE} says: `make base` renews it")
    return f"{name}@{digest}"


def pin(root: Path, clients: Clients) -> str:
    """Write the digest of the base image's tag into the Dockerfile; the digest. Raises ChainError."""
    name = named(root).partition("@")[0]
    digest = _digest_of(name, clients)
    if digest is None:
        raise ChainError(f"the base image {name} is not in its registry")
    file = root / DOCKERFILE
    text, changed = ARGUMENT.subn(rf"\1@{digest}", file.read_text("utf-8"))
    if changed != 1:
        raise ChainError(f"{DOCKERFILE} must have one line ARG BASE_IMAGE=…, and has {changed}")
    file.write_text(text, "utf-8")
    return digest


def arguments(base: str) -> list[str]:
    """The arguments of `docker buildx build` that begin from `base` and write it into the image's labels."""
    name, _, digest = base.partition("@")
    labels = (f"{NAME_LABEL}={name}", f"{DIGEST_LABEL}={digest}")
    return ["--build-arg", f"BASE_IMAGE={base}", *(word for label in labels for word in ("--label", label))]


def _digest_of(name: str, clients: Clients) -> str | None:
    registry, _, path = name.partition("/")
    repository, _, tag = path.partition(":")
    account, region = in_ecr(registry)
    answer = clients("ecr", region_name=region).batch_get_image(
        registryId=account, repositoryName=repository, imageIds=[{"imageTag": tag}]
    )
    images = answer.get("images", [])
    return str(images[0]["imageId"]["imageDigest"]) if images else None
