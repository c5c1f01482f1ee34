"""The code and commands in the documents: what tests/samples.py finds, and that it finds nothing."""

from __future__ import annotations

import pytest

from tests import samples

HEAVY = frozenset({"training", "benchmarks", "console"})
"""Packages whose commands import torch or what `make check` does not have; the slow test reads them too."""


def problems(text: str, run: bool = False) -> list[str]:
    found = list(samples.blocks("page.md", text))
    wrong = [finding for block in found for finding in samples.in_block(block, run)] + list(samples.in_modules(found))
    return [str(finding) for finding in wrong]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("```\nls\n```", "the language of the block is 'missing'"),
        ("    indented", "the language of the block is 'missing'"),
        ("```json\n{'a': 1}\n```", "json: "),
        ("```yaml\na: [1\n```", "yaml: "),
        ("```toml\na = \n```", "toml: "),
        ("```python\nif True\n```", "python: "),
        ("```sh\nmake nothing\n```", "the Makefile has no target nothing"),
        ("```sh\nmake demo DATEN=x\n```", "the Makefile has no variable DATEN"),
        ("Run `make everything` first.", "the Makefile has no target everything"),
        ("```sh\nif true; then\n```", "bash: "),
        ("```sh\npython -m local rollback --backwards\n```", "unrecognized arguments: --backwards"),
        ("```sh\n.venv/bin/python -m local.nothing\n```", "no such module"),
        ("```console\n$ python -m local fly\nno\n```", "invalid choice: 'fly'"),
        ("```sh\necho $(aws s3 copy a b)\n```", "no command s3 copy"),
        ("```sh\naws dynamo scan\n```", "no service dynamo"),
        ("```sh\naws dynamodb search --table-name t\n```", "no operation search"),
        ("```sh\naws dynamodb scan --table t \\\n  --output text\n```", "no option --table"),
        ("```sh\naws s3 cp a b --recursively\n```", "no option --recursively"),
        ("```sh\nX=1 make up && aws sqs list-queue | jq .\n```", "no operation list-queue"),
    ],
)
def test_a_wrong_sample_is_found(text: str, problem: str) -> None:
    (found,) = problems(text)
    assert found.startswith("page.md:") and problem in found


@pytest.mark.parametrize(
    "text",
    [
        '```json\n{"a": 1}\n{"a": 2}\n```',
        "```yaml\nA: !Sub '${B}'\n```",
        "```sh\n# a comment\nmake demo DATA=x.csv  # another\nNCF_LOCAL_PORT=4 .venv/bin/python -m local status\n```",
        "```sh\naws --region eu-west-1 dynamodb scan --table-name <RunsTableName> --query 'Items[0]' > out.json\n```",
        '```sh\neval "$(.venv/bin/python -m local env)"\ncat <<EOF > x\nmake nothing\nEOF\n```',
        "```console\n$ make up\nmake: nothing to be done\n$ python -m local \\\n  url\n```",
        "Stop it with `make down`, or by `.venv/bin/python -m local …`; never `makeshift`.",
    ],
)
def test_a_right_sample_passes(text: str) -> None:
    assert problems(text) == []


def test_python_is_run_unless_it_is_marked() -> None:
    block = "```python\nraise ValueError('seen')\n```"
    assert problems(block) == []
    assert problems(block, run=True) == ["page.md:1: python: ValueError: seen"]
    assert problems(f"<!-- not run: needs an account -->\n{block}", run=True) == []
    assert problems(f"<!-- not run: -->\n{block}", run=True) != []


def test_the_samples_in_the_documents_are_right() -> None:
    assert [str(finding) for finding in samples.findings(leave_out=HEAVY)] == []


@pytest.mark.slow
def test_the_samples_in_python_run_and_all_commands_of_ours_parse() -> None:
    assert [str(finding) for finding in samples.findings(run=True)] == []
