"""The layout of a text file, from its first bytes."""

import json
import re

import pytest

from contracts import layouts
from contracts.layouts import Unreadable, find


@pytest.mark.parametrize(
    ("start", "names"),
    [
        (b"user_id,item_id,timestamp\r\n1,2,3\r\n", ("user_id", "item_id", "timestamp")),
        ("\ufeffuser_id, item_id\n".encode(), ("user_id", "item_id")),
        (b'\n\n"user, id","say ""hi"""\n', ("user, id", 'say "hi"')),
        (b"caf\xe9;b\nx;y\n", ("café", "b")),
        (b",user_id,item_id\n0,a,b\n", ("", "user_id", "item_id")),
        (b",0,1,2\n0,a,b,1700000000\n", ("", "0", "1", "2")),
        (b"user_id:token\titem_id:token\tts:float\n1\t2\t3.5\n", ("user_id", "item_id", "ts")),
        (b"1::2::5::978300760\n", ("1", "2", "3", "4")),
        (b"ann;tea;2020-01-01\n", ("1", "2", "3")),
        (b"who\nann\n", ("who",)),
        (b"", ()),
        (b"\n \n", ()),
    ],
)
def test_finds_the_names_of_the_columns(start: bytes, names: tuple[str, ...]) -> None:
    assert find(start, "a.csv").names == names


@pytest.mark.parametrize(
    ("start", "separator", "is_quoted"),
    [
        ("a,b,c\n1,2,3\n", ",", True),
        ("a;b;c\n1,5;2,5;3\n", ";", True),
        ("userId,movieId,genres\n1,2,Comedy|Drama\n3,4,Drama|War\n", ",", True),
        ('a\tb\n1\t12" disc\n', "\t", False),
        ('"a"\t"b"\n"1"\t"2"\n', "\t", True),
        ("a|b|c\n1|2|x, y\n", "|", False),
        ("1::2::3::4\n", "::", False),
        ("2020-01-01 10:00:00,ann,tea\n", ",", True),
    ],
)
def test_finds_the_separator_and_whether_fields_are_quoted(start: str, separator: str, is_quoted: bool) -> None:
    layout = find(start.encode(), "a.csv")
    assert (layout.separator, layout.is_quoted) == (separator, is_quoted)


def test_tells_latin_1_and_quoted_line_breaks() -> None:
    assert find("a;b\ncafé;1\n".encode("latin-1"), "a.csv").is_latin_1
    assert not find("a;b\ncafé;1\n".encode(), "a.csv").is_latin_1
    assert find(b'a,b\n1,"x\ny"\n', "a.csv").is_multiline
    assert not find(b'a,b\n1,"x"\n', "a.csv").is_multiline


def test_a_head_that_ends_inside_a_row_is_cut_there() -> None:
    text = "user_id,item_id\n" + "".join(f"{n},käse\n" for n in range(9_000))
    head = text.encode()[: layouts.HEAD_BYTES]
    for end in range(4):  # inside a letter, too
        layout = find(head[: len(head) - end], "a.csv", is_whole=False)
        assert (layout.is_latin_1, len(layout.rows)) == (False, layouts.ROWS)
    assert find(b'a,b\n1,2\n3,"cut\n', "a.csv", is_whole=False).rows == (("1", "2"),)


def test_json_lines_have_the_columns_of_all_lines() -> None:
    lines = [{"user": "a", "n": 1700000000}, {"user": None, "deep": {"x": 1}}]
    layout = find("\n".join(map(json.dumps, lines)).encode(), "a.jsonl")
    assert (layout.kind, layout.names, layout.has_header) == ("json", ("user", "n", "deep"), True)
    assert layout.rows == (("a", "1700000000", ""), ("", "", '{"x": 1}'))


@pytest.mark.parametrize(
    ("start", "name", "words"),
    [
        (b"\xff\xfeu\x00s\x00", "a.csv", "a.csv is UTF-16: convert it with iconv"),
        (b"PAR1\x00\x00", "a.csv", "a.csv is Parquet: give it the ending .parquet"),
        (b"\x1f\x8b\x08\x00", "a.csv", "a.csv is compressed with gzip: give it the ending .gz"),
        (b"PK\x03\x04", "a.csv", "a.csv is a zip archive or a spreadsheet"),
        (b"a,\x00b", "a.csv", "a.csv is not text: it has a NUL byte"),
        (b'[{"user": 1}]', "a.json", "a.json is one JSON list, not one object a line: convert it with jq"),
        (b'{\n "user": 1\n}\n', "a.json", "a.json has no JSON object on a line of its own"),
        ('{"user": "é"}'.encode("latin-1"), "a.json", "a.json is JSON, but not UTF-8"),
    ],
)
def test_says_what_a_file_is_that_cannot_be_read_and_what_to_do(start: bytes, name: str, words: str) -> None:
    with pytest.raises(Unreadable) as caught:
        find(start, name)
    assert str(caught.value).startswith(words)


def test_a_line_without_an_end_is_no_row() -> None:
    with pytest.raises(Unreadable, match="no line break in its first 9 bytes"):
        find(b"x" * 9, "a.csv", is_whole=False)


@pytest.mark.parametrize("line", ["", "a,b", 'a,"b, c",d', '"say ""hi""",', 'a 12" disc,b', '"a"b,c', '"",""', ',"",'])
def test_a_line_whose_quotes_close_is_complete(line: str) -> None:
    assert re.match(layouts.complete_line(","), line)


@pytest.mark.parametrize("line", ['a,"b', '"', 'a,"b ""', '"a","b', 'a,"b, c'])
def test_a_line_with_an_open_quote_is_not_complete(line: str) -> None:
    assert not re.match(layouts.complete_line(","), line)
