"""People, titles and histories are read from a model's archive without its weights."""

from __future__ import annotations

import io
import json
import tarfile
from array import array
from pathlib import Path
from typing import Any

import pytest

from contracts.forgotten import Forgotten, digest
from control import archive
from control.catalogue import FOUND, Catalogue, picture_of

SCRIPT = "<script>alert(1)</script>"
LONG = "x" * 10_000
TITLES = ["Heat (1995)", "The Heat (2013)", SCRIPT, LONG, "Dead Heat\nof Night", None]
USERS = ["42", "142", "\x7fforgotten-2", SCRIPT, "secret"]
KEY = "ab" * 32


def tensors(**columns: tuple[str, array[Any]]) -> bytes:
    header, data = {}, b""
    for name, (kind, values) in columns.items():
        content = values.tobytes()
        header[name] = {"dtype": kind, "shape": [len(values)], "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data


def members() -> dict[str, bytes]:
    texts = [json.dumps({"title": title, "category": "Crime"}).encode() for title in TITLES]
    offsets = array("q", [0])
    for text in texts:
        offsets.append(offsets[-1] + len(text))
    found = {
        "item_fields.safetensors": tensors(offsets=("I64", offsets), data=("U8", array("B", b"".join(texts)))),
        "item_ids.json": json.dumps([f"i{index}" for index in range(len(TITLES))]).encode(),
        "popularity.safetensors": tensors(interactions=("I64", array("q", [5, 9, 1, 1, 7, 0]))),
        "seen.safetensors": tensors(
            indptr=("I64", array("q", [0, 3, 4, 4, 5, 6])), indices=("I32", array("i", [0, 1, 4, 2, 3, 0]))
        ),
        "user_ids.json": json.dumps(USERS).encode(),
    }
    return {"bundle.json": json.dumps({"members": {name: {} for name in found}}).encode(), **found}


def packed(contents: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as tar:
        for name, content in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return target.getvalue()


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    archive.extract(io.BytesIO(packed(members())), tmp_path)
    return Catalogue(tmp_path)


def test_titles_are_found_without_regard_to_case_those_that_begin_so_first(catalogue: Catalogue) -> None:
    found, has_more = catalogue.search_items("hEAt")
    assert [item.title for item in found] == ["Heat (1995)", "The Heat (2013)", "Dead Heat\nof Night"]
    assert not has_more
    assert [item.item_id for item in catalogue.search_items("night dead")[0]] == ["i4"]
    assert [item.item_id for item in catalogue.search_items("i3")[0]] == ["i3"]
    assert catalogue.search_items("nothing like it") == ([], False)
    assert catalogue.search_items("   ") == ([], False)


def test_hostile_and_long_titles_are_texts(catalogue: Catalogue) -> None:
    assert [item.title for item in catalogue.search_items(SCRIPT)[0]] == [SCRIPT]
    assert [len(item.title) for item in catalogue.search_items("x" * 256)[0]] == [10_000]
    assert catalogue.item("i5").title == "i5"
    assert catalogue.item(SCRIPT).title == SCRIPT


def test_a_history_is_what_the_person_chose_the_least_popular_first(catalogue: Catalogue) -> None:
    assert [item.item_id for item, _ in catalogue.chosen_by("42")] == ["i0", "i4", "i1"]
    assert (catalogue.number_chosen("42"), catalogue.number_chosen("stranger")) == (3, 0)
    assert catalogue.chosen_by("stranger") == []
    assert catalogue.knows_person("42") and not catalogue.knows_person("\x7fforgotten-2")


def test_people_are_found_the_exact_one_first_and_nobody_who_was_forgotten(catalogue: Catalogue) -> None:
    assert catalogue.search_people("42") == (["42", "142"], False)
    assert catalogue.search_people(SCRIPT)[0] == [SCRIPT]
    assert catalogue.search_people("forgotten")[0] == []
    assert catalogue.search_people("secret")[0] == ["secret"]
    gone = Forgotten(KEY, frozenset({digest(KEY, "secret")}))
    assert catalogue.search_people("secret", gone)[0] == []


def test_a_search_is_bounded_and_says_that_there_is_more(tmp_path: Path) -> None:
    contents = members()
    contents["user_ids.json"] = json.dumps([f"u{index}" for index in range(500)]).encode()
    contents["seen.safetensors"] = tensors(indptr=("I64", array("q", [0] * 501)), indices=("I32", array("i", [0])))
    archive.extract(io.BytesIO(packed(contents)), tmp_path)
    found, has_more = Catalogue(tmp_path).search_people("u")
    assert (len(found), has_more) == (FOUND, True)


def test_the_download_ends_before_the_weights(tmp_path: Path) -> None:
    whole = packed({**members(), "weights.safetensors": bytes(range(256)) * 50_000})

    class Source(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            assert self.tell() < len(whole) - 8192, "the weights were read"
            return super().read(size)

    archive.extract(Source(whole + b"x" * 200_000), tmp_path)
    assert not (tmp_path / "weights.safetensors").exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("seen.safetensors", b"\xff" * 64, "seen.safetensors of the model's archive cannot be read"),
        ("item_ids.json", b'["a", 1]', "item_ids.json of the model's archive is not a list of ids"),
        ("user_ids.json", b'["a"]', "contradicts itself"),
    ],
)
def test_a_broken_archive_is_told_by_its_member(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    archive.extract(io.BytesIO(packed({**members(), name: content})), tmp_path)
    with pytest.raises(archive.Unusable, match=words):
        Catalogue(tmp_path)


def test_an_archive_that_lacks_ids_or_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(archive.Unusable, match=r"lacks item_ids\.json, user_ids\.json"):
        archive.extract(io.BytesIO(packed({"seen.safetensors": b""})), tmp_path)
    with pytest.raises(archive.Unusable, match="cannot be read"):
        archive.extract(io.BytesIO(b"no archive"), tmp_path)


@pytest.mark.parametrize(
    ("fields", "picture"),
    [
        ({"image": "https://pictures.example/1"}, "https://pictures.example/1"),
        ({"url": "http://pictures.example/1.JPG"}, "http://pictures.example/1.JPG"),
        ({"url": "https://shop.example/product/1"}, None),
        ({"image": "javascript:alert(1)//.jpg"}, None),
        ({"image": "javascript://x.example/%0aalert(1).jpg"}, None),
        ({"image": "ftp://x.example/1.jpg"}, None),
        ({"image": "data:image/png;base64,AA"}, None),
        ({"image": "https://user:pass@host.example/1.jpg"}, None),
        ({"image": 'https://x.example/1.jpg" onerror="alert(1)'}, None),
        ({"image": "https://[bad/1.jpg"}, None),
        ({"image": 7}, None),
    ],
)
def test_a_picture_is_a_web_address_and_nothing_else(fields: dict[str, Any], picture: str | None) -> None:
    assert picture_of(fields) == picture
