"""The settings of the docs site (`make docs`): Sphinx with MyST, from the Markdown files as they are.

Sphinx's source folder is the root of the repository, so that a link from one Markdown file to any other file holds on
the site as it does in the repository. The navigation is made of the files that are there: a new page needs no line.
"""

from __future__ import annotations

import html
import os
import posixpath
import re
import shutil
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from pygments.lexers import TextLexer
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
REPOSITORY = (os.environ.get("REPOSITORY_URL") or os.environ.get("CI_PROJECT_URL") or "").rstrip("/")
"""Where the repository can be read, as https://git.example.com/shop/recommender. Without it, the site carries a copy of
each file that a page links to, and a link to a folder is its text alone."""

project = "Recommender"
html_title = project
root_doc = "docs/index"
include_patterns = [
    "docs/**.md",
    "laptop_aws/**.md",
    "examples/README.md",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
]
exclude_patterns = [".*", "node_modules", "site"]
extensions = ["myst_parser"]
myst_heading_anchors = 6
html_theme = "furo"
html_static_path = ["site", "../.envs/docs/mermaid"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
pygments_style = "tango"
pygments_dark_style = "github-dark"

PARTS = {
    "Tutorial": ["docs/tutorial"],
    "How-to": ["docs/how-to/index", "docs/how-to/*", "docs/deploying", "docs/local-mode"],
    "On call": ["docs/on-call", "docs/faults"],
    "Reference": ["docs/reference/index", "docs/reference/*"],
    "Explanation": ["docs/explanation/index", "docs/explanation/*", "docs/decisions/index"],
    "The embedded AWS": ["laptop_aws/README", "laptop_aws/docs/*", "laptop_aws/CHANGELOG"],
    "Project": ["docs/*", "*", "examples/README"],
}
"""The navigation: captions, and the pages below each in this order; those of one pattern by title."""


def _title(page: str) -> str:
    """The first heading of a page."""
    found = re.search(r"^# (.+)$", (ROOT / f"{page}.md").read_text("utf-8"), re.MULTILINE)
    return found[1].lower() if found else page


@cache
def parts(pages: frozenset[str]) -> dict[str, list[str]]:
    """The pages of each part; each page is in the first part that has it by name, else in the first that matches."""
    left = pages - {root_doc}
    named = {page for patterns in PARTS.values() for page in patterns}
    found: dict[str, list[str]] = {caption: [] for caption in PARTS}
    for caption, patterns in PARTS.items():
        for pattern in patterns:
            expression = re.compile(re.escape(pattern).replace(r"\*", "[^/]*"))
            here = {page for page in left if expression.fullmatch(page) and (page == pattern or page not in named)}
            found[caption] += sorted(here, key=_title)
            left -= here
    return found


def below(parent: str, pages: frozenset[str]) -> list[str]:
    """The pages of no part, as the decisions: they stand below their folder's `index`, or the page of its name."""
    in_a_part = {page for some in parts(pages).values() for page in some} | {root_doc}
    folder = parent.removesuffix("/index")
    return sorted(page for page in pages if page not in in_a_part and posixpath.dirname(page) == folder)


def _toctree(pages: Iterable[str], *options: str) -> str:
    return "\n".join(["", "```{toctree}", *options, *(f"/{page}" for page in pages), "```", ""])


def _add_navigation(app: Sphinx, page: str, source: list[str]) -> None:
    """The front page carries the navigation; a page with others below it, theirs."""
    pages = frozenset(app.project.docnames)
    if page == root_doc:
        source[0] += "".join(
            _toctree(some, ":hidden:", f":caption: {part}") for part, some in parts(pages).items() if some
        )
    elif pages_below := below(page, pages):
        source[0] += _toctree(pages_below, ":hidden:")


def _read_again(app: Sphinx, *_: object) -> list[str]:
    """A page that is new changes those that carry the navigation."""
    pages = frozenset(app.project.docnames)
    return [page for page in pages if page == root_doc or below(page, pages)]


class LinksToOtherFiles(SphinxTransform):
    """A link to a folder or to a file that is no page: to the repository, if its address is known."""

    default_priority = 5

    def apply(self, **_: Any) -> None:
        for kind in (addnodes.download_reference, addnodes.pending_xref):
            for node in list(self.document.findall(kind)):
                self._lead(node)

    def _lead(self, node: nodes.Element) -> None:
        target = node["reftarget"].split("#")[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(self.env.docname), target))
        if node.get("refdomain") or not target or not (ROOT / path).exists():
            return
        front = next((page for page in (f"{path}/index", f"{path}/README") if page in self.env.found_docs), None)
        if front:
            node.replace_self(_link(node, self.env.app.builder.get_relative_uri(self.env.docname, front)))
        elif REPOSITORY:
            node.replace_self(_link(node, f"{REPOSITORY}/blob/HEAD/{path}"))
        elif (ROOT / path).is_dir():
            node.replace_self(node.children)


def _link(node: nodes.Element, address: str) -> nodes.reference:
    return nodes.reference("", "", *node.children, refuri=address, internal=False)


def _draw(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Blocks of Mermaid become pictures in the browser."""
    for block in list(doctree.findall(nodes.literal_block)):
        if block.get("language") == "mermaid":
            text = f'<pre class="mermaid">{html.escape(block.astext())}</pre>'
            block.replace_self(nodes.raw("", text, format="html"))


def _add_mermaid(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Mermaid is 5.5 MB: only pages with a picture load it."""
    if 'class="mermaid"' in context.get("body", ""):
        app.add_js_file("mermaid.min.js")
        app.add_js_file("site.js")


def _finish(app: Sphinx, error: Exception | None) -> None:
    """The site begins at its front page, and has the pictures that pages name in HTML."""
    if error is None and app.builder.format == "html":
        (app.outdir / "index.html").write_text(
            f'<!doctype html><title>{project}</title><meta http-equiv="refresh" content="0; url={root_doc}.html">\n',
            "utf-8",
        )
        shutil.copytree(DOCS / "pictures", app.outdir / "docs" / "pictures", dirs_exist_ok=True)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_lexer("http", TextLexer)  # Pygments' own wants a version and headers, which our examples leave out
    app.add_transform(LinksToOtherFiles)
    app.connect("env-get-outdated", _read_again)
    app.connect("source-read", _add_navigation)
    app.connect("doctree-resolved", _draw)
    app.connect("html-page-context", _add_mermaid)
    app.connect("build-finished", _finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
