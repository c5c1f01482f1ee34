"""docs/on-call.md has a section for every alarm and notification, and the commands in it exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from botocore import xform_name
from botocore.exceptions import UnknownServiceError
from botocore.model import OperationModel, ServiceModel
from botocore.session import Session

from local.parser import parser
from shared.notices import Kind, notice
from tests.samples import lines_of

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "on-call.md").read_text("utf-8")
TEMPLATE = (ROOT / "template.yaml").read_text("utf-8")
PARTS = ("Means", "Customers", "First", "Over when", "Then", "Do not")
FIRST, SECTIONS = (match := re.split(r"^## (?=[a-z-]+$)", PAGE, flags=re.M))[0], match[1:]
BY_NAME = {section.partition("\n")[0]: section for section in SECTIONS}
ALARMS = re.findall(r"AlarmName: !Sub \$\{NamePrefix\}-(\S+)", TEMPLATE)
BUDGETS = re.findall(r"BudgetName: !Sub \$\{NamePrefix\}-(\S+)", TEMPLATE)

FENCE = re.compile(r"^```sh\n(.*?)^```", re.M | re.S)
INLINE = re.compile(r"`((?:\.venv/bin/python -m local|make|lines|latest|ledger) [^`]+)`")
HELPERS = re.findall(r"^(\w+)\(\) \{", PAGE, re.M)
OF_THE_CLI = {"s3": ("cp", "ls")}
"""Commands that the AWS CLI adds to those of AWS's models."""
GLOBAL_OPTIONS = {"--query", "--output", "--max-items"}


def part(section: str, name: str) -> str:
    """The text of a part, up to the next one; empty if it is missing."""
    found = re.search(rf"^\*\*{name}\.\*\*(.*?)(?=^\*\*[A-Z]|^### |\Z)", section, re.M | re.S)
    return found.group(1).strip() if found else ""


def test_every_alarm_budget_and_notification_has_a_section_and_no_section_is_left_over() -> None:
    assert len(ALARMS) >= 9
    assert sorted(BY_NAME) == sorted({*ALARMS, *BUDGETS, *Kind})


@pytest.mark.parametrize("name", BY_NAME)
def test_a_section_has_all_parts_and_three_commands(name: str) -> None:
    section = BY_NAME[name]
    assert [one for one in PARTS if not part(section, one)] == []
    block = FENCE.search(part(section, "First"))
    assert block is not None
    assert len(list(lines_of(block.group(1)))) == 3


def test_the_first_page_links_every_section() -> None:
    assert sorted(set(re.findall(r"\]\(#([a-z-]+)\)", FIRST)) & set(BY_NAME)) == sorted(BY_NAME)


@pytest.mark.parametrize("name", ALARMS)
def test_the_description_of_an_alarm_names_its_section(name: str) -> None:
    block = TEMPLATE.partition(f"AlarmName: !Sub ${{NamePrefix}}-{name}\n")[2].partition("Namespace:")[0]
    assert f"docs/on-call.md#{name}" in " ".join(block.split())


def test_a_notification_names_its_section() -> None:
    assert notice(Kind.RUN_WAITS, "shop", "ä" * 200, ["one", "two"]) == {
        "Subject": "ä" * 100,
        "Message": "one\ntwo\n\nStack: shop. What to do: docs/on-call.md#run-waits",
    }


def test_every_notification_of_the_functions_is_made_by_notices() -> None:
    code = {
        path: path.read_text("utf-8")
        for path in (ROOT / "functions").rglob("*.py")
        if path.name != "notices.py" and "contracts" not in path.parts
    }
    assert [path.name for path, text in code.items() if re.search(r"\bSubject\b\"?\s*[=:]", text)] == []
    used = {name for text in code.values() for name in re.findall(r"\bKind\.([A-Z_]+)", text)}
    assert used >= {kind.name for kind in Kind}


# Commands


def commands() -> list[str]:
    found = [line for block in FENCE.findall(PAGE) for line in lines_of(block)]
    return list(dict.fromkeys([*found, *INLINE.findall(PAGE)]))


def fault(command: str) -> str:
    """The mistake in a command; empty if all that it names exists."""
    simple = re.sub(r"\$\(\(?[^()]*\)?\)", "x", command)
    nested = [fault(inner) for inner in re.findall(r"\$\(((?!\()[^()]+)\)", command)]
    body = re.search(r"^\w+\(\) \{ (.*); \}(?:  #.*)?$", simple, re.S)
    words = shlex.split((body.group(1) if body else simple).partition(" | ")[0], comments=True)
    while words and re.match(r"[A-Z]+=", words[0]):
        words = words[1:]
    wrong = [one for one in [*nested, _wrong(words)] if one]
    return "; ".join(wrong)


def _wrong(words: list[str]) -> str:
    match words:
        case ["aws", service, operation, *rest]:
            return _wrong_call(service, operation, [word.partition("=")[0] for word in rest if word.startswith("--")])
        case [".venv/bin/python", "-m", "local", *rest]:
            try:
                parser().parse_args(rest)
            except SystemExit:
                return f"python -m local does not take {rest}"
            return ""
        case ["make", target]:
            makefile = (ROOT / "Makefile").read_text("utf-8")
            return "" if re.search(rf"^([\w ]* )?{re.escape(target)}( [\w ]*)?:", makefile, re.M) else f"make {target}"
        case [] | ["eval", _] | ["date", *_] | ["command", "aws", "$@", "--endpoint-url", _]:
            return ""
        case [name, *_]:
            return "" if name in HELPERS else f"{name} is no command of the page"
    return f"{words} is no command"


def _wrong_call(service: str, operation: str, options: list[str]) -> str:
    if operation in OF_THE_CLI.get(service, ()):
        return ""
    called = operations("s3" if service == "s3api" else service)
    if operation not in called:
        return f"aws {service} {operation} does not exist"
    taken = {f"--{xform_name(name, '-')}" for name in getattr(called[operation].input_shape, "members", {})}
    taken |= {option.replace("--", "--no-", 1) for option in taken} | GLOBAL_OPTIONS
    unknown = sorted(set(options) - taken)
    return f"aws {service} {operation} has no {', '.join(unknown)}" if unknown else ""


def operations(service: str) -> dict[str, OperationModel]:
    try:
        model: ServiceModel = Session().get_service_model(service)
    except UnknownServiceError:
        return {}
    return {xform_name(name, "-"): model.operation_model(name) for name in model.operation_names}


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_page_exists(command: str) -> None:
    assert fault(command) == ""


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        ("aws sagemaker describe-endpoints", "aws sagemaker describe-endpoints does not exist"),
        ("aws sagemaker describe-endpoint --name x", "aws sagemaker describe-endpoint has no --name"),
        ("aws s3 ls $(aws sts get-caller)", "aws sts get-caller does not exist"),
        (".venv/bin/python -m local rollback --share 5", "python -m local does not take ['rollback', '--share', '5']"),
        ("make coffee", "make coffee"),
        ("curl x", "curl is no command of the page"),
    ],
)
def test_a_command_that_does_not_exist_is_found(command: str, wrong: str) -> None:
    assert fault(command) == wrong
