"""Parts of the files of a drop, by their names; the endings that are read, and their compression."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from urllib.parse import unquote

TEXT_ENDINGS = (".csv", ".tsv", ".txt", ".dat", ".data", ".inter", ".item", ".jsonl", ".ndjson", ".json")
COMPRESSED_ENDINGS = {".gz": "gzip", ".bz2": "bzip2", ".zst": "zstd"}
PARQUET_ENDING = ".parquet"
SUPPORTED = (
    ".csv, .tsv, .txt, .dat, .data, .inter, .jsonl, .ndjson or .json, each also with .gz, .bz2 or .zst; and .parquet"
)

_REMEDIES = {
    (".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tar.xz"): "unpack it with tar -xf {file}",
    (".zip",): "unpack it with unzip {file}",
    (".7z", ".rar"): "unpack it",
    (".xz",): "unpack it with xz -d {file}",
    (".gzip",): "give it the ending .gz",
    (".jsonlines",): "give it the ending .jsonl",
    (".xlsx", ".xls", ".xlsm", ".ods"): "save it as CSV (UTF-8) there",
    (".sql", ".db", ".sqlite", ".sqlite3", ".dump"): "export the table as CSV",
}
_COLUMN = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)=(.+)")
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_CATALOGUES = ("items", "movies", "products", "articles", "books", "catalogue", "catalog")
_PEOPLE = ("users", "user", "customers", "customer", "members", "member")
_OTHERS = (
    "readme", "license", "licence", "tags", "links", "genome-scores", "genome-tags", "category_tree",
    "item_properties_part1", "item_properties_part2",
)  # fmt: skip


class Part(StrEnum):
    """Role of a file in a drop."""

    INTERACTIONS = "interactions"
    CATALOGUE = "catalogue"
    LEFT_OUT = "left out"
    """Known to be something else, such as `users.csv`."""
    UNSUPPORTED = "unsupported"
    HIDDEN = "hidden"
    """A part of the path starts with `_`, `.` or `~$`, as a spreadsheet's lock does."""


def compression_of(name: str) -> str | None:
    """`gzip`, `bzip2` or `zstd` by the file's ending; None without such an ending."""
    return next((kind for ending, kind in COMPRESSED_ENDINGS.items() if name.lower().endswith(ending)), None)


def ending_of(name: str) -> str:
    """The ending that is read, with that of its compression (`.csv.gz`), in lower case; an empty string for others."""
    lowered = name.lower()
    if lowered.endswith(PARQUET_ENDING):
        return PARQUET_ENDING
    packed = next((ending for ending in COMPRESSED_ENDINGS if lowered.endswith(ending)), "")
    plain = lowered.removesuffix(packed)
    return next((ending + packed for ending in TEXT_ENDINGS if plain.endswith(ending)), "")


def remedy(name: str) -> str:
    """Return what makes a file with an ending that is not read one that is, as the end of a sentence."""
    lowered = name.lower()
    words = next((words for endings, words in _REMEDIES.items() if lowered.endswith(endings)), None)
    return (words or "convert it to one of: {supported}").format(file=name, supported=SUPPORTED)


def stem_of(name: str) -> str:
    """The name without its ending, in lower case: `items` for `Items.csv.gz`."""
    return name.lower()[: len(name) - len(ending_of(name))]


def folder_columns(path: str) -> dict[str, str]:
    """Columns in the names of a file's folders, as Hive, Athena and Spark write them: `date=2024-01-31/part-0.csv`."""
    found = (_COLUMN.fullmatch(part) for part in path.split("/")[:-1])
    return {column[1]: unquote(column[2]) for column in found if column and column[2] != _NO_VALUE}


def is_hidden(path: str) -> bool:
    """True if a file is not data: a part of its path starts with `_`, `.` or `~$`."""
    return any(part.startswith(("_", ".", "~$")) for part in path.split("/"))


def is_catalogue(name: str) -> bool:
    """True if a file of this name is read as the catalogue."""
    ending = ending_of(name)
    return bool(ending) and (stem_of(name) in _CATALOGUES or ending.startswith(".item"))


def parts(paths: Iterable[str]) -> dict[str, Part]:
    """The part of each path of a drop. Files that are known to be something else are interactions if no other file is:
    a shop may call its only file `users.csv`.
    """
    found = {path: _part(path) for path in paths}
    if Part.INTERACTIONS not in found.values():
        return {
            path: Part.INTERACTIONS if part is Part.LEFT_OUT and _stem(path) not in ("readme", "license", "licence")
            else part for path, part in found.items()
        }  # fmt: skip
    return found


def _part(path: str) -> Part:
    name = path.rsplit("/", 1)[-1]
    if is_hidden(path):
        return Part.HIDDEN
    if not ending_of(name):
        return Part.UNSUPPORTED
    if is_catalogue(name):
        return Part.CATALOGUE
    return Part.LEFT_OUT if stem_of(name) in _PEOPLE + _OTHERS else Part.INTERACTIONS


def _stem(path: str) -> str:
    return stem_of(path.rsplit("/", 1)[-1])
