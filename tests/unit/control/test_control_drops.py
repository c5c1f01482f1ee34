"""A drop is closed by its marker, which is written last."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from control.drops import drop, name_of

NOW = datetime(2026, 11, 29, 16, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("file_name", "stem"),
    [("ratings.csv.gz", "ratings"), ("mes données (2).csv", "mes-donn-es-2"), ("…", "drop"), ("a" * 99, "a" * 40)],
)
def test_a_drop_is_named_after_its_first_file_and_the_time(file_name: str, stem: str) -> None:
    assert name_of(file_name, NOW) == f"{stem}-20261129t160005z"


def test_the_marker_is_written_last_so_that_a_cut_upload_starts_nothing() -> None:
    action = drop("data", "d", {"ratings.csv": b"u,i", "movies.csv": b"i,t"})
    assert [(call.method, call.parameters["Key"], call.parameters["Body"]) for call in action.calls] == [
        ("put_object", "raw/d/ratings.csv", b"u,i"),
        ("put_object", "raw/d/movies.csv", b"i,t"),
        ("put_object", "raw/d/_SUCCESS", b""),
    ]
    assert "6 bytes" in action.consequences[0]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "at least one file"),
        ({"a.csv": b""}, "a.csv is empty"),
        ({"../a.csv": b"x"}, "file name '../a.csv' must be"),
        ({"_SUCCESS": b"x"}, "file name '_SUCCESS' must be"),
        ({"<script>.csv": b"x"}, "must be 1 to 128"),
    ],
)
def test_what_cannot_be_a_drop_is_refused_before_anything_is_sent(files: dict[str, bytes], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        drop("data", "d", files)
