"""checkov and cfn-lint on template.yaml, with the exceptions of tests/infrastructure/exceptions.yaml.

    python -m tests.policies <the command checkov>

A finding without an exception is a fault; so is an exception without a reason, or one that finds nothing any more.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "template.yaml"
EXCEPTIONS = ROOT / "tests" / "infrastructure" / "exceptions.yaml"

Finding = tuple[str, str, str]
"""Id of the check, logical id of the resource, and words."""


def begin_checkov(command: str, template: Path) -> subprocess.Popen[str]:
    # Offline: it would otherwise ask its maker for severities and guides.
    options = ["--framework", "cloudformation", "--compact", "--quiet", "--skip-download", "--output", "json"]
    return subprocess.Popen([command, "--file", str(template), *options], stdout=subprocess.PIPE, text=True)


def found_by_checkov(process: subprocess.Popen[str], template: Path) -> list[Finding]:
    output = process.communicate()[0]
    try:
        results = json.loads(output)["results"]
        failed = [] if results.get("parsing_errors") else results["failed_checks"]
    except (ValueError, KeyError, TypeError):
        failed = []
    if not failed:  # the exceptions alone are some
        raise SystemExit(f"checkov cannot read {template}: {output[:500]}")
    return [(one["check_id"], one["resource"].rpartition(".")[2], one["check_name"]) for one in failed]


def found_by_cfn_lint(template: Path) -> list[Finding]:
    from cfnlint.api import ManualArgs, lint

    matches = lint(template.read_text("utf-8"), config=ManualArgs(regions=["us-east-1"]))
    return [(one.rule.id, str((one.path or ["", ""])[1:2]).strip("[]'"), one.message) for one in matches]


def faults(findings: Iterable[Finding], exceptions: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a line for each finding without an exception, and for each exception that is not needed."""
    told, used = [], set()
    for check, resource, words in findings:
        exception = exceptions.get(check, {})
        if exception and resource in exception.get("resources", [resource]):
            used |= {(check, resource), (check, None)}
        else:
            told.append(f"{check} {resource}: {words}")
    for check, exception in exceptions.items():
        if len(exception.get("reason", "")) < 20:
            told.append(f"{check}: the exception has no reason")
        for resource in exception.get("resources", [None]):
            if (check, resource) not in used:
                told.append(
                    f"{check} {resource or 'of any resource'}: the exception finds nothing any more: take it away"
                )
    return told


def main() -> int:
    exceptions: dict[str, dict[str, Any]] = yaml.safe_load(EXCEPTIONS.read_text("utf-8"))
    checkov = begin_checkov(sys.argv[1], TEMPLATE)  # beside the other one
    told = faults(found_by_cfn_lint(TEMPLATE), exceptions.get("cfn-lint", {}))
    told += faults(found_by_checkov(checkov, TEMPLATE), exceptions.get("checkov", {}))
    print("\n".join(told) or "policies: checkov and cfn-lint find nothing but the exceptions")
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
