"""The code and commands in the documents are right: `python -m tests.samples [path …]` lists what is not.

Each block of code in a Markdown file has a language. `json`, `yaml` and `toml` parse. `python` compiles, and `--run`
runs it unless the line before the block is `<!-- not run: reason -->`. In `sh`, in the lines of `console` after `$ `,
and in code spans that begin with `make ` or `.venv/bin/python`: bash parses the text; a target and a variable of `make`
are in the Makefile; the arguments of `python -m` of ours are parsed by the command's own parser; an `aws` command names
a service, an operation and options that botocore has. Pictures of Mermaid are drawn in tests/browser/test_docs_site.py.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import botocore.session
import yaml
from botocore import xform_name
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parent.parent
LANGUAGES = {"python", "json", "yaml", "toml", "sh", "console", "mermaid", "text", "sql", "csv", "http", "js", "html"}
NOT_RUN = re.compile(r"<!-- not run: \S.* -->")
HIGH_LEVEL = {
    ("s3", "cp"): {"recursive", "exclude", "include", "dryrun", "quiet", "content-type"},
    ("s3", "ls"): {"recursive", "human-readable", "summarize"},
    ("s3", "mb"): set(),
    ("s3", "mv"): {"recursive", "exclude", "include"},
    ("s3", "rm"): {"recursive", "exclude", "include", "quiet", "dryrun"},
    ("s3", "sync"): {"delete", "exclude", "include", "dryrun", "exact-timestamps", "size-only"},
    ("cloudformation", "deploy"): {
        *("template-file", "stack-name", "parameter-overrides", "capabilities", "tags"),
        *("no-execute-changeset", "no-fail-on-empty-changeset", "role-arn"),
    },
    ("logs", "tail"): {"since", "follow", "format", "filter-pattern", "log-stream-names"},
    ("configure", "list"): set(),
    ("configure", "sso"): set(),
    ("sso", "login"): {"sso-session", "no-browser"},
}
"""Commands that the AWS CLI adds to the services' operations, with the options that we use."""
GLOBAL = {
    *(
        "debug",
        "endpoint-url",
        "no-verify-ssl",
        "no-paginate",
        "output",
        "query",
        "profile",
        "region",
        "no-sign-request",
    ),
    *("color", "cli-read-timeout", "cli-connect-timeout", "no-cli-pager", "cli-input-json", "generate-cli-skeleton"),
    *("max-items", "page-size", "starting-token", "cli-binary-format", "no-sign-request"),
}
KEYWORDS = {"!", "do", "else", "env", "export", "if", "then", "time", "until", "while", "{"}


@dataclass(frozen=True)
class Finding:
    """One place that is wrong."""

    path: str
    line: int
    problem: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.problem}"


@dataclass(frozen=True)
class Block:
    """A block of code, or a code span with a command."""

    path: str
    line: int
    language: str
    text: str
    not_run: bool = False

    def finding(self, problem: str) -> Finding:
        return Finding(self.path, self.line, problem)


def blocks(path: str, text: str) -> Iterator[Block]:
    """The blocks of a Markdown file, and the commands in its code spans."""
    before: Token | None = None
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        line = token.map[0] + 1 if token.map else 0
        if token.type == "fence":
            marked = before is not None and before.type == "html_block" and bool(NOT_RUN.match(before.content))
            yield Block(path, line, token.info.strip(), token.content, marked)
        elif token.type == "code_block":
            yield Block(path, line, "", token.content)
        for child in token.children or []:
            if child.type == "code_inline" and re.match(r"make [a-z]|\.venv/bin/python -m ", child.content):
                yield Block(path, line, "sh", _example(child.content))
        before = token


def _example(span: str) -> str:
    """A command in a sentence may leave out what it runs, or a value: `python -m local …`, `--reason …`."""
    return re.sub(r"(python -m [\w.]+) (<command>|…).*", r"\1 --help", span).replace("…", "X")


def in_block(block: Block, run: bool = False) -> Iterator[Finding]:
    """Find the faults of one block, its `python -m` apart."""
    try:
        if block.language not in LANGUAGES:
            known = ", ".join(sorted(LANGUAGES))
            yield block.finding(f"the language of the block is {block.language or 'missing'!r}; known: {known}")
        elif block.language == "json":
            _parse_json(block.text)
        elif block.language == "yaml":
            list(yaml.compose_all(block.text))
        elif block.language == "toml":
            tomllib.loads(block.text)
        elif block.language == "python":
            compile(block.text, block.path, "exec")
            if run and not block.not_run:
                yield from _run(block)
        elif block.language in ("sh", "console"):
            yield from _in_shell(block)
    except (ValueError, SyntaxError, yaml.YAMLError) as error:
        yield block.finding(f"{block.language}: {str(error).splitlines()[0]}")


def _parse_json(text: str) -> None:
    """One document, or one on each line."""
    try:
        json.loads(text)
    except ValueError:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2 or not all(line.startswith(("{", "[")) for line in lines):
            raise
        for line in lines:
            json.loads(line)


def _run(block: Block) -> Iterator[Finding]:
    with tempfile.TemporaryDirectory() as folder:
        environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'functions'}", "PATH": "/usr/bin:/bin", "HOME": folder}
        result = subprocess.run(
            [sys.executable, "-c", block.text], cwd=folder, env=environment, capture_output=True, text=True, timeout=240
        )
    if result.returncode:
        yield block.finding(f"python: {result.stderr.strip().splitlines()[-1]}")


def script(block: Block) -> str:
    """The command lines of a block: all of `sh`; of `console`, those after `$ ` and their continuations."""
    if block.language == "sh":
        return block.text
    lines: list[str] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            lines.append(line[2:])
        elif lines and lines[-1].endswith("\\"):
            lines.append(line.removeprefix("> "))
        elif lines and lines[-1]:
            lines.append("")
    return "\n".join(lines)


def lines_of(text: str) -> Iterator[str]:
    """The command lines of a shell script, each with its continuation lines."""
    kept = ""
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        kept += line + "\n"
        try:
            shlex.split(kept, comments=True)
        except ValueError:  # a quotation that goes on in the next line
            continue
        if kept.strip():
            yield kept.strip()
        kept = ""


def commands(text: str) -> list[list[str]]:
    """The simple commands of a shell script, as words; those in $(…) too, in whose place stands `X`."""
    text = re.sub(r"\\\n\s*", " ", text)
    text = re.sub(r"<<-?\s*'?(\w+)'?(.*?)\n(.*?)\n\1", r"\2", text, flags=re.DOTALL)
    found: list[list[str]] = []
    while inner := re.search(r"\$\(([^()]*)\)|`([^`]*)`", text):
        found += commands(inner[1] or inner[2] or "")
        text = text[: inner.start()] + "X" + text[inner.end() :]
    text = re.sub(r"<([\w-][^<>\n]*)>", lambda match: re.sub(r"\W", "-", match[1]), text)
    lexer = shlex.shlex(text.replace("\n", " ; "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set("();&|"):
            found += [words] if words else []
            words = []
        elif set(word) <= set("<>&"):
            words = [*words, word]
        else:
            words = [*words, word]
    return [plain for command in found if (plain := _without_assignments(command))]


def _without_assignments(words: list[str]) -> list[str]:
    """Without variables and keywords before the command, and without redirections."""
    while words and (
        re.match(r"\w+=", words[0]) or words[0] in ("env", "time", "do", "then", "!", "{", "if", "export")
    ):
        words = words[1:]
    for number, word in enumerate(words):
        if set(word) <= set("<>&"):
            end = number - 1 if number and words[number - 1] in ("1", "2") else number
            return _without_assignments(words[:end] + words[number + 2 :])
    return words


def _in_shell(block: Block) -> Iterator[Finding]:
    text = "\n".join(re.sub(r"(^|\s)#.*$", "", line) for line in script(block).splitlines())
    placeholders = re.sub(r"<([\w-][^<>\n]*)>", "X", text)
    checked = subprocess.run(["bash", "-n"], input=placeholders, capture_output=True, text=True)
    if checked.returncode:
        yield block.finding(f"bash: {checked.stderr.strip().splitlines()[0]}")
        return
    for words in commands(text):
        problem = None
        if words[0] == "make":
            problem = _in_make(words[1:])
        elif words[0] == "aws":
            problem = _in_aws(words[1:])
        if problem:
            yield block.finding(f"{shlex.join(words)}: {problem}")


@cache
def makefile() -> str:
    return (ROOT / "Makefile").read_text("utf-8")


def _in_make(words: list[str]) -> str | None:
    targets = {name for line in re.findall(r"^([\w. /-]+):(?!=)", makefile(), re.MULTILINE) for name in line.split()}
    for word in words:
        name, is_variable, _ = word.partition("=")
        if is_variable and not re.search(rf"\b{re.escape(name)}\b", makefile()):
            return f"the Makefile has no variable {name}"
        if not is_variable and re.fullmatch(r"[a-z][\w-]*", word) and word not in targets:
            return f"the Makefile has no target {word}"
    return None


@cache
def _session() -> botocore.session.Session:
    return botocore.session.get_session()


def _in_aws(words: list[str]) -> str | None:
    places = [word for word in words if not word.startswith("-")]
    options = {word[2:].partition("=")[0] for word in words if re.match(r"--[a-z]", word)}
    if places[:1] == ["configure"]:  # of the command line alone
        return None
    if len(places) < 2:
        return None if words in ([], ["--version"]) else "no operation"
    service, operation = _places(words)
    service = {"s3api": "s3", "configservice": "config", "deploy": "codedeploy"}.get(service, service)
    if (service, operation) in HIGH_LEVEL and places[0] != "s3api":
        unknown = options - GLOBAL - HIGH_LEVEL[service, operation]
        return f"no option --{min(unknown)}" if unknown else None
    if operation == "wait":
        return None
    if places[0] == "s3" or service not in _session().get_available_services():
        return f"no command {places[0]} {operation}" if places[0] == "s3" else f"no service {service}"
    model = _session().get_service_model(service)
    named = {xform_name(name, "-"): name for name in model.operation_names}
    if operation not in named:
        return f"no operation {operation}"
    shape = model.operation_model(named[operation]).input_shape
    members = {xform_name(member, "-") for member in (shape.members if shape else {})}
    members |= {f"no-{member}" for member in members}
    if "payload" in members or "body" in members:
        members.add("outfile")
    unknown = options - GLOBAL - members
    return f"no option --{min(unknown)}" if unknown else None


def _places(words: list[str]) -> tuple[str, str]:
    """The service and the operation: options of the whole command may stand before them."""
    places: list[str] = []
    skipped = False
    for word in words:
        if word.startswith("--"):
            skipped = "=" not in word and word[2:] not in ("debug", "no-paginate", "no-cli-pager", "no-sign-request")
        elif skipped:
            skipped = False
        else:
            places.append(word)
    return places[0], places[1] if len(places) > 1 else ""


# --- The command lines of our own modules -----------------------------------------------------------------------------

CHILD = """
import argparse, contextlib, functools, io, json, runpy, sys

class Parsed(BaseException): pass
known, whole, depth = argparse.ArgumentParser.parse_known_args, argparse.ArgumentParser.parse_args, 0
def parse(method, self, *arguments, **named):
    global depth
    depth += 1
    try:
        found = method(self, *arguments, **named)
    finally:
        depth -= 1
    if depth:
        return found
    raise Parsed
argparse.ArgumentParser.parse_known_args = functools.partialmethod(lambda self, *a, **n: parse(known, self, *a, **n))
argparse.ArgumentParser.parse_args = functools.partialmethod(lambda self, *a, **n: parse(whole, self, *a, **n))
answers = []
module, lines = sys.argv[1], json.loads(sys.argv[2])
for line in lines:
    said = io.StringIO()
    sys.argv = [module, *line]
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            runpy.run_module(module, run_name="__main__", alter_sys=False)
        answers.append("its parser was not called")
    except Parsed:
        answers.append("")
    except SystemExit as end:
        answers.append("" if end.code in (0, None) else (said.getvalue() or str(end.code)).strip().splitlines()[-1])
print(json.dumps(answers))
"""
"""Runs a module as a program, and stops it as soon as its parser has parsed a command line."""
PARSED = {
    *(
        "benchmarks",
        "benchmarks.console",
        "benchmarks.serving",
        "benchmarks.training",
        "console",
        "console.screenshots",
    ),
    *("delivery", "delivery.assembly", "laptop_aws", "local", "tests.samples", "training.launch"),
}
"""The modules whose command line has a parser. Others read plain paths or the environment: they only have to exist."""
OURS = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}


def modules(block: Block) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The modules of ours that a block runs, with their arguments."""
    if block.language not in ("sh", "console"):
        return
    text = "\n".join(re.sub(r"(^|\s)#.*$", "", line) for line in script(block).splitlines())
    try:
        found = commands(text)
    except ValueError:
        return
    for words in found:
        by_module = re.search(r"(^|/)python[\d.]*$", words[0]) and words[1:2] == ["-m"] and len(words) > 2
        if by_module and words[2].split(".")[0] in OURS:
            yield words[2], tuple(words[3:])


@cache
def _exists(module: str) -> bool:
    path = ROOT / module.replace(".", "/")
    return path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


def in_modules(found: Iterable[Block], leave_out: frozenset[str] = frozenset()) -> Iterator[Finding]:
    """Find what the parsers of our own commands refuse; `leave_out` names packages that are costly to import."""
    places: dict[str, dict[tuple[str, ...], list[Block]]] = {}
    for block in found:
        for module, arguments in modules(block):
            if not _exists(module):
                yield block.finding(f"python -m {module}: no such module")
            elif module in PARSED and module.split(".")[0] not in leave_out:
                places.setdefault(module, {}).setdefault(arguments, []).append(block)
    for module, lines in places.items():
        result = subprocess.run(
            [sys.executable, "-c", CHILD, module, json.dumps(list(lines))],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert result.returncode == 0, f"python -m {module} could not be read: {result.stderr[-2000:]}"
        for (arguments, where), answer in zip(lines.items(), json.loads(result.stdout.splitlines()[-1]), strict=True):
            for block in where if answer else []:
                yield block.finding(f"python -m {module} {shlex.join(arguments)}: {answer}")


def pages(paths: Iterable[str] = ()) -> list[Path]:
    """The Markdown files that git knows, under `paths`."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *paths],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return [ROOT / name for name in listed if name.endswith(".md") and (ROOT / name).is_file()]


def findings(paths: Iterable[str] = (), run: bool = False, leave_out: frozenset[str] = frozenset()) -> list[Finding]:
    """All that is wrong in the pages, in order."""
    found = [
        block for page in pages(paths) for block in blocks(page.relative_to(ROOT).as_posix(), page.read_text("utf-8"))
    ]
    wrong = [finding for block in found for finding in in_block(block, run)] + list(in_modules(found, leave_out))
    return sorted(wrong, key=lambda finding: (finding.path, finding.line))


def main() -> int:
    """List the findings; 1 when there are any."""
    parser = argparse.ArgumentParser(prog="python -m tests.samples", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("paths", nargs="*", help="Markdown files or folders (default: all)")
    parser.add_argument("--run", action="store_true", help="run the blocks in Python")
    arguments = parser.parse_args()
    wrong = findings(arguments.paths, arguments.run)
    for finding in wrong:
        print(finding)
    print(f"samples: {len(wrong)} to change" if wrong else "samples: clean")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
