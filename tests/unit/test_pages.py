"""The files, names, commands and links in the pages for engineers exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = [path for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")]
LINKING = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("laptop_aws/**/*.md")})
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
LINK = re.compile(r"\[[^\]]*\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)")
PICTURE = re.compile(r'(?:src|srcset)="(?!https?:)([^"]+)"')


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


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub and GitLab make it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


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
    linked = [path for path, _ in LINK.findall((HOW_TO / "index.md").read_text("utf-8")) if "/" not in path]
    pages = {page.name for page in HOW_TO.glob("*.md")} - {"index.md"}
    assert sorted(linked) == sorted(pages)


def test_a_name_that_is_gone_is_found() -> None:
    assert missing_names("`judge` and `acquit` in `functions/evaluate/gate.py`") == [
        "acquit in functions/evaluate/gate.py",
        "acquit",
    ]
    assert missing_names("`functions/evaluate/gate.py` has `judge`, `convict`") == ["convict"]
    assert not exists("functions/evaluate/jury.py")


@pytest.mark.parametrize("page", LINKING, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    broken = [path for path in PICTURE.findall(page.read_text("utf-8")) if not (page.parent / path).exists()]
    for path, anchor in LINK.findall(re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)):
        target = page.parent / path if path else page
        if not target.exists():
            broken.append(path)
        elif anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.MULTILINE)
            if anchor not in {slug(heading) for heading in headings}:
                broken.append(f"{path}#{anchor}")
    assert broken == []


def test_the_list_of_decisions_has_each_one_by_its_title() -> None:
    """A page that is missing there, or has another title, is a line to add or mend in docs/decisions/index.md."""
    titled = re.compile(r"^# \d+[.:]? (.*)$", re.MULTILINE)
    pages = {page.name: titled.match(page.read_text("utf-8")) for page in DECISIONS.glob("[0-9]*.md")}
    listed = re.findall(
        r"^\| (\d{4}) \| \[(.*)\]\((.*)\) \| \S", (DECISIONS / "index.md").read_text("utf-8"), re.MULTILINE
    )
    assert sorted(listed) == sorted((name[:4], title and title[1], name) for name, title in pages.items())
