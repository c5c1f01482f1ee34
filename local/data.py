"""A user's data: finds interactions and a catalogue, and uploads them as one closed drop."""

from __future__ import annotations

import csv
import gzip
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from local.project import Problem

SUFFIXES = (".csv", ".csv.gz", ".parquet", ".dat")
CATALOGUE_NAMES = ("items", "movies")
NOT_INTERACTIONS = ("users", "tags", "links", "genome-scores", "genome-tags")
ITEM_COLUMNS = ("item_id", "itemId", "movieId", "item", "movie_id")
MARKER = "_SUCCESS"
FILES_NAMED = 3


@dataclass(frozen=True)
class Drop:
    """Files to put under `raw/<name>/`: `interactions` and perhaps a `catalogue`, by their paths inside the drop."""

    interactions: dict[str, Path]
    catalogue: dict[str, Path]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in (self.interactions | self.catalogue).values())

    @property
    def summary(self) -> str:
        """The first file names and the size, as text."""
        names = [*self.interactions, *self.catalogue]
        more = f" and {len(names) - FILES_NAMED} more files" if len(names) > FILES_NAMED else ""
        return f"{', '.join(names[:FILES_NAMED])}{more}, {size_text(self.size)}"


def size_text(size: int) -> str:
    """A size in bytes as text."""
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"


def suffix_of(path: Path) -> str:
    """The suffix of the file's format (`.csv.gz` counts as one), or an empty string if it is not supported."""
    return next(
        (suffix for suffix in sorted(SUFFIXES, key=len, reverse=True) if path.name.lower().endswith(suffix)), ""
    )


def stem_of(path: Path) -> str:
    return path.name[: len(path.name) - len(suffix_of(path))].lower()


def is_catalogue(path: Path) -> bool:
    """True if preparation reads a file of this name as the catalogue."""
    return bool(suffix_of(path)) and stem_of(path) in CATALOGUE_NAMES


def read_drop(data: Path, items: Path | None = None) -> Drop:
    """The drop made of `data` (a file or a folder), with `items` or the catalogue found next to it. Raises Problem,
    naming the path, if there are no interactions.
    """
    if not data.exists():
        raise Problem(f"no such file or folder: {data}")
    if data.is_dir():
        files = {str(path.relative_to(data)): path for path in sorted(data.rglob("*")) if _is_data(path, data)}
        interactions = {key: path for key, path in files.items() if not is_catalogue(path)}
        catalogue = {key: path for key, path in files.items() if is_catalogue(path)}
        if not interactions:
            what = "only a catalogue" if catalogue else f"no {', '.join(SUFFIXES)} file"
            raise Problem(f"the folder {data} has {what}: there are no interactions to learn from")
    else:
        if not suffix_of(data):
            raise Problem(f"{data} has an unsupported type; supported: {', '.join(SUFFIXES)}")
        interactions = {data.name: data}
        catalogue = {path.name: path for path in _beside(data)}
    if items is not None:
        catalogue = {f"items{_checked_items(items)}": items}
    for path in (interactions | catalogue).values():
        _check_readable(path)
    if all(path.stat().st_size == 0 for path in interactions.values()):
        raise Problem(f"{data} is empty: there are no interactions to learn from")
    return Drop(interactions, catalogue)


def _is_data(path: Path, root: Path) -> bool:
    hidden = any(part.startswith(("_", ".")) for part in path.relative_to(root).parts)
    return path.is_file() and not hidden and bool(suffix_of(path)) and stem_of(path) not in NOT_INTERACTIONS


def _beside(data: Path) -> list[Path]:
    """The catalogue next to a single interactions file: at most one, `items` before `movies`."""
    found = [path for path in sorted(data.parent.iterdir()) if path.is_file() and path != data and is_catalogue(path)]
    return sorted(found, key=lambda path: CATALOGUE_NAMES.index(stem_of(path)))[:1]


def _checked_items(items: Path) -> str:
    if not items.is_file():
        raise Problem(f"no such catalogue file: {items}")
    if not suffix_of(items):
        raise Problem(f"the catalogue {items} has an unsupported type; supported: {', '.join(SUFFIXES)}")
    return suffix_of(items)


def _check_readable(path: Path) -> None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise Problem(f"{path} cannot be read: {error.strerror}") from error


def drop_name(text: str) -> str:
    """Return `text` if it is a valid folder name under `raw/`. Raises Problem."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", text):
        raise Problem(f"a drop's name must be 1 to 63 letters, digits, '.', '_' or '-', not {text!r}")
    return text


def upload(s3: Any, bucket: str, name: str, drop: Drop) -> None:
    """Put the files under `raw/<name>/`, and the empty marker that closes the drop last."""
    for key, path in (drop.catalogue | drop.interactions).items():
        s3.upload_file(str(path), bucket, f"raw/{name}/{key}")
    s3.put_object(Bucket=bucket, Key=f"raw/{name}/{MARKER}", Body=b"")


def spoil(source: Path, target: Path, seed: int) -> None:
    """Write a copy of the interactions in which every row has a random item: the same users and times, but nothing to
    learn.

    Text formats only (`.csv`, `.csv.gz`, `.dat`). Raises Problem for another format or when no item column is found.
    """
    suffix = suffix_of(source)
    if suffix not in (".csv", ".csv.gz", ".dat"):
        raise Problem(f"--worse needs .csv, .csv.gz or .dat files, not {source}")
    generator = random.Random(seed)
    with _open_text(source, "r") as file:
        rows = list(_rows(file, suffix))
    header = None if suffix == ".dat" else rows[0] if rows else []
    column = 1 if header is None else _item_column(source, header)
    body = rows if header is None else rows[1:]
    items = sorted({row[column] for row in body if len(row) > column})
    for row in body:
        if len(row) > column:
            row[column] = generator.choice(items)
    with _open_text(target, "w") as file:
        if suffix == ".dat":
            file.writelines("::".join(row) + "\n" for row in rows)
        else:
            csv.writer(file, lineterminator="\n").writerows(rows)


def _item_column(source: Path, header: list[str]) -> int:
    for column in ITEM_COLUMNS:
        if column in header:
            return header.index(column)
    raise Problem(f"{source} has none of the columns {', '.join(ITEM_COLUMNS)}; it has {', '.join(header)}")


def _rows(file: IO[str], suffix: str) -> Iterator[list[str]]:
    if suffix == ".dat":
        yield from (line.rstrip("\n").split("::") for line in file)
    else:
        yield from csv.reader(file)


def _open_text(path: Path, mode: str) -> IO[str]:
    encoding = "latin-1" if path.name.endswith(".dat") else "utf-8"
    if path.name.endswith(".gz"):
        return cast(IO[str], gzip.open(path, f"{mode}t", encoding=encoding, newline=""))
    return path.open(mode, encoding=encoding, newline="")
