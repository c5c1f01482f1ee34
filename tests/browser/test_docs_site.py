"""The docs site (`make docs`) in a real browser: it builds without a warning, and needs nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.timeout(1800)  # a build is 17 s of processor time, on a busy machine many times that

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    build = [str(ROOT / ".envs" / "docs" / "bin" / "sphinx-build"), "--quiet", "--fail-on-warning", "--keep-going"]
    result = subprocess.run(
        [*build, "-c", "docs", "-d", str(folder / "doctrees"), ".", str(folder / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr) == (0, "")
    return folder / "site"


def pages(site: Path) -> list[Path]:
    """All pages except the first, which only leads to docs/index.html."""
    return sorted(set(site.glob("**/*.html")) - {site / "index.html"})


def with_pictures(site: Path) -> list[Path]:
    return [path for path in pages(site) if 'class="mermaid"' in path.read_text("utf-8")]


def test_every_page_is_in_the_navigation_and_no_link_is_broken(site: Path) -> None:
    front = (site / "docs" / "index.html").read_text("utf-8")
    names = [path.relative_to(site).as_posix() for path in (site / "docs").glob("*/*.html")]
    missing = [name for name in names if name.removeprefix("docs/") not in front and name != "docs/index.html"]
    assert names and missing == []
    broken = []
    for page in pages(site):
        for target in re.findall(r'(?:href|src)="([^"#?]+)[^"]*"', page.read_text("utf-8")):
            if not re.match(r"[a-z]+:", target) and not (page.parent / target).exists():
                broken.append((page.relative_to(site).as_posix(), target))
    assert broken == []


def test_mermaid_is_drawn_without_a_network_and_again_for_the_other_theme(site: Path, browser: Browser) -> None:
    drawn = with_pictures(site)
    assert drawn
    context = browser.new_context(offline=True, color_scheme="dark")
    page, asked, wrong = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    for path in drawn:
        page.goto(path.as_uri())
        page.wait_for_function("[...document.querySelectorAll('pre.mermaid')].every(x => x.querySelector('svg'))")
        assert page.locator("pre.mermaid svg[aria-roledescription=error]").count() == 0
    dark = page.locator("pre.mermaid").first.inner_html()
    page.emulate_media(color_scheme="light")
    page.wait_for_function("dark => document.querySelector('pre.mermaid').innerHTML !== dark", arg=dark)
    page.wait_for_selector("pre.mermaid svg")
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert wrong == []
    context.close()


def test_the_search_finds_a_page(site: Path, page: Page) -> None:
    page.goto(f"{(site / 'search.html').as_uri()}?q=incumbent")
    page.wait_for_selector("ul.search li a")
    page.locator("ul.search li a").first.click()
    assert "incumbent" in page.locator("article").inner_text().lower()


def test_no_page_is_wider_than_a_telephone(site: Path, page: Page) -> None:
    page.set_viewport_size({"width": 400, "height": 900})
    wide = []
    for path in pages(site):
        page.goto(path.as_uri(), wait_until="domcontentloaded")
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            wide.append(path.relative_to(site).as_posix())
    assert wide == []
