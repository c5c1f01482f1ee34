"""The image that trains and serves: built once for each content, checked, and named by an SSM parameter.

Its tag is a digest of all files that the build can see, so that a commit that changes none of them builds nothing.
`build` starts CodeBuild and waits for it; `build_here` is what CodeBuild does, and what a machine with Docker can do.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.model_image import PATTERN
from delivery.chain import base
from delivery.chain.stack import Chain, ChainError, Clients
from delivery.preflight import account
from delivery.preflight.account import Account
from delivery.preflight.findings import Level

IGNORED = Path("container") / "Dockerfile.dockerignore"
SOURCES_KEY = "sources/source.zip"
BUILDER = "ncf-image"
POLL_SECONDS = 5.0
LOG_LINES = 30

Say = Callable[[str], None]


@dataclass(frozen=True)
class Images:
    """The images of one chain, in one region."""

    clients: Clients
    region: str
    chain: Chain
    say: Say

    def build(self, root: Path) -> str:
        """The image of the commit in `root`: found, or built by CodeBuild. Raises ChainError."""
        tag = content_tag(root)
        if found := self.find(tag):
            self.say(f"the image of this content is there already: tag {tag}")
            return self.publish(found)
        version = self.clients("s3").put_object(Bucket=self.chain.bucket, Key=SOURCES_KEY, Body=packed(root))
        build = self.clients("codebuild").start_build(projectName=self.chain.build, sourceVersion=version["VersionId"])[
            "build"
        ]
        self.say(f"started the build {build['id']}")
        self._wait(build["id"])
        found = self.find(tag)
        if found is None:
            raise ChainError(f"the build {build['id']} succeeded, and yet {self.chain.repository} has no tag {tag}")
        return self.publish(found)

    def build_here(self, root: Path) -> str:
        """Build with the Docker of this machine, and push. Raises ChainError."""
        tag = content_tag(root)
        if found := self.find(tag):
            self.say(f"the image of this content is there already: tag {tag}")
            return self.publish(found)
        if shutil.which("docker") is None:
            raise ChainError("docker is not installed: without it, `make image` has CodeBuild build the image")
        begins = base.by_digest(root, self.clients, self.say)
        for registry in sorted({begins.partition("/")[0], self.chain.repository_uri.partition("/")[0]}):
            self._log_in(registry)
        if _docker(["buildx", "inspect", BUILDER], check=False):
            _docker(["buildx", "create", "--name", BUILDER, "--driver", "docker-container"])
        with tempfile.TemporaryDirectory() as folder:
            metadata = Path(folder) / "metadata.json"
            _docker(build_arguments(self.chain.repository_uri, tag, metadata, begins), cwd=root)
            digest = json.loads(metadata.read_text("utf-8"))["containerimage.digest"]
        return self.publish(f"{self.chain.repository_uri}@{digest}")

    def name_again(self, root: Path) -> str:
        """Name the image of the commit in `root`, which was built before. Raises ChainError if it was not."""
        found = self.find(content_tag(root))
        if found is None:
            raise ChainError(f"{self.chain.repository} has no image of these files: `make image` builds it")
        return self.publish(found)

    def find(self, tag: str) -> str | None:
        """The URI, with its digest, of the image with this tag."""
        answer = self.clients("ecr").batch_get_image(repositoryName=self.chain.repository, imageIds=[{"imageTag": tag}])
        images = answer.get("images", [])
        return f"{self.chain.repository_uri}@{images[0]['imageId']['imageDigest']}" if images else None

    def publish(self, uri: str) -> str:
        """Name the image in the SSM parameter that deployments read, if SageMaker takes it. Raises ChainError."""
        for finding in account.image_findings(Account(self.clients, self.region), uri):
            if finding.level is not Level.FINE:
                raise ChainError(f"{finding.what}\n  {finding.why}\n  {finding.command}")
        self.clients("ssm").put_parameter(
            Name=self.chain.parameter, Value=uri, Type="String", AllowedPattern=PATTERN, Overwrite=True
        )
        self.say(f"{self.chain.parameter} is {uri}")
        return uri

    def _log_in(self, registry: str) -> None:
        owner, region = base.in_ecr(registry)
        token = self.clients("ecr", region_name=region).get_authorization_token(registryIds=[owner])
        user, _, password = (
            base64.b64decode(token["authorizationData"][0]["authorizationToken"]).decode().partition(":")
        )
        _docker(["login", "--username", user, "--password-stdin", registry], given=password)

    def _wait(self, build_id: str) -> None:
        """Until the build ends, telling each phase. Raises ChainError with the end of its log if it fails."""
        told: set[str] = set()
        while True:
            build = self.clients("codebuild").batch_get_builds(ids=[build_id])["builds"][0]
            for phase in build.get("phases", []):
                name, status = phase["phaseType"], phase.get("phaseStatus")
                if status and name not in told:
                    told.add(name)
                    self.say(f"  {name.lower().replace('_', ' ')}: {status.lower()}{_took(phase)}")
            if build["buildStatus"] == "SUCCEEDED":
                return
            if build["buildStatus"] != "IN_PROGRESS":
                raise ChainError(
                    "\n  ".join([f"the build {build_id} is {build['buildStatus']}", *self._reasons(build)])
                )
            time.sleep(POLL_SECONDS)

    def _reasons(self, build: dict[str, Any]) -> Iterator[str]:
        for phase in build.get("phases", []):
            if phase.get("phaseStatus") not in (None, "SUCCEEDED"):
                yield from (context["message"] for context in phase.get("contexts", []) if context.get("message"))
        log = build.get("logs", {})
        if log.get("groupName") and log.get("streamName"):
            events = self.clients("logs").get_log_events(
                logGroupName=log["groupName"], logStreamName=log["streamName"], limit=LOG_LINES, startFromHead=False
            )["events"]
            yield from (event["message"].rstrip() for event in events)


def build_arguments(repository_uri: str, tag: str, metadata: Path, begins: str) -> list[str]:
    """The arguments of `docker`. SageMaker takes neither an index, which attestations make, nor OCI's media types."""
    return [
        *("buildx", "build", "--builder", BUILDER, "--platform", "linux/amd64"),
        *("--provenance=false", "--sbom=false", "--output", "type=registry,oci-mediatypes=false"),
        *base.arguments(begins),
        *("--metadata-file", str(metadata), "--file", str(base.DOCKERFILE), "--tag", f"{repository_uri}:{tag}", "."),
    ]


def content_tag(root: Path) -> str:
    """A digest of the names and bytes of all files that the build can see: equal content, equal tag."""
    digest = hashlib.sha256()
    for path in sorted(context(root)):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:20]


def context(root: Path) -> Iterator[Path]:
    """The files that Docker sends to the build: those that `Dockerfile.dockerignore` lets in, by its `!` lines."""
    lines = (root / IGNORED).read_text("utf-8").splitlines()
    for name in [line[1:].strip("/") for line in lines if line.startswith("!")]:
        path = root / name
        for file in [path] if path.is_file() else path.rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                yield file


def packed(root: Path) -> bytes:
    """The commit as a zip file. Raises ChainError if files of the image differ from it, or there is no commit."""
    inputs = sorted({path.relative_to(root).parts[0] for path in context(root)})
    changed = _git(root, "status", "--porcelain", "--", *inputs).decode().strip()
    if changed:
        raise ChainError(
            f"the image is built from a commit, and these files are in none:\n{changed}\n  commit them first"
        )
    return _git(root, "archive", "--format=zip", "HEAD")


def _git(root: Path, *arguments: str) -> bytes:
    result = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False)
    if result.returncode:
        raise ChainError(f"git {arguments[0]}: {result.stderr.decode(errors='replace').strip()}")
    return result.stdout


def _docker(arguments: list[str], cwd: Path | None = None, given: str | None = None, check: bool = True) -> int:
    """The exit status. Raises ChainError for a failure, unless it is asked for."""
    quiet = None if check else subprocess.DEVNULL
    result = subprocess.run(
        ["docker", *arguments], cwd=cwd, input=given, text=True, check=False, stdout=quiet, stderr=quiet
    )
    if check and result.returncode:
        raise ChainError(f"docker {' '.join(arguments[:2])} ended with status {result.returncode}; its output is above")
    return result.returncode


def _took(phase: dict[str, Any]) -> str:
    return f" ({phase['durationInSeconds']} s)" if phase.get("durationInSeconds") else ""
