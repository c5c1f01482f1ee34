"""The model bundle: everything that a server needs, in a few files without pickle, each checked when it is read.

The names are those of `docs/contracts.md`; the schema of `bundle.json` is `contracts/bundle.schema.json`.
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
