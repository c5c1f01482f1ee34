"""Drops the rows of people whom the shop has forgotten, and leaves no text of their ids in the id map."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

import identifiers
import sessions
from contracts.documents import Unfit
from contracts.forgotten import NOBODY, PLACEHOLDER, Forgotten
from refusal import PreparationFailed
from storage import Storage

#: Bytes of a block of SHA-256, to which HMAC pads the key (RFC 2104).
_BLOCK = 64
#: What is between two fields of a line that could not be read.
BETWEEN_FIELDS = r"[,;|:\t\"]"
_LARGEST = 2**31 - 1


def read(storage: Storage, uri: str | None) -> Forgotten:
    """The forgotten people; nobody without a document. Raises PreparationFailed if it cannot be used, because a
    preparation that does not know whom to forget must not write.
    """
    if uri is None or not storage.exists(uri):
        return NOBODY
    try:
        return Forgotten.from_json(storage.read_start(uri, _LARGEST), uri)
    except Unfit as error:
        raise PreparationFailed(str(error)) from error


def drop_rows(parsed: DataFrame, people: Forgotten) -> tuple[DataFrame, int]:
    """The rows of `cleaning.parse` without those of forgotten people, and how many those were: also what they did in a
    session before they logged in. A row that could not be read is of a person whose id is one of its fields.
    """
    if not people.people:
        return parsed, 0
    fields = F.split("raw.line", BETWEEN_FIELDS)
    is_theirs = is_of(F.col("user_id"), people) | is_among(fields, people)
    marked = parsed.withColumn("is_theirs", is_theirs).persist()
    if sessions.COLUMN in marked.columns:
        marked = sessions.with_visits(marked)
    return marked.where(~F.col("is_theirs")).drop("is_theirs"), marked.where("is_theirs").count()


def is_of(user_id: Column, people: Forgotten) -> Column:
    """True where the text is the id of a forgotten person. In a column of fractions, 7.0 is 7
    (`cleaning.settle`).
    """
    text = identifiers.of(user_id)
    texts = F.array(text, F.regexp_replace(text, r"\.0+$", ""))
    return F.coalesce(F.exists(texts, lambda one: _is_theirs(one, people)), F.lit(False))


def is_among(fields: Column, people: Forgotten) -> Column:
    """True where one of an array of texts is the id of a forgotten person."""
    return F.coalesce(F.exists(fields, lambda field: _is_theirs(identifiers.of(field), people)), F.lit(False))


def without_ids(users: DataFrame, people: Forgotten) -> DataFrame:
    """The id map `user_index, user_id` with a placeholder in place of the ids of forgotten people."""
    if not people.people:
        return users
    placeholder = F.concat(F.lit(PLACEHOLDER), F.col("user_index").cast("string"))
    return users.withColumn(
        "user_id", F.when(_is_theirs(F.col("user_id"), people), placeholder).otherwise(F.col("user_id"))
    )


def _is_theirs(user_id: Column, people: Forgotten) -> Column:
    """True where the keyed hash of the id is of a forgotten person: `contracts.forgotten.digest` without Python."""
    key = bytes.fromhex(people.key).ljust(_BLOCK, b"\0")
    inner, outer = (F.lit(bytearray(byte ^ pad for byte in key)) for pad in (0x36, 0x5C))
    inside = F.unhex(F.sha2(F.concat(inner, user_id.cast("binary")), 256))
    return F.sha2(F.concat(outer, inside), 256).isin(*sorted(people.people))
