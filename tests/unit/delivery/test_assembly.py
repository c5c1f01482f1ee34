"""template.yaml is current, and a source with a mistake is refused by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from delivery.assembly import __main__ as assembly
from delivery.assembly import template
from delivery.assembly.files import SourceError
from delivery.assembly.text import blocks, fill

ROOT = Path(__file__).resolve().parents[3]
EVALUATE = "functions/evaluate/function.yaml"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the sources and the template."""
    for name in ("template", "statemachines"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copytree(
        ROOT / "functions", tmp_path / "functions", ignore=shutil.ignore_patterns("contracts", "__pycache__")
    )
    for name in ("template.yaml", "samconfig.toml", "Makefile"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "serving").mkdir()
    shutil.copy(ROOT / "serving" / "metrics.py", tmp_path / "serving")
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("*.png"))
    shutil.copytree(ROOT / "contracts", tmp_path / "contracts", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    return tmp_path


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def test_the_committed_template_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert assembly.main(["--check"], ROOT) == 0, capsys.readouterr().err


def test_check_finds_a_changed_source_and_the_command_without_it_writes_the_template(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replace(copy / EVALUATE, "Timeout: 120", "Timeout: 121")
    assert assembly.main(["--check"], copy) == 1
    assert capsys.readouterr().err == "template.yaml is not current: run `make assemble`\n"
    assert assembly.main([], copy) == 0
    assert capsys.readouterr().out == "template.yaml written\n"
    assert "Timeout: 121" in (copy / "template.yaml").read_text("utf-8")
    assert assembly.main(["--check"], copy) == 0


def test_every_comment_of_a_source_is_in_the_template() -> None:
    text = (ROOT / "template.yaml").read_text("utf-8")
    sources = [*(ROOT / "functions").glob("*/function.yaml"), *(ROOT / "template").glob("*.yaml")]
    comments = {line.strip() for path in sources for line in path.read_text("utf-8").splitlines() if "# " in line[:12]}
    assert {comment for comment in comments if comment not in text} == set()


def test_a_function_needs_its_folder_alone(copy: Path) -> None:
    hello = copy / "functions" / "hello_world"
    hello.mkdir()
    (hello / "app.py").touch()
    (hello / "function.yaml").write_text(
        "# Greets.\nProperties:\n  Timeout: 5\n\n# Reads greetings.\nAllow:\n  Greetings:\n    Action: s3:GetObject\n"
        "    Resource: !Sub ${ArtifactsBucket.Arn}/greetings/*\n\nRules:\n  # Every drop is greeted.\n  Greeted:\n"
        "    Description: A drop was greeted\n    EventPattern:\n      source: [aws.s3]\n",
        "utf-8",
    )
    text = template.assemble(copy)["template.yaml"]
    for part in (
        "  # Greets.\n  HelloWorldFunction:\n",
        "      Handler: hello_world.app.handler\n      Role: !GetAtt HelloWorldRole.Arn\n",
        "      LoggingConfig: {LogGroup: !Ref HelloWorldLogGroup}\n      Timeout: 5\n      EventInvokeConfig:\n",
        "  # Reads greetings.\n  HelloWorldRole:\n",
        "              - Sid: Greetings\n                Effect: Allow\n                Action: s3:GetObject\n",
        "              - Sid: DeadLetters\n",
        "      LogGroupName: !Sub /aws/lambda/${NamePrefix}-hello-world\n",
        "  # Every drop is greeted.\n  GreetedRule:\n",
        "        - Id: hello-world\n          Arn: !GetAtt HelloWorldFunction.Arn\n",
        "  GreetedPermission:\n",
        "                  - !GetAtt GreetedRule.Arn\n",
    ):
        assert part in text, part


MISTAKES = [
    (EVALUATE, "Allow:", "Allows:", "Allows is not known"),
    (EVALUATE, "  Policy:", "  Reports:", "Reports is there twice"),
    (EVALUATE, "# Reads the output of jobs", "not a comment", "cannot read the line"),
    (EVALUATE, "States: [", "States: [rollback.Verify, ", "States is ['rollback.Verify', 'retraining.Evaluate']"),
    (EVALUATE, "States:", "#", "but statemachines/ has ['retraining.Evaluate']"),
    ("functions/events/function.yaml", "Scopes:", "#", "Scopes is missing"),
    ("template/machines.yaml", "      EventPattern:", "      Pattern:", "Pattern is not known"),
    ("functions/reconcile/function.yaml", "  RetryPolicy: {", "  # RetryPolicy: {", "Schedule: RetryPolicy is missing"),
]


@pytest.mark.parametrize(("path", "old", "new", "expected"), MISTAKES)
def test_a_mistake_in_a_source_is_named(copy: Path, path: str, old: str, new: str, expected: str) -> None:
    replace(copy / path, old, new)
    with pytest.raises(SourceError) as caught:
        template.assemble(copy)
    assert str(caught.value).startswith(path) and expected in str(caught.value)


def test_a_function_without_its_file_or_without_a_reason_is_refused(copy: Path) -> None:
    replace(copy / EVALUATE, "# Reads the output of jobs, keeps the reports of each run, and publishes events.\n", "")
    with pytest.raises(SourceError, match="the section Allow, with a comment that gives the reason, is missing"):
        template.assemble(copy)
    (copy / EVALUATE).unlink()
    with pytest.raises(SourceError, match=f"{EVALUATE} is missing"):
        template.assemble(copy)


def test_a_block_keeps_its_comment_and_its_text() -> None:
    found = blocks("# why\nA:\n  x: 1\n  # inner\n  y: 2\n\nB: [1, 2]\n", "here")
    assert (found["A"].comment, found["A"].body) == ("# why", "x: 1\n# inner\ny: 2")
    assert (found["B"].comment, found["B"].body, found["B"].text) == ("", "[1, 2]", "B: [1, 2]")
    with pytest.raises(SourceError, match="here: 'x: 1' belongs to no key"):
        blocks("  x: 1\n", "here")


def test_a_placeholder_alone_takes_a_block_or_goes() -> None:
    assert fill("<N>Role:\n  <all>\n  <none>\nEnd:", {"N": "Deploy", "all": "a:\n  b: 1", "none": ""}) == (
        "DeployRole:\n  a:\n    b: 1\nEnd:"
    )
    with pytest.raises(KeyError):
        fill("<N>Role:", {})
