"""Model images of local mode: snapshots of the image's folders, named by what is in them.

On AWS an image is a container in ECR and its digest is the version of the code. On a laptop the same URI names a
folder, ``<state>/images/<sha256>/{ncf,training,serving,container}``, whose digest is computed over relative paths and contents; the
commands ``train`` and ``serve`` run the files that ``container/Dockerfile`` would run. Equal code gives an equal URI on
every machine, changed code another one.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from local.emulator.config import ACCOUNT_ID, DEFAULT_REGION

REPOSITORY = f"{ACCOUNT_ID}.dkr.ecr.{DEFAULT_REGION}.amazonaws.com/ncf-recommender"
FOLDERS = ("ncf", "training", "serving", "container")
TRAIN = Path("container") / "train.py"
SERVE = Path("container") / "serve.py"
_LEFT_OUT = {"__pycache__", "tests"}
_DIGEST = re.compile(r"@sha256:([0-9a-f]{64})$")


class UnknownImage(Exception):
    """No snapshot answers to the URI, or it is not the one that the digest names; the message says which."""


class BrokenSource(Exception):
    """The folders to snapshot are missing or lack a command; the message names the file."""


def build(project_root: Path, state_dir: Path) -> str:
    """Snapshots FOLDERS of ``project_root`` under ``state_dir``/images; returns the image's URI.

    Building the same code twice changes nothing. Caches, tests and hidden files are not part of an image. Raises
    BrokenSource.
    """
    for command in (TRAIN, SERVE):
        if not (project_root / command).is_file():
            raise BrokenSource(f"cannot build a model image: {project_root / command} is missing")
    digest = _digest(project_root)
    images = state_dir / "images"
    target = images / digest
    if not _is_whole(target, digest):
        images.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".building-", dir=images))
        try:
            for path in _files(project_root):
                copy = staging / path.relative_to(project_root)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
            if (built := _digest(staging)) != digest:
                raise BrokenSource(
                    f"the code under {project_root} changed while its image was built ({digest} became {built}); "
                    "build again"
                )
            if target.exists():
                shutil.rmtree(target)
            staging.chmod(0o755)
            staging.replace(target)
        except OSError:
            if not _is_whole(target, digest):  # another build of the same code may have been first, which is as good
                raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return f"{REPOSITORY}@sha256:{digest}"


def resolve(uri: str, state_dir: Path) -> Path:
    """The folder of the image ``uri``, with its contents checked against the digest. Raises UnknownImage."""
    match = _DIGEST.search(uri)
    if not match:
        raise UnknownImage(f"image {uri!r} does not end in a digest (@sha256:<64 hex>)")
    if not uri.startswith(f"{REPOSITORY}@"):
        raise UnknownImage(f"image {uri!r} is not in the repository {REPOSITORY}")
    folder = state_dir / "images" / match[1]
    if not folder.is_dir():
        raise UnknownImage(f"image {uri!r} not found: {folder} does not exist")
    if not _is_whole(folder, match[1]):
        raise UnknownImage(f"image {uri!r} was changed on disk: the contents of {folder} have another digest")
    return folder


def _files(root: Path) -> Iterator[Path]:
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            parts = path.relative_to(root).parts
            hidden = any(part.startswith(".") or part in _LEFT_OUT or part.endswith(".egg-info") for part in parts)
            if path.is_file() and not hidden and path.suffix != ".pyc":
                yield path


def _digest(root: Path) -> str:
    """sha256 over the sorted list of (relative path, length, content): the same on every machine."""
    total = hashlib.sha256()
    for path in sorted(_files(root), key=lambda path: path.relative_to(root).as_posix()):
        name = path.relative_to(root).as_posix().encode()
        content = path.read_bytes()
        total.update(len(name).to_bytes(4, "big") + name + len(content).to_bytes(8, "big") + content)
    return total.hexdigest()


def _is_whole(folder: Path, digest: str) -> bool:
    return folder.is_dir() and _digest(folder) == digest
