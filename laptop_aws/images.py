"""Container images without containers: a folder of files, named by the digest of its contents. On AWS an image is in
ECR and its digest is the version of the code. Here the same kind of URI, ``<repository>@sha256:<digest>``, names the
folder ``<root>/images/<digest>``. Its file ``image.json`` lists the commands of the image:

    {"repository": "000000000000.dkr.ecr.us-east-1.amazonaws.com/shop",
     "commands": {"train": ["{python}", "{image}/train.py"], "serve": ["{python}", "{image}/serve.py"]},
     "environment": {"PYTHONPATH": "{image}"}}

``{image}`` stands for the folder, ``{python}`` for the interpreter that the host runs containers with. Equal files give
an equal URI on every machine. Standard library only.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MANIFEST = "image.json"
_DIGEST = re.compile(r"(.+)@sha256:([0-9a-f]{64})$")


class UnknownImage(Exception):
    """No image has the URI, or its files were changed; the message says which of the two."""


@dataclass(frozen=True)
class Image:
    """An image on this machine: its folder and how its commands start (placeholders not filled in)."""

    folder: Path
    commands: Mapping[str, Sequence[str]]
    environment: Mapping[str, str]

    def command(self, name: str, python: Path) -> list[str]:
        """The arguments that start the command ``name`` (``train``, ``serve``). Raises UnknownImage if the image lacks
        it."""
        if name not in self.commands:
            raise UnknownImage(f"the image in {self.folder} has no command {name!r}; its {MANIFEST} lists the commands")
        return [self._filled(word, python) for word in self.commands[name]]

    def variables(self, python: Path) -> dict[str, str]:
        """The environment variables that the image sets for its commands."""
        return {name: self._filled(value, python) for name, value in self.environment.items()}

    def _filled(self, text: str, python: Path) -> str:
        return text.replace("{image}", str(self.folder)).replace("{python}", str(python))


def register(
    repository: str,
    source: Path,
    files: Iterable[Path],
    commands: Mapping[str, Sequence[str]],
    environment: Mapping[str, str],
    root: Path,
) -> str:
    """Copies ``files`` (paths below ``source``) into ``root``/images and returns the URI of the image.

    Registering the same files and commands again changes nothing. Raises OSError.
    """
    images = root / "images"
    images.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".building-", dir=images))
    try:
        for path in files:
            copy = staging / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        manifest = {"repository": repository, "commands": commands, "environment": environment}
        (staging / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        digest = _digest(staging)
        target = images / digest
        if not _is_whole(target, digest):
            if target.exists():
                shutil.rmtree(target)
            staging.chmod(0o755)
            try:
                staging.replace(target)
            except OSError:
                if not _is_whole(target, digest):  # otherwise another process registered the same image first
                    raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return f"{repository}@sha256:{digest}"


def resolve(uri: str, root: Path) -> Image:
    """The image ``uri``, its files checked against the digest. Raises UnknownImage."""
    match = _DIGEST.fullmatch(uri)
    if not match:
        raise UnknownImage(f"image {uri!r} does not end in a digest (@sha256:<64 hex>)")
    repository, digest = match.groups()
    folder = root / "images" / digest
    if not folder.is_dir():
        raise UnknownImage(f"image {uri!r} not found: {folder} does not exist")
    if not _is_whole(folder, digest):
        raise UnknownImage(f"image {uri!r} was changed on disk: the contents of {folder} have another digest")
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    if manifest["repository"] != repository:
        raise UnknownImage(f"image {uri!r} is not in the repository {manifest['repository']}")
    return Image(folder, manifest["commands"], manifest["environment"])


def _digest(folder: Path) -> str:
    """sha256 over the sorted list of (relative path, length, content): the same on every machine. `__pycache__` is left
    out: Python and numba write there when the image runs.
    """
    total = hashlib.sha256()
    files = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    kept = {name.as_posix(): path for name, path in files.items() if "__pycache__" not in name.parts}
    for name, path in sorted(kept.items()):
        content = path.read_bytes()
        encoded = name.encode()
        total.update(len(encoded).to_bytes(4, "big") + encoded + len(content).to_bytes(8, "big") + content)
    return total.hexdigest()


def _is_whole(folder: Path, digest: str) -> bool:
    return (folder / MANIFEST).is_file() and _digest(folder) == digest
