"""Code speaks plain English: the rules are in tests/plain_words.py, and here is what they catch."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests import plain_words
from tests.plain_words import in_lines, in_markdown, in_python

QUOTES = {  # plain-words: quoted
    "What of the logits depends on the user alone": "The user's part of the logits",  # plain-words: quoted
    "For whoever is woken up.": "For whoever is on call.".replace("whoever", "the person"),  # plain-words: quoted
    "Requests in the house, at most.": "Maximum requests in flight.",  # plain-words: quoted
    "what is told of its end is so no more": "Clears the recorded end.",  # plain-words: quoted
    "Whether it is so in any process. All must ask.": "True if any process says so.",  # plain-words: quoted
    "So long may the endpoint take": "Time budget of a request, in milliseconds",  # plain-words: quoted
    "endpoint's fleet seen to": "endpoint scaling updated",  # plain-words: quoted
    "awaited: nothing": "waiting for: nothing",  # plain-words: quoted
    "it changed by +0.01 at the least": "it changed by at least +0.01",  # plain-words: quoted
}
"""What was written once, and its plain form."""


@pytest.mark.parametrize(("before", "after"), QUOTES.items(), ids=QUOTES.values())
def test_the_plain_form_passes_and_the_other_does_not(before: str, after: str) -> None:
    for text, expected in ((before, True), (after, False)):
        sources = (
            f"'''{text}'''\n",
            f"x = 1\n# {text}\n",
            f'raise ValueError("{text}")\n',
            f'def f():\n    """{text}"""\n',
        )
        assert [bool(list(in_python("x.py", source))) for source in sources] == [expected] * 4
        assert bool(list(in_lines("x.yaml", f"    Description: {text}\n"))) is expected
        assert bool(list(in_lines("x.yaml", f"  # {text}\n"))) is expected


def test_a_sentence_over_two_lines_is_read_as_one() -> None:
    found = list(in_python("x.py", "x = 1\n# It may be that\n# this is\n# so.\n"))  # plain-words: quoted
    assert [(one.line, one.words) for one in found] == [(2, "this is so")]  # plain-words: quoted


def test_a_docstring_begins_with_a_noun_or_a_verb() -> None:
    assert [one.line for one in in_python("x.py", 'def f():\n    """What the ledger says."""\n')] == [2]
    assert not list(in_python("x.py", 'def f():\n    """Entries of the ledger."""\n'))


def test_names_are_nouns_and_verbs_of_the_field() -> None:
    found = [one.words for one in in_python("x.py", "def a_user_s(world): ...\nclass Wish: ...\n")]
    assert found == ["a_user_s", "Wish", "world"]


def test_words_that_are_quoted_on_purpose_pass() -> None:
    assert not list(in_python("x.py", "x = 1  # in the house; plain-words: quoted\n"))


def test_markdown_is_read_without_its_code_and_has_at_most_100_columns() -> None:
    wide = "word " * 21
    link = f"[{'word ' * 10}](https://example.com/{'x' * 80})"
    who = "whoever"
    text = f"For {who}.\n\n`{who}`\n\n```text\n{who} {wide}\n```\n\n{wide}\n\n{link}\n\n| a |\n|---|\n| {wide} |\n"
    found = [(one.line, one.advice.split(":")[0]) for one in in_markdown("page.md", text)]
    assert found == [(1, "name the reader"), (9, "105 columns")]
    assert not list(in_markdown("page.md", f"For {who}. <!-- plain-words: quoted -->\n"))
    assert not list(in_markdown("CHANGELOG.md", f"- {wide}\n")) and list(in_markdown("CHANGELOG.md", f"{wide}\n"))


def test_all_code_and_prose_passes(pytestconfig: pytest.Config) -> None:
    """A file that passed is not read again until it or the rules change."""
    cache, rules = pytestconfig.cache, Path(plain_words.__file__).read_bytes()
    assert cache is not None
    passed = set(cache.get("plain_words/passed", []))
    digests = {path: hashlib.sha256(rules + path.read_bytes()).hexdigest() for path in plain_words.files([])}
    found = {path: plain_words.in_file(path) for path, digest in digests.items() if digest not in passed}
    cache.set("plain_words/passed", sorted({digest for path, digest in digests.items() if not found.get(path)}))
    findings = [finding for of_file in found.values() for finding in of_file]
    assert not findings, "\n".join(str(finding) for finding in findings)
