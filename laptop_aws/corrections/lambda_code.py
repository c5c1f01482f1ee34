"""Lambda: the code of functions and layers on disk."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
import types
import zipfile
from pathlib import Path
from typing import Any

from laptop_aws import processes, registry
from laptop_aws.correction import corrects
from laptop_aws.corrections.lambda_runtime import detect_runtime_binary

READ_ONLY = 0o555
LEAST_COMPILED_BYTES = 200_000
"""Less code than this is compiled sooner than Python starts."""


@corrects(
    "ministack.core.lambda_runtime:zipfile",
    source="120621305c62",
    aws="code is unpacked before an environment of it starts, and is read-only",
    ministack="each environment unpacks its own, and compiles what it imports each time",
    test="test_environments_of_the_same_code_share_it_unpacked",
    is_value=True,
)
def zipfile_of_functions() -> Any:
    return types.SimpleNamespace(ZipFile=Archive, BadZipFile=zipfile.BadZipFile, LargeFileError=zipfile.LargeZipFile)


class Archive(zipfile.ZipFile):
    """The archive of a function's code or of a layer. `extractall` makes a link to its unpacked files, which all
    archives with the same bytes share.
    """

    def extractall(self, path: Any = None, members: Any = None, pwd: bytes | None = None) -> None:
        assert isinstance(self.filename, str) and members is None and pwd is None
        unpacked = registry.config().temporary_directory / "code" / _digest(Path(self.filename))
        if not unpacked.exists():
            self._unpack(unpacked)
        link = Path(path)
        link.rmdir()
        link.symlink_to(unpacked)

    def _unpack(self, folder: Path) -> None:
        folder.parent.mkdir(exist_ok=True)
        new = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            super().extractall(new)
            for file in new.rglob("*"):
                if file.is_file():
                    file.chmod(READ_ONLY)
            new.rename(folder)
        except Exception:
            shutil.rmtree(new)
            if not folder.exists():  # otherwise another environment was faster
                raise
            return
        if sum(file.file_size for file in self.filelist if file.filename.endswith(".py")) >= LEAST_COMPILED_BYTES:
            _compile(folder)


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _compile(folder: Path) -> None:
    """Compile the Python files in the background. An environment that starts earlier compiles what it imports."""
    interpreter, _ = detect_runtime_binary("python")
    processes.spawn(
        [interpreter, "-m", "compileall", "-qq", folder],
        name=f"compiling {folder.name}",
        environment=processes.child_environment(registry.config(), PYTHONDONTWRITEBYTECODE=""),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
