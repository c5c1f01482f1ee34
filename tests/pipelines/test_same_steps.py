"""One chain in four pipelines: check → image → staging → smoke → approval → prod, by the same make targets. GitLab's
runs, Jenkins's is compiled by Groovy, actionlint reads GitHub's, and CodePipeline's is in the template.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from delivery.preflight.settings import _Tags
from laptop_aws import java
from tests.infrastructure import node
from tests.pipelines.conftest import ROOT, STAND_IN, Account

pytestmark = pytest.mark.slow

BEFORE = ["check", "image", "release ENVIRONMENT=staging", "smoke ENVIRONMENT=staging"]
AFTER = ["release ENVIRONMENT=prod", "smoke ENVIRONMENT=prod"]
ROLE = "arn:aws:iam::000000000000:role/deploy"
JARS = ("groovy-4.0.26.jar", "groovy-json-4.0.26.jar")
ECHO = (
    "%:\n\t@echo RAN $@ $(if $(ENVIRONMENT),ENVIRONMENT=$(ENVIRONMENT)) token=$$(cat $$AWS_WEB_IDENTITY_TOKEN_FILE)\n"
)


@pytest.fixture(scope="session")
def packages() -> tuple[list[str], Path]:
    """The command for node, and node_modules."""
    command, home = node.installed(Path(__file__).parent / "npm", ROOT / ".envs" / "pipelines")
    return command, home / "node_modules"


def target(command: str) -> str:
    """`.ci/make image` → `image`: every step of every pipeline is such a call."""
    words = command.split(" ", 1)
    assert words[0] == ".ci/make", command
    return words[1]


# --- GitLab ---------------------------------------------------------------------------------------------------------


def gitlab(
    packages: tuple[list[str], Path], folder: Path, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run gitlab-ci-local in `folder`, on the default branch of a project of GitLab, with the shell as the executor."""
    for command in (
        ["git", "branch", "--move", "--force", "main"],
        ["git", "config", "remote.origin.url", "https://gitlab.com/shop/recommender.git"],
        ["git", "update-ref", "refs/remotes/origin/main", "HEAD"],
        ["git", "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main"],
    ):
        subprocess.run(command, cwd=folder, check=True)
    given = ["--variable", f"AWS_ROLE_ARN={ROLE}", "--variable", "AWS_ID_TOKEN=signed-by-gitlab"]
    main = packages[1] / "gitlab-ci-local" / "src" / "index.js"
    inherited = environment or {**os.environ, "PATH": f"{STAND_IN}:{os.environ['PATH']}"}
    return subprocess.run(
        [*packages[0], str(main), "--force-shell-executor", *given, *arguments],
        cwd=folder,
        env=inherited,
        capture_output=True,
        text=True,
        check=False,
    )


def ran(output: str) -> list[str]:
    """The make targets that ran, by their echo."""
    lines = [line.partition("RAN ")[2] for line in output.splitlines() if "> RAN " in line]
    return list(dict.fromkeys(line.partition(" token=")[0].strip() for line in lines))  # of a failed job, twice


def test_gitlab_runs_the_chain_up_to_the_approval(packages: tuple[list[str], Path], commit: Path) -> None:
    (commit / "Makefile").write_text(ECHO, "utf-8")
    done = gitlab(packages, commit)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ran(done.stdout) == BEFORE
    assert "token=signed-by-gitlab" in done.stdout
    approved = gitlab(packages, commit, "prod")
    assert approved.returncode == 0, approved.stdout + approved.stderr
    assert ran(approved.stdout) == AFTER


def test_gitlab_stops_at_the_first_step_that_fails(packages: tuple[list[str], Path], commit: Path) -> None:
    (commit / "Makefile").write_text(ECHO + "\nimage:\n\t@echo RAN image; false\n", "utf-8")
    done = gitlab(packages, commit)
    assert done.returncode != 0
    assert ran(done.stdout) == ["check", "image"]


def test_gitlab_deploys_no_branch_and_nothing_without_a_role(packages: tuple[list[str], Path], commit: Path) -> None:
    (commit / "Makefile").write_text(ECHO, "utf-8")
    listed = gitlab(packages, commit, "--list-json", "--variable", "AWS_ROLE_ARN=")
    jobs = json.loads(listed.stdout[listed.stdout.index("[\n") :])
    assert {job["name"]: job["when"] for job in jobs} == {
        "check": "on_success",
        **dict.fromkeys(["model-image", "staging", "smoke", "prod"], "never"),
    }


def test_a_job_of_gitlab_does_its_work_on_an_account(
    packages: tuple[list[str], Path], account: Account, commit: Path
) -> None:
    """The job as the file has it, with the repository's Makefile: it starts CodeBuild on the embedded AWS."""
    (commit / ".envs").symlink_to(ROOT / ".envs")
    done = gitlab(packages, commit, "model-image", environment=account.environment)
    output = done.stdout + done.stderr
    assert "started the build ncf-chain-image:" in output or "is there already" in output, output


# --- Jenkins --------------------------------------------------------------------------------------------------------


def jenkins(packages: tuple[list[str], Path], folder: Path, contents: list[str]) -> list[dict[str, Any]]:
    """Read Jenkinsfiles by Groovy: the stages of each, or its fault."""
    files = [folder / f"Jenkinsfile.{number}" for number in range(len(contents))]
    for file, content in zip(files, contents, strict=True):
        file.write_text(content, "utf-8")
    place = packages[1] / "npm-groovy-lint" / "lib" / "java" / "groovy" / "lib"
    jars = os.pathsep.join(str(place / name) for name in JARS)
    script = Path(__file__).parent / "declarative.groovy"
    command = [str(java.find(folder).home / "bin" / "java"), "-cp", jars, "groovy.ui.GroovyMain", str(script)]
    done = subprocess.run([*command, *map(str, files)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_jenkins_has_the_chain_and_asks_before_prod(packages: tuple[list[str], Path], tmp_path: Path) -> None:
    [read] = jenkins(packages, tmp_path, [(ROOT / "Jenkinsfile").read_text("utf-8")])
    stages = read["stages"]
    names = [stage["name"] for stage in stages]
    asking = names.index("Approval")
    assert [stage["asks"] for stage in stages] == [name == "Approval" for name in names]
    assert [target(one) for stage in stages[:asking] for one in stage["commands"]] == BEFORE
    assert [target(one) for stage in stages[asking:] for one in stage["commands"]] == AFTER
    # Whatever deploys does so for the main branch only, with a token; the check has neither.
    assert {stage["branch"] for stage in stages[1:]} == {"main"} and stages[0]["branch"] is None
    with_token = [stage["name"] for stage in stages if stage["environment"] == ["AWS_WEB_IDENTITY_TOKEN_FILE"]]
    assert with_token == ["Image", "Staging", "Smoke", "Prod"]


FAULTS = [
    ("steps {\n                sh '.ci/make check'", "step {\n sh '.ci/make check'", "has no directive 'step'"),
    ("agent { label 'linux' }", "", "pipeline { } needs agent"),
    ("stage('Check') {", "stage('Check') {{", "startup failed"),
    ("sh '.ci/make image'", 'sh ".ci/make image', "startup failed"),
    ("sh '.ci/make image'", "shell '.ci/make image'", "has no directive 'shell'"),
]


def test_a_jenkinsfile_that_jenkins_would_refuse_is_found(packages: tuple[list[str], Path], tmp_path: Path) -> None:
    content = (ROOT / "Jenkinsfile").read_text("utf-8")
    assert all(before in content for before, _, _ in FAULTS)
    read = jenkins(packages, tmp_path, [content.replace(before, after, 1) for before, after, _ in FAULTS])
    for (_, _, message), found in zip(FAULTS, read, strict=True):
        assert message in found["fault"]


# --- GitHub ---------------------------------------------------------------------------------------------------------


def actionlint(packages: tuple[list[str], Path], folder: Path, content: str) -> subprocess.CompletedProcess[str]:
    """Lint a workflow."""
    (folder / ".github" / "workflows").mkdir(parents=True)
    (folder / ".github" / "workflows" / "deliver.yml").write_text(content, "utf-8")
    main = packages[1] / "@tktco" / "node-actionlint" / "bin" / "node-actionlint.js"
    command = [*packages[0], str(main), ".github/workflows/deliver.yml"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_github_has_the_chain_and_waits_for_reviewers(packages: tuple[list[str], Path], tmp_path: Path) -> None:
    content = (ROOT / ".github" / "workflows" / "deliver.yml").read_text("utf-8")
    linted = actionlint(packages, tmp_path, content)
    assert linted.returncode == 0, linted.stdout
    jobs = yaml.safe_load(content)["jobs"]
    assert [job.get("needs") for job in jobs.values()] == [None, *list(jobs)[:-1]]  # one after the other
    steps = {name: [target(one["run"]) for one in job["steps"] if "run" in one] for name, job in jobs.items()}
    assert [one for name in list(jobs)[:-1] for one in steps[name]] == BEFORE
    assert steps["prod"] == AFTER and jobs["prod"]["environment"] == "prod"
    # A role for what deploys, in an environment whose name is in the token's subject; none for the check.
    assert {name for name, job in jobs.items() if job.get("environment")} == set(jobs) - {"check"}


def test_a_workflow_that_github_would_refuse_is_found(packages: tuple[list[str], Path], tmp_path: Path) -> None:
    content = (ROOT / ".github" / "workflows" / "deliver.yml").read_text("utf-8")
    linted = actionlint(packages, tmp_path, content.replace("needs: smoke", "needs: smoked"))
    assert linted.returncode != 0 and "smoked" in linted.stdout


# --- CodePipeline ---------------------------------------------------------------------------------------------------


def test_codepipeline_has_the_chain_and_waits_for_an_approval() -> None:
    template = yaml.load((ROOT / "delivery" / "chain" / "template.yaml").read_text("utf-8"), Loader=_Tags)
    stages = template["Resources"]["Pipeline"]["Properties"]["Stages"]
    names = [stage["Name"] for stage in stages]
    asking = names.index("Approval")
    assert stages[asking]["Actions"][0]["ActionTypeId"]["Category"] == "Approval"

    def targets(some: list[dict[str, Any]]) -> list[str]:
        actions = [action for stage in some for action in stage["Actions"]]
        variables = [json.loads(action["Configuration"].get("EnvironmentVariables", "[]")) for action in actions]
        return [one["value"] for found in variables for one in found if one["name"] == "TARGET"]

    assert targets(stages[:asking]) == BEFORE
    assert targets(stages[asking:]) == AFTER
    step = yaml.safe_load((ROOT / "delivery" / "chain" / "step.yml").read_text("utf-8"))
    assert step["phases"]["build"]["commands"] == [".ci/make $TARGET"]
