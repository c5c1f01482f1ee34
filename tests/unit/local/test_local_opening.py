"""`open` prints addresses and opens a browser where there is one; a shell can take the variables of `env`."""

from __future__ import annotations

import io
import subprocess
import webbrowser
from pathlib import Path
from typing import Any

import pytest
import rich.console

from control import own_link
from local import opening
from local.console import Show
from local.project import Problem, Project

OUTPUTS = {"ApiId": "abc"}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path, tmp_path / "state", 4599)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that a browser is asked to show."""
    addresses: list[str] = []
    monkeypatch.setattr(webbrowser, "open", addresses.append)
    monkeypatch.setattr(opening, "has_browser", lambda environment, platform: True)
    monkeypatch.setattr(opening, "fetch_report", lambda *_: Path("/reports/a run.html"))
    return addresses


def said(project: Project, page: str, run_id: str | None = None) -> list[str]:
    out = io.StringIO()
    opening.open_page(project, OUTPUTS, Show(rich.console.Console(file=out, width=300)), page, run_id)
    return out.getvalue().splitlines()


def test_a_report_is_opened_as_a_file(project: Project, opened: list[str]) -> None:
    assert said(project, "report") == opened == ["file:///reports/a%20run.html"]


def test_the_api_is_printed_and_not_opened_since_its_calls_are_signed(project: Project, opened: list[str]) -> None:
    assert said(project, "api")[0] == "http://127.0.0.1:4599/_aws/execute-api/abc/$default"
    assert opened == []


def test_the_console_is_opened_if_it_runs(project: Project, opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    links = {project.connection: "http://127.0.0.1:8090/?token=secret"}
    monkeypatch.setattr(own_link, "of", links.get)
    assert said(project, "console") == opened == ["http://127.0.0.1:8090/?token=secret"]
    links.clear()
    with pytest.raises(Problem, match="`make console` starts it"):
        said(project, "console")


def test_a_run_has_a_report_and_no_other_page(project: Project, opened: list[str]) -> None:
    with pytest.raises(Problem, match="no api of its own"):
        said(project, "api", "v20261129t100000z-1a2b3c4d-r1")


def test_without_a_browser_the_address_is_all(
    project: Project, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "has_browser", lambda environment, platform: False)
    assert said(project, "report") == ["file:///reports/a%20run.html"]
    assert opened == []


@pytest.mark.parametrize(
    ("environment", "platform", "has"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"DISPLAY": ""}, "linux", False),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({"BROWSER": "firefox"}, "linux", True),
        ({}, "darwin", True),
    ],
)
def test_a_browser_needs_a_display(environment: dict[str, str], platform: str, has: bool) -> None:
    assert opening.has_browser(environment, platform) is has


def test_a_shell_that_takes_the_variables_has_no_account_any_more(project: Project) -> None:
    before = {"AWS_PROFILE": "prod", "AWS_SESSION_TOKEN": "t", "AWS_REGION": "eu-west-1", "PATH": "/usr/bin:/bin"}
    script = "\n".join([*opening.exports(project, before), "env"])
    done: Any = subprocess.run(["sh", "-c", script], env=before, capture_output=True, text=True, check=True)
    after = dict(line.split("=", 1) for line in done.stdout.splitlines() if line.startswith("AWS_"))
    assert after["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4599"
    assert (after["AWS_ACCESS_KEY_ID"], after["AWS_SECRET_ACCESS_KEY"]) == ("000000000000", "local")
    assert after["AWS_REGION"] == after["AWS_DEFAULT_REGION"] == "us-east-1"
    assert "AWS_PROFILE" not in after and "AWS_SESSION_TOKEN" not in after
