"""The tutorial's commands can be typed, and what they print can be written into it again."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from local.parser import parser
from tests import tutorial
from tests.tutorial import ROOT, TUTORIAL, Shell, Typed, recorded, shortened

TEXT = TUTORIAL.read_text()
COMMANDS = [
    command
    for block in tutorial.BLOCK.finditer(TEXT)
    if block["kind"] == "console"
    for command, _ in Typed.of(block["body"], block["shown"]).commands
]


def test_the_tutorial_has_every_step() -> None:
    wanted = ("online_retail.py", "make demo", "recommend", "send_events.py", "--kind append", "broken.csv", "rollback",
              "gate --policy", "restart --anew", "forget", "make down")  # fmt: skip
    assert [word for word in wanted if not any(word in command for command in COMMANDS)] == []


@pytest.mark.parametrize("command", [command for command in COMMANDS if "-m local" in command])
def test_a_command_of_local_is_understood(command: str) -> None:
    words = shlex.split(command)
    assert words[:3] == [".venv/bin/python", "-m", "local"]
    parser().parse_args(words[3:])


def test_the_files_and_targets_of_the_commands_are_there() -> None:
    named = {path for command in COMMANDS for path in re.findall(r"examples/[\w.]+", command)}
    assert named >= {"examples/online_retail.py", "examples/send_events.py", "examples/gate.json"}
    assert [path for path in named if not (ROOT / path).is_file()] == []
    targets = set(re.findall(r"^(?:\$ )?make (\w+)", TEXT, re.MULTILINE))
    assert targets == {"setup", "demo", "console", "down"}
    makefile = (ROOT / "Makefile").read_text()
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


def test_what_commands_print_is_written_into_the_blocks_in_one_shell() -> None:
    text = """Text.
```sh
export WHO=shop
greet() { echo "hello $1"; }
false
```
<!-- shown: ^hello|end -->
```console
$ greet "$WHO"; echo one; echo two; \\
  echo the end
old
$ cat ../data.csv; exit_status() { return 1; }; exit_status
```
```json
{}
```
"""
    made = recorded(text, "/dev/null", Shell())
    assert made == text.replace("old\n", "hello shop\n…\nthe end\n")
    assert recorded(made, "/dev/null", Shell()) == made, "and again the same"


def test_a_command_that_ends_the_shell_is_told() -> None:
    with pytest.raises(EOFError, match="exit 3"):
        list(Shell().run("exit 3"))


def test_lines_are_left_out_and_cut_at_the_width() -> None:
    lines = ["a", "", "b", "c", "x" * 101, ""]
    assert shortened(lines, None) == ["a", "", "b", "c", "x" * 99 + "…"]
    assert shortened(lines, re.compile("^[ac]$")) == ["a", "…", "c", "…"]
    assert shortened(["", "skipped", "a"], re.compile("^a")) == ["…", "a"]


def test_the_recorder_needs_no_path_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "tutorial.md"
    page.write_text("```console\n$ wc -c ../data.csv\n```\n")
    (tmp_path / "my.csv").write_text("ab")
    monkeypatch.setattr(tutorial, "TUTORIAL", page)
    monkeypatch.setattr("sys.argv", ["tutorial", str(tmp_path / "my.csv")])
    tutorial.main()
    assert page.read_text() == f"```console\n$ wc -c ../data.csv\n2 {tmp_path / 'my.csv'}\n```\n"
