"""Untrusted archives: bad members are refused by name, before they use memory."""

from __future__ import annotations

import gzip
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from laptop_aws import objects
from laptop_aws.objects import TransferFailed


def entry(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, size: int | None = None) -> bytes:
    """One member of a tar; ``size`` is the size in its header."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(content) if size is None else size
    padding = b"\0" * (-len(content) % tarfile.BLOCKSIZE)
    return info.tobuf(tarfile.GNU_FORMAT) + content + padding


def archive_of(tmp_path: Path, *entries: bytes) -> Path:
    path = tmp_path / "model.tar.gz"
    path.write_bytes(gzip.compress(b"".join(entries) + b"\0" * 1024, compresslevel=1))
    return path


def test_an_archive_as_sagemaker_packs_it_is_unpacked(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "nested").mkdir(parents=True)
    (source / "nested" / ("long" * 40 + ".txt")).write_text("long")
    (source / "ä.txt").write_text("ä")
    objects.pack(source, tmp_path / "model.tar.gz")
    objects.unpack(tmp_path / "model.tar.gz", tmp_path / "out")
    assert {path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*")} == {
        path.relative_to(source) for path in source.rglob("*")
    }


@pytest.mark.parametrize(
    "kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK], ids=str
)
def test_a_header_above_the_limit_is_refused_before_it_is_read(tmp_path: Path, kind: bytes) -> None:
    size = 64 * 1024**2
    archive = archive_of(tmp_path, entry("big/header", b"\0" * size, kind), entry("file", b"x"))
    tracemalloc.start()
    try:
        with pytest.raises(TransferFailed, match=f"the extended header 'big/header' has {size} bytes"):
            objects.unpack(archive, tmp_path / "out")
        assert tracemalloc.get_traced_memory()[1] < 8 * 1024**2
    finally:
        tracemalloc.stop()
    assert list((tmp_path / "out").iterdir()) == []


def test_many_headers_are_limited_together(tmp_path: Path) -> None:
    comment = b"30 comment=" + b"c" * 18 + b"\n"
    header = comment * (objects.MAXIMUM_HEADER_BYTES // len(comment))
    entries = [entry("header", header, tarfile.XHDTYPE) + entry(f"file-{number}", b"x") for number in range(200)]
    with pytest.raises(TransferFailed, match="in all headers of an archive"):
        objects.unpack(archive_of(tmp_path, *entries), tmp_path / "out")


def test_a_chain_of_headers_is_refused(tmp_path: Path) -> None:
    chain = [entry("././@LongLink", b"n\0", tarfile.GNUTYPE_LONGNAME)] * 5000
    with pytest.raises(TransferFailed, match="too many extended headers in a row"):
        objects.unpack(archive_of(tmp_path, *chain, entry("file", b"x")), tmp_path / "out")


@pytest.mark.parametrize("second", ["bundle.json", "./bundle.json", "bundle.json/"])
def test_a_member_that_comes_twice_is_refused_by_name(tmp_path: Path, second: str) -> None:
    kind = tarfile.DIRTYPE if second.endswith("/") else tarfile.REGTYPE
    archive = archive_of(tmp_path, entry("bundle.json", b"one"), entry(second, b"", kind))
    with pytest.raises(TransferFailed, match=r"bundle\.json' comes twice"):
        objects.unpack(archive, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_may_be_listed_twice(tmp_path: Path) -> None:
    archive = archive_of(
        tmp_path, entry("a", kind=tarfile.DIRTYPE), entry("a/file", b"x"), entry("a", kind=tarfile.DIRTYPE)
    )
    objects.unpack(archive, tmp_path / "out")
    assert (tmp_path / "out" / "a" / "file").read_bytes() == b"x"


def test_a_sparse_file_is_refused(tmp_path: Path) -> None:
    archive = archive_of(tmp_path, entry("holes", b"", tarfile.GNUTYPE_SPARSE))
    with pytest.raises(TransferFailed, match="member 'holes' is a sparse file"):
        objects.unpack(archive, tmp_path / "out")


def pax(records: dict[str, str], kind: bytes) -> bytes:
    content = b""
    for key, value in records.items():
        record = f" {key}={value}\n".encode()
        length = len(record) + 1
        while length != len(record) + len(str(length)):
            length += 1
        content += str(length).encode() + record
    return entry("PaxHeaders/next", content, kind)


NUMBERS = 1_000_000
SPARSE = {
    "0.0": {"GNU.sparse.size": "9", "GNU.sparse.offset": "0", "GNU.sparse.numbytes": "9"},
    "0.1": {"GNU.sparse.map": "0,9", "GNU.sparse.size": "9"},
    "1.0": {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9"},
}


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE], ids=str)
@pytest.mark.parametrize("version", SPARSE)
def test_a_sparse_file_of_a_pax_header_is_refused_before_its_map_is_read(
    tmp_path: Path, version: str, kind: bytes
) -> None:
    """The map of version 1.0 stands in the content of the member, where no limit of headers holds."""
    places = b"%d\n" % (NUMBERS // 2) + b"0\n" * NUMBERS
    archive = archive_of(tmp_path, pax(SPARSE[version], kind), entry("holes", places))
    tracemalloc.start()
    try:
        with pytest.raises(TransferFailed, match="member 'holes' is a sparse file"):
            objects.unpack(archive, tmp_path / "out")
        assert tracemalloc.get_traced_memory()[1] < 8 * 1024**2
    finally:
        tracemalloc.stop()
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_that_is_not_an_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.tar.gz"
    for content in (b"no archive", gzip.compress(b"no tar"), gzip.compress(entry("file", b"x" * 5000))[:-40]):
        path.write_bytes(content)
        with pytest.raises(TransferFailed, match=r"model\.tar\.gz cannot be unpacked"):
            objects.unpack(path, tmp_path / "out")
