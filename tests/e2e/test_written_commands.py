"""The commands of the documents that only read, run as they are written on the embedded AWS: those of docs/on-call.md,
of the recipes and of the reference of the command line. What changes something is not run here.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.deployed_stack import PROJECT_ROOT, DeployedStack, eventually
from tests.e2e.drops import shop_files
from tests.samples import blocks, lines_of, pages, script

pytestmark = pytest.mark.timeout(1800)
ON_CALL = "docs/on-call.md"
PAGES = (ON_CALL, "docs/how-to", "docs/reference/cli.md")
READS = re.compile(
    r"(ledger|latest|lines) "
    r"|aws [\w-]+ (describe|get|list|filter|query|receive)\b"
    r"|aws s3 (ls|cp \"?s3://)"
    r"|\.venv/bin/python -m local (status|logs|gate|rules|report|url|env|recommend)\b"
    r"(?!.* (--publish|publish|--follow)\b)"
)
NOT_HERE = {
    "aws ce ": "the embedded AWS has no bill",
    "--stack-name ncf-dev": "the stack of this machine has another name",
    "--table-name restored-runs": "the restored table is there in an account alone",
}
"""What a command has in it that reads, but cannot be run here, with the reason."""


@pytest.fixture(scope="module")
def folder(stack: DeployedStack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working tree for the commands, whose files are the examples'; a model serves, rules are in force, and an event
    is in a file.
    """
    if not stack.serving():
        version = stack.prepared_from("documents", shop_files(tmp_path_factory.mktemp("documents"), weeks=10))
        assert stack.ended(version)["status"] == "DEPLOYED"
    stack.allow_any_loss()
    root = tmp_path_factory.mktemp("tree")
    for name in (".venv", ".envs"):
        (root / name).symlink_to(PROJECT_ROOT / name)
    for name, example in {"draft": "gate", "gate": "gate", "placements": "placements", "rules": "rules"}.items():
        (root / f"{name}.json").write_bytes((PROJECT_ROOT / "examples" / f"{example}.json").read_bytes())
    published = stack.command("rules", "publish", str(root / "rules.json"), "--reason", "for the documents")
    assert published.returncode == 0, published.stdout + published.stderr
    event = {"eventType": "view", "itemId": "1", "sentAt": time.time()}
    assert stack.call("POST", "/events", {"userId": "1", "eventList": [event]}).status == 200
    files = partial(stack.client("s3").list_objects_v2, Bucket=stack.outputs["DataBucketName"], Prefix="raw/live-")
    eventually(lambda: files()["KeyCount"], "the file of an event")
    return root


def values(stack: DeployedStack) -> dict[str, str]:
    """Values of the placeholders `<…>` in the documents, and of the variables of docs/on-call.md."""
    serving = stack.serving()
    known = dict(stack.outputs) | {"p": "ncf", "NamePrefix": "ncf", "run": serving["runId"], "run id": serving["runId"]}
    known["user"] = "1"
    kept = stack.client("s3").list_objects_v2(Bucket=stack.outputs["DataBucketName"], Prefix="quarantine/")["Contents"]
    prepared = [one["Key"].split("/")[1] for one in kept if one["Key"].endswith("/report.json")]  # copies have none
    variables = {"RUN": serving["runId"], "VERSION": max(prepared), "NAME": "none"}
    trials = [one["trialId"] for one in stack.of_kind("TRIAL")]
    return known | variables | {"id": (trials or ["none"])[-1], "FILE": "rules.json"}


def written() -> list[str]:
    """The commands that read, each once."""
    found = [
        re.sub(r"\s+# .*", "", line)
        for page in pages(PAGES)
        for block in blocks(page.name, page.read_text("utf-8"))
        for line in (lines_of(script(block)) if block.language in ("sh", "console") else ())
    ]
    return [one for one in dict.fromkeys(found) if READS.match(one) and not any(part in one for part in NOT_HERE)]


def definitions() -> list[str]:
    """The functions and variables that docs/on-call.md begins with, and how it directs them to this machine."""
    text = (PROJECT_ROOT / ON_CALL).read_text("utf-8")
    return [block.text for block in blocks(ON_CALL, text) if "P=ncf" in block.text]


def test_commands_that_read_do_so_as_written(stack: DeployedStack, folder: Path) -> None:
    known = values(stack)
    commands = [
        re.sub(r"<([\w -]+)>", lambda match: known[match[1]], command)
        for command in written()
        if "serving/trial.json" not in command or known["id"] != "none"
    ]
    assert len(commands) > 50
    lines = [*definitions(), *(f"{name}={known[name]}" for name in ("RUN", "VERSION", "NAME", "FILE"))]
    lines.append('test "$(out RunsTableName)" = ' + shlex.quote(known["RunsTableName"]))
    # `out` is asked some twenty times: what it says is known now.
    lines += ["out() { case $1 in", *(f"{name}) echo {shlex.quote(value)};;" for name, value in stack.outputs.items())]
    lines.append("*) return 1;; esac; }")
    for command in commands:
        failed = f"printf 'exit %s: %s\\n' $? {shlex.quote(command)}; cat said"
        lines.append(f"( set -eo pipefail; {command}\n) > said 2>&1 || {{ {failed}; }}")
    environment = stack.environment | {"PYTHONPATH": str(PROJECT_ROOT)}
    ran = subprocess.run(
        ["bash", "-c", "set -e\n" + "\n".join(lines)],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
