"""The files, names, commands and links in the pages for engineers exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests import samples

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = [path for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")]
HOW_TO = ROOT / "docs" / "how-to"
RECIPES = (
    "docs/how-to/add-a-hyperparameter.md",
    "docs/how-to/add-a-model.md",
    "docs/how-to/bring-an-attribute-to-the-answer.md",
    "docs/how-to/change-a-retry.md",
    "docs/how-to/change-the-answer.md",
)
GUIDES = ("docs/where.md", "docs/reference/functions.md", "CONTRIBUTING.md", *RECIPES)
DECISIONS = ROOT / "docs" / "decisions"
EXAMPLE = "hello"
"""The function that docs/reference/functions.md adds as an example."""

CODE = re.compile(r"`([^`\n]+)`")
NAME = re.compile(r"[A-Za-z_]\w*")
FILE = re.compile(r"[\w-][\w.-]*(/[\w.-]+)+/?|[\w-]+\.(json|md|py|toml|txt|yaml)")
PAIR = re.compile(r"((?:`\w+`(?:, | and |, and | or ))*`\w+`) in `([^`]+)`")
IN_HTML = re.compile(r"""\b(?:href|src|srcset)=["']([^"']+)["']""")


def files_in(text: str) -> list[str]:
    """The paths in the code spans of a text."""
    words = [word for code in CODE.findall(text) for word in code.split()]
    return [word for word in words if FILE.fullmatch(word) and EXAMPLE not in word]


def exists(file: str) -> bool:
    """True if there is such a path; a name without a folder may be in any folder."""
    return (ROOT / file).exists() or ("/" not in file and any(any(folder.rglob(file)) for folder in FOLDERS))


def names_of(file: str) -> set[str]:
    """Names that a Python file defines or imports; the words of another file."""
    text = (ROOT / file).read_text("utf-8")
    return set(_defined(ast.parse(text))) if file.endswith(".py") else set(NAME.findall(text))


def _defined(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names)


def missing_names(line: str) -> list[str]:
    """The names in a line that the files in it lack: of `a` and `b` in `file` that file, of other names all files."""
    missing = [
        f"{name} in {file}"
        for names, file in PAIR.findall(line)
        for name in CODE.findall(names)
        if exists(file) and name not in names_of(file)
    ]
    known = {name for file in files_in(line) if (ROOT / file).is_file() for name in names_of(file)}
    return missing + [name for name in CODE.findall(line) if NAME.fullmatch(name) and name not in known]


@cache
def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and GitLab make them: the second of the same name ends with -1."""
    tokens = MarkdownIt("commonmark").parse(text)
    made: dict[str, None] = {}
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            words = "".join(child.content for child in inline.children or [])
            plain = re.sub(r"[^\w\- ]", "", words.strip().lower()).replace(" ", "-")
            number = sum(1 for anchor in made if re.fullmatch(rf"{re.escape(plain)}(-\d+)?", anchor))
            made[f"{plain}-{number}" if plain in made else plain] = None
    return set(made) | set(re.findall(r"<a (?:id|name)=[\"']([^\"']+)", text))


def targets(text: str) -> Iterator[str]:
    """All that a page links to or shows: links, pictures, and those in HTML with each size of a picture."""
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        yield from _targets(token)


def _targets(token: Token) -> Iterator[str]:
    if token.type in ("html_block", "html_inline"):
        for value in IN_HTML.findall(token.content):
            yield from (part.split()[0] for part in value.split(",") if part.strip())
    for name in ("href", "src"):
        if (value := token.attrGet(name)) is not None:
            yield str(value)
    for child in token.children or []:
        yield from _targets(child)


def broken(page: Path, text: str) -> list[str]:
    """The targets inside the repository that are not there, and anchors that no heading has."""
    missing = []
    for target in targets(text):
        path, _, anchor = unquote(target).partition("#")
        if re.match(r"[a-z]+:|//", target):
            continue
        found = page.parent / path
        if not found.exists():
            missing.append(target)
        elif anchor and found.is_file() and found.suffix != ".md":
            continue
        elif anchor and anchor not in anchors(found.read_text("utf-8") if path else text):
            missing.append(target)
    return missing


@pytest.mark.parametrize("page", GUIDES)
def test_the_files_and_commands_that_a_guide_names_exist(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    assert [file for file in files_in(text) if not exists(file)] == []
    makefile = (ROOT / "Makefile").read_text("utf-8")
    commands = {code.split()[1] for code in CODE.findall(text) if code.startswith("make ")}
    assert [name for name in sorted(commands) if not re.search(rf"^([\w ]* )?{name}( [\w ]*)?:", makefile, re.M)] == []


def test_every_name_in_where_to_look_is_in_its_file() -> None:
    lines = (ROOT / "docs" / "where.md").read_text("utf-8").splitlines()
    assert [missing for line in lines for missing in missing_names(line)] == []


@pytest.mark.parametrize("page", RECIPES)
def test_every_name_of_a_file_in_a_recipe_is_in_that_file(page: str) -> None:
    text = " ".join((ROOT / page).read_text("utf-8").split())
    pairs = [(name, file) for names, file in PAIR.findall(text) for name in CODE.findall(names) if exists(file)]
    assert [f"{name} in {file}" for name, file in pairs if name not in names_of(file)] == []


def test_the_index_has_each_recipe_once() -> None:
    linked = re.findall(r"\]\(([^/)#]+\.md)\)", (HOW_TO / "index.md").read_text("utf-8"))
    pages = {page.name for page in HOW_TO.glob("*.md")} - {"index.md"}
    assert sorted(linked) == sorted(pages)


def test_a_name_that_is_gone_is_found() -> None:
    assert missing_names("`judge` and `acquit` in `functions/evaluate/gate.py`") == [
        "acquit in functions/evaluate/gate.py",
        "acquit",
    ]
    assert missing_names("`functions/evaluate/gate.py` has `judge`, `convict`") == ["convict"]
    assert not exists("functions/evaluate/jury.py")


def test_the_list_of_decisions_has_each_one_by_its_title() -> None:
    """A page that is missing there, or has another title, is a line to add or mend in docs/decisions/index.md."""
    titled = re.compile(r"^# \d+[.:]? (.*)$", re.MULTILINE)
    pages = {page.name: titled.match(page.read_text("utf-8")) for page in DECISIONS.glob("[0-9]*.md")}
    listed = re.findall(
        r"^\| (\d{4}) \| \[(.*)\]\((.*)\) \| \S", (DECISIONS / "index.md").read_text("utf-8"), re.MULTILINE
    )
    assert sorted(listed) == sorted((name[:4], title and title[1], name) for name, title in pages.items())


def test_links_and_pictures_lead_somewhere() -> None:
    found = {page.relative_to(ROOT).as_posix(): broken(page, page.read_text("utf-8")) for page in samples.pages()}
    assert len(found) > 60
    assert {page: missing for page, missing in found.items() if missing} == {}


def test_a_broken_link_is_found() -> None:
    text = """# One `word`: two
## Twice
## Twice
[right](README.md#nowhere-at-all) [here](#one-word-two) [second](#twice-1) [third](#twice-2) ![](docs/no.png)
<picture><source srcset="docs/no-dark.png 2x, LICENSE"><img src="docs/neither.png"></picture>
[out](https://example.com/none) [code](Makefile#L3)
"""
    assert broken(ROOT / "page.md", text) == [
        *("README.md#nowhere-at-all", "#twice-2", "docs/no.png"),
        *("docs/no-dark.png", "docs/neither.png"),
    ]
