"""The image of this application on the embedded AWS: the folders and the commands of ``container/Dockerfile``.

On AWS it is a container in ECR; here `laptop_aws.images` keeps a copy of the files, named by their digest.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

from laptop_aws import images
from laptop_aws.config import ACCOUNT_ID, DEFAULT_REGION
from local.project import Project

REPOSITORY = f"{ACCOUNT_ID}.dkr.ecr.{DEFAULT_REGION}.amazonaws.com/ncf-recommender"
FOLDERS = ("contracts", "ncf", "training", "serving", "container")
TRAIN = Path("container") / "train.py"
SERVE = Path("serving") / "serve.py"
COMPILE = "from serving import kernels; kernels.compile_all()"
_LEFT_OUT = {"__pycache__", "tests"}


class BrokenSource(Exception):
    """A folder or a command's file is missing; the message names the file."""


def build(project_root: Path, state_dir: Path) -> str:
    """Registers the files of FOLDERS below ``project_root`` as an image in ``state_dir`` and returns its URI.

    Caches, tests and hidden files are not part of the image. Raises BrokenSource.
    """
    for command in (TRAIN, SERVE):
        if not (project_root / command).is_file():
            raise BrokenSource(f"cannot build a model image: {project_root / command} is missing")
    return images.register(
        REPOSITORY,
        project_root,
        _files(project_root),
        commands={"train": _command(TRAIN), "serve": _command(SERVE)},
        environment={"PYTHONPATH": "{image}"},
        root=state_dir,
    )


def compile_loops(image: str, project: Project) -> subprocess.Popen[bytes] | None:
    """Begins to compile the loops of the server beside their sources in the image, as the Dockerfile does, so that no
    training and no endpoint waits for it; None if that was done. It goes on by itself, and gives way to other work.
    """
    found = images.resolve(image, project.state)
    if any((found.folder / "serving" / "__pycache__").glob("*.nbi")):
        return None
    with (project.logs / "compile.log").open("wb") as log:
        return subprocess.Popen(
            ["nice", "-n", "10", project.python, "-P", "-c", COMPILE],
            cwd=found.folder,
            env=project.environment() | found.variables(Path(project.python)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _command(file: Path) -> list[str]:
    """The command that runs the module in `file`, with the image's folder (not the working directory) on Python's
    path."""
    return ["{python}", "-P", "-m", ".".join(file.with_suffix("").parts)]


def _files(root: Path) -> Iterator[Path]:
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            parts = path.relative_to(root).parts
            hidden = any(part.startswith(".") or part in _LEFT_OUT or part.endswith(".egg-info") for part in parts)
            if path.is_file() and not hidden and path.suffix != ".pyc":
                yield path
