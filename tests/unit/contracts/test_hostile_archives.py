"""Every reader of archives refuses every hostile one in bounded memory: one table of archives, one of readers.

Each reader runs in a process of its own, in which the peak of resident memory is measured over all of the archives.
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.unit.contracts.test_archives import entry, pax

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
MEGABYTES = 24
"""Resident memory that all of these archives together may add to a reader's process."""
_HUGE = 3 << 10


@cache
def zeros() -> bytes:
    """One MiB of zeros, as a part of a gzip file: 3 GiB are 3 MB in this form."""
    return gzip.compress(bytes(1 << 20), 9)


def packed(*members: bytes) -> bytes:
    return gzip.compress(b"".join(members), 1)


def ended(*members: bytes) -> bytes:
    return packed(*members, bytes(1024))


def huge(kind: bytes, name: str = "big/header", members: bytes = b"") -> bytes:
    """An archive of 3 MB with a member of 3 GiB."""
    return packed(members, entry(name, b"", kind, _HUGE << 20)) + zeros() * _HUGE + packed(bytes(1024))


def negative(name: str) -> bytes:
    header = bytearray(entry(name))
    header[124:136] = b"\xff" * 12
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:512]) + 8 * 32)
    return bytes(header)


# Each makes an archive from the name of a member that its reader wants.
ARCHIVES: dict[str, Callable[[str], bytes]] = {
    "PAX header of 3 GiB": lambda name: huge(tarfile.XHDTYPE),
    "global PAX header of 3 GiB": lambda name: huge(tarfile.XGLTYPE),
    "Solaris PAX header of 3 GiB": lambda name: huge(tarfile.SOLARIS_XHDTYPE),
    "GNU long name of 3 GiB": lambda name: huge(tarfile.GNUTYPE_LONGNAME),
    "GNU long link of 3 GiB": lambda name: huge(tarfile.GNUTYPE_LONGLINK),
    "5000 long names in a row": lambda name: ended(*[entry("n", b"n\0", tarfile.GNUTYPE_LONGNAME)] * 5000, entry(name)),
    "5000 PAX headers in a row": lambda name: ended(*[pax(path=name)] * 5000, entry(name)),
    "sparse file, old GNU": lambda name: ended(entry(name, kind=tarfile.GNUTYPE_SPARSE)),
    "sparse file, PAX 0.0": lambda name: ended(pax(GNU_sparse_size="9", GNU_sparse_offset="0"), entry(name, b"1")),
    "sparse file, PAX 0.1": lambda name: ended(pax(GNU_sparse_map="0,9", GNU_sparse_size="9"), entry(name, b"1")),
    "sparse file, PAX 1.0, a map of gigabytes": lambda name: (
        packed(pax(GNU_sparse_major="1", GNU_sparse_minor="0"), entry(name, size=_HUGE << 20), b"999999999\n")
        + gzip.compress(b"0\n" * (1 << 19), 9) * _HUGE
    ),
    "twice": lambda name: ended(entry(name, b"[]"), entry(f"./{name}", b"[]")),
    "twice, a folder first": lambda name: ended(entry(name, kind=tarfile.DIRTYPE), entry(name, b"[]")),
    "symbolic link": lambda name: ended(entry(name, kind=tarfile.SYMTYPE)),
    "hard link": lambda name: ended(entry(name, kind=tarfile.LNKTYPE)),
    "character device": lambda name: ended(entry(name, kind=tarfile.CHRTYPE)),
    "block device": lambda name: ended(entry(name, kind=tarfile.BLKTYPE)),
    "named pipe": lambda name: ended(entry(name, kind=tarfile.FIFOTYPE)),
    "path to the folder above": lambda name: ended(entry(f"../{name}", b"[]")),
    "path through the folder above": lambda name: ended(entry(f"a/../../{name}", b"[]")),
    "path from the root": lambda name: ended(entry(f"/{name}", b"[]")),
    "PAX path from the root": lambda name: ended(pax(path=f"/tmp/{name}"), entry(name, b"[]")),
    "long name through the folder above": lambda name: ended(
        entry("n", f"../{name}\0".encode(), tarfile.GNUTYPE_LONGNAME), entry(name, b"[]")
    ),
    "bomb of 3 GiB": lambda name: huge(tarfile.REGTYPE, name),
    "size below zero": lambda name: ended(entry("a", b"x"), negative(name)),
    "PAX size below zero": lambda name: ended(entry("a", b"x"), pax(size="-1"), entry(name, b"[]")),
    "20,000 members": lambda name: ended(*(entry(f"{number}") for number in range(20_000))),
    "cut inside a member": lambda name: packed(entry(name, b"x" * 5000)[:3000]),
    "cut inside gzip": lambda name: ended(entry(name, bytes(range(256)) * 400))[:-300],
    "not deflated": lambda name: packed()[:10] + b"\x07" * 20,
    "no tar": lambda name: gzip.compress(b"no tar" * 500),
    "empty": lambda name: b"",
}
# What runs, its error and a member that it wants.
READERS = {
    "evaluate": ("evaluate.archive.read(path.open('rb'), ('evaluation.json',))", "BrokenArchive", "evaluation.json"),
    "bundle": ("ncf.bundle.extract(path, folder)", "BrokenBundle", "bundle.json"),
    "erase": ("erase.archive.ids_in(path.open('rb'))", "BadArchive", "user_ids.json"),
    "console": ("control.archive.extract(path.open('rb'), folder)", "Unusable", "user_ids.json"),
    "embedded AWS": ("laptop_aws.objects.unpack(path, folder)", "TransferFailed", "bundle.json"),
}
RUN = """
import json, pathlib, re, sys, tempfile
import {module}
def used():  # getrusage has the peak of the process that started this one, too
    return int(re.search(r"VmHWM:\\s+([0-9]+)", pathlib.Path("/proc/self/status").read_text())[1]) >> 10
before, found = used(), {{}}
for path in map(pathlib.Path, sys.argv[1:]):
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary) / "unpacked"
        folder.mkdir()
        try:
            outcome = str({call})
        except Exception as error:
            outcome = type(error).__name__
        left = sum(one.stat().st_size for one in folder.rglob("*"))
    found[path.name] = [outcome, left >> 20]
print(json.dumps({{"megabytes": used() - before, "found": found}}))
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[str]]:
    @cache
    def write(member: str) -> list[str]:
        folder = tmp_path_factory.mktemp("hostile")
        for name, make in ARCHIVES.items():
            (folder / name.replace("/", " ")).write_bytes(make(member))
        return [str(path) for path in sorted(folder.iterdir())]

    return write


@pytest.mark.parametrize("reader", READERS)
def test_a_hostile_archive_is_refused_in_little_memory(reader: str, written: Callable[[str], list[str]]) -> None:
    call, error, member = READERS[reader]
    program = RUN.format(call=call, module=call.partition("(")[0].rpartition(".")[0])
    paths = {"PYTHONPATH": ":".join(str(ROOT / folder) for folder in ("", "functions"))}
    ran = subprocess.run(
        [sys.executable, "-c", program, *written(member)], cwd=ROOT, env=paths, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    answer: dict[str, Any] = json.loads(ran.stdout)
    assert answer["found"] == {name: [error, 0] for name in sorted(ARCHIVES)}
    assert answer["megabytes"] < MEGABYTES, answer["megabytes"]


# Modules that open archives: those that read are in the table, the others write.
OPENERS = {
    "contracts/archives.py": "read by all but the embedded AWS",
    "functions/publish_code/package.py": "writes",
    "laptop_aws/corrections/lambda_code.py": "reads zip files of code: ministack bounds them by AWS's 250 MiB",
    "laptop_aws/objects.py": "read",
    "training/launching/runs.py": "writes",
}


def test_no_other_module_opens_archives() -> None:
    """A new reader goes through contracts/archives.py, or into the table."""
    shipped = tuple(
        path for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith((".", "tests", "bench"))
    )
    opens = re.compile(
        r"^\s*(import|from) (tarfile|zipfile)\b|unpack_archive|gzip\.decompress|zlib\.decompress\(", re.M
    )
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in shipped
        for path in folder.rglob("*.py")
        if "tests" not in path.parts and not path.is_symlink() and opens.search(path.read_text("utf-8"))
    }
    assert {path for path in found if not path.startswith("functions/contracts/")} == set(OPENERS)
