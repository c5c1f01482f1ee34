"""Archives that are not trusted: bad members are refused by name, before they use memory."""

from __future__ import annotations

import gzip
import io
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts import archives
from contracts.archives import BadArchive
from evaluate import archive as evaluate

ROOT = Path(__file__).resolve().parents[3]
LIMIT = 256 << 20
HEADERS = {
    "pax": tarfile.XHDTYPE,
    "global pax": tarfile.XGLTYPE,
    "solaris pax": tarfile.SOLARIS_XHDTYPE,
    "long name": tarfile.GNUTYPE_LONGNAME,
    "long link": tarfile.GNUTYPE_LONGLINK,
}


def entry(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, size: int | None = None) -> bytes:
    """One member of a tar; `size` is the size in its header."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(content) if size is None else size
    return info.tobuf(tarfile.GNU_FORMAT) + content + b"\0" * (-len(content) % tarfile.BLOCKSIZE)


def pax(**records: str) -> bytes:
    """A PAX header for the next member."""
    content = b""
    for key, value in records.items():
        record = f" {key.replace('_', '.')}={value}\n".encode()
        length = len(record) + 1
        while length != len(record) + len(str(length)):
            length += 1
        content += str(length).encode() + record
    return entry("PaxHeaders/next", content, tarfile.XHDTYPE)


def packed(*entries: bytes) -> bytes:
    return gzip.compress(b"".join(entries) + bytes(1024), compresslevel=1)


def contents(archive: bytes, limit: int = LIMIT) -> dict[str, bytes]:
    return {file.name: file.read() for file in archives.files(io.BytesIO(archive), limit)}


def huge_header(kind: bytes, size: int = 3 << 30, real: int = 64 << 20) -> bytes:
    """An archive of some kilobytes with `real` bytes of a header that claims `size` bytes."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1) as file:
        file.write(entry("big/header", b"", kind, size))
        for _ in range(real >> 20):
            file.write(bytes(1 << 20))
        file.write(entry("a.json", b"A") + bytes(1024))
    return buffer.getvalue()


def peak(call: Callable[[], Any]) -> int:
    """Return the peak of the memory that Python allocates during `call`, in bytes."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_an_archive_of_a_usual_program_is_read(format: int) -> None:
    buffer = io.BytesIO()
    names = ["./a.json", "folder/" + "long" * 20 + "/" + "b" * 90, "ä.txt"]
    with tarfile.open(fileobj=buffer, mode="w:gz", format=format) as tar:
        for kind, name in [
            (tarfile.DIRTYPE, "./"),
            (tarfile.DIRTYPE, "folder"),
            *((tarfile.REGTYPE, n) for n in names),
        ]:
            member = tarfile.TarInfo(name)
            # A time with a fraction needs an extended header; typeshed knows only whole seconds.
            member.type, member.mtime = kind, 1.5 if format == tarfile.PAX_FORMAT else 1  # type: ignore[assignment]
            member.size = 3 if kind == tarfile.REGTYPE else 0
            tar.addfile(member, io.BytesIO(b"abc"))
    assert contents(buffer.getvalue()) == {name.removeprefix("./"): b"abc" for name in names}


def test_a_file_that_is_not_read_is_skipped() -> None:
    archive = packed(entry("a", b"x" * 100_000), entry("b", b"second"))
    names = [file.name for file in archives.files(io.BytesIO(archive), LIMIT)]
    assert names == ["a", "b"]


def test_path_and_size_of_a_pax_header_hold() -> None:
    archive = packed(pax(path="other", size="3", mtime="1.5"), entry("name", b"abc", size=0), entry("next", b"x"))
    assert contents(archive) == {"other": b"abc", "next": b"x"}


@pytest.mark.parametrize("kind", HEADERS.values(), ids=HEADERS)
def test_a_header_that_claims_much_is_refused_before_it_is_read(kind: bytes) -> None:
    archive = huge_header(kind)
    assert len(archive) < 1 << 20

    def read() -> None:
        with pytest.raises(BadArchive, match="big/header"):
            contents(archive, 8 << 30)

    assert peak(read) < 4 << 20


@pytest.mark.parametrize("kind", HEADERS.values(), ids=HEADERS)
def test_evaluate_refuses_it_too(kind: bytes) -> None:
    def read() -> None:
        with pytest.raises(evaluate.BrokenArchive, match="big/header"):
            evaluate.read(io.BytesIO(huge_header(kind)), ("a.json",))

    assert peak(read) < 4 << 20


@pytest.mark.parametrize(
    ("archive", "words"),
    [
        ([entry("a", kind=tarfile.SYMTYPE)], "a is not a plain file but a symbolic link"),
        ([entry("a", kind=tarfile.LNKTYPE)], "a is not a plain file but a hard link"),
        ([entry("a", kind=tarfile.CHRTYPE)], "a is not a plain file but a character device"),
        ([entry("a", kind=tarfile.BLKTYPE)], "a is not a plain file but a block device"),
        ([entry("a", kind=tarfile.FIFOTYPE)], "a is not a plain file but a named pipe"),
        ([entry("a", kind=tarfile.GNUTYPE_SPARSE)], "a is not a plain file but a sparse file"),
        ([entry("a", kind=b"?")], "a is not a plain file but of type b'?'"),
        ([pax(GNU_sparse_major="1", GNU_sparse_minor="0"), entry("a", b"1\n")], "not a plain file but a sparse file"),
        ([entry("../a")], "../a is not a path below the archive's folder"),
        ([entry("b/../a")], "b/../a is not a path below the archive's folder"),
        ([entry("/a")], "/a is not a path below the archive's folder"),
        ([pax(path="/etc/passwd"), entry("a")], "/etc/passwd is not a path below the archive's folder"),
        ([entry("n", b"../a\0", tarfile.GNUTYPE_LONGNAME), entry("a")], "../a is not a path below"),
        ([entry("a", b"1"), entry("./a", b"2")], "a is in the archive twice"),
        ([entry("a", kind=tarfile.DIRTYPE), entry("a", b"2")], "a is in the archive twice"),
        ([entry("a", b"1"), pax(path="a"), entry("b", b"2")], "a is in the archive twice"),
        ([pax(size="-1"), entry("a")], "PaxHeaders/next is a PAX header whose size is not a number of bytes"),
        ([pax(size="9" * 20), entry("a")], "PaxHeaders/next is a PAX header whose size is not a number of bytes"),
        ([pax(size="3000000000"), entry("a")], "a has 3000000000 bytes, and the archive unpacks to more than"),
        ([entry("h", b"99 path=a\n", tarfile.XHDTYPE), entry("a")], "h is a PAX header that cannot be read"),
        ([entry("h", b"9 path=ab\n", tarfile.XHDTYPE), entry("a")], "h is a PAX header that cannot be read"),
        ([entry("h", b"9 path=ab", tarfile.XHDTYPE), entry("a")], "h is a PAX header that cannot be read"),
        ([entry("h", b"9 path=a\n0 path=b\n", tarfile.XHDTYPE), entry("a")], "h is a PAX header that cannot be read"),
        ([entry("../a\nb")], "../a?b is not a path"),
        ([pax(path="b"), pax(path="c"), entry("a")], "PaxHeaders/next is a second header of its kind for one member"),
        ([entry("a", b"x", size=5000)], "the archive cannot be read: it ends inside a member"),
        ([entry("a", b"x")[:-1]], "the archive cannot be read: it ends inside a member"),
        ([b"no tar" * 500], "the archive cannot be read: invalid header"),
        ([entry(f"{number}") for number in range(1001)], "the archive has more than 1000 members"),
        ([entry("a", kind=tarfile.DIRTYPE)[:100]], "the archive cannot be read"),
    ],
)
def test_what_is_no_file_or_folder_of_its_own_is_refused_by_name(archive: list[bytes], words: str) -> None:
    with pytest.raises(BadArchive) as caught:
        contents(gzip.compress(b"".join(archive)) if "ends inside" in words else packed(*archive))
    assert words in str(caught.value)


def test_a_negative_size_is_refused() -> None:
    header = bytearray(entry("a"))
    header[124:136] = b"\xff" * 12
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:512]) + 8 * 32)
    with pytest.raises(BadArchive, match="a has -1 bytes"):
        contents(packed(bytes(header)))


def test_the_bytes_of_all_members_and_headers_are_limited_together() -> None:
    with pytest.raises(BadArchive, match="the archive unpacks to more than 100000 bytes"):
        contents(packed(*(entry(f"{number}", b"x") for number in range(200))), 100_000)
    with pytest.raises(BadArchive, match="the archive unpacks to more than 100000 bytes"):
        contents(packed(entry("a"), bytes(200_000)), 100_000)


@pytest.mark.parametrize(
    ("archive", "words"),
    [
        (b"", "it is empty"),
        (packed(entry("a", bytes(range(256)) * 100))[:-20], "end-of-stream marker"),
        (packed()[:10] + b"\x07" * 20, "invalid block type"),
    ],
    ids=["empty", "cut", "not deflated"],  # the bytes hold the time
)
def test_a_file_that_is_no_whole_gzip_is_refused(archive: bytes, words: str) -> None:
    with pytest.raises(BadArchive, match=f"the archive cannot be read: .*{words}"):
        contents(archive)


@pytest.mark.parametrize("place", [0.3, 0.6, -6])
def test_a_damaged_byte_is_found(place: float) -> None:
    """The last place is in gzip's checksum, behind the end of the tar."""
    archive = bytearray(packed(entry("a", bytes(range(256)) * 100)))
    archive[int(place * len(archive)) if place > 0 else int(place)] ^= 0x55
    with pytest.raises(BadArchive):
        contents(bytes(archive))


def test_one_packed_file_is_unpacked_up_to_a_limit() -> None:
    whole = gzip.compress(b"a" * 50_000) + gzip.compress(b"b" * 50_000)
    assert archives.unpack(whole, 100_000) == b"a" * 50_000 + b"b" * 50_000
    with pytest.raises(BadArchive, match="the archive unpacks to more than 99999 bytes"):
        archives.unpack(whole, 99_999)
    with pytest.raises(BadArchive, match="the archive cannot be read"):
        archives.unpack(whole[:-3], 100_000)
