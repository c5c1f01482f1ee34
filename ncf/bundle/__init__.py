"""The model bundle: all files that a server needs, without pickle. Every file is checked when it is read.

`docs/reference/contracts.md` describes the files; `contracts/bundle.schema.json` is the schema of `bundle.json`.
"""

from ncf.bundle.archive import extract
from ncf.bundle.format import (
    CATEGORIES,
    GOLDEN,
    ITEMS,
    MANIFEST,
    MEMBERS,
    NAMES,
    POPULARITY,
    SCHEMA_VERSION,
    SEEN,
    USERS,
    WEIGHTS,
    BrokenBundle,
    encode_json,
)
from ncf.bundle.reading import Bundle, load
from ncf.bundle.writing import write

__all__ = [
    "CATEGORIES",
    "GOLDEN",
    "ITEMS",
    "MANIFEST",
    "MEMBERS",
    "NAMES",
    "POPULARITY",
    "SCHEMA_VERSION",
    "SEEN",
    "USERS",
    "WEIGHTS",
    "BrokenBundle",
    "Bundle",
    "encode_json",
    "extract",
    "load",
    "write",
]
