"""The words that people read in code: `python -m tests.plain_words [path …]` lists what has a plainer form.

It reads comments, docstrings and other texts in Python; comments and descriptions in YAML, JSON, Makefiles and shell
scripts; the names of functions, classes and parameters in Python; and the prose of Markdown, whose lines have at most
100 columns. Each rule is one pattern and what to write in its place. A line that quotes such words on purpose ends with
`# plain-words: quoted`, in Markdown with `<!-- plain-words: quoted -->`.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parent.parent
QUOTED = "plain-words: quoted"
YAML_AND_CO = (".yaml", ".yml", ".json", ".toml", ".sh", ".mk")
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
NOT_READ = ("package-lock.json", "docs/reference/openapi.json")
COLUMNS = 100
ONE_LINE_EACH = "CHANGELOG.md"
"""A change is one line of at most 140 columns (tests/unit/test_version.py): lists are not held to the width here."""


@dataclass(frozen=True)
class Rule:
    """Words to avoid: a regular expression, and the advice."""

    pattern: re.Pattern[str]
    advice: str


def _rule(pattern: str, advice: str) -> Rule:
    return Rule(re.compile(pattern, re.IGNORECASE), advice)


def _start(pattern: str, advice: str) -> Rule:
    """A rule for the beginning of a sentence, in a text whose lines were joined. Begins with a capital letter."""
    return Rule(re.compile(r"(?:^|(?<=[.!?:;] ))" + pattern), advice)


WORDS = [
    _rule(r"\bwhat of (the|it|them|a|an)\b", "name the thing: 'the user's part of the logits'"),
    _rule(r"\bso long may\b", "'Maximum time for …, in seconds'"),
    _rule(r"\b(it|that|this) is so\b", "say what is true: 'True if any process failed'"),
    _rule(r"\bis so no more\b", "'no longer …'"),
    _rule(r"\bwhoever\b", "name the reader: 'the caller', 'the person on call'"),
    _rule(r"\bin the house\b", "'in flight'"),
    _rule(r"\bseen to\b(?! (be|fail|have|hold))", "say what was done: 'updated'"),
    _rule(r"\bto any use\b", "'has no effect'"),
    _rule(r"\bat the least\b", "'at least'"),
    _rule(r"\bfor want of\b", "'because there is no …'"),
    _rule(r"\bworth its price\b", "name the cost and the gain"),
    _rule(r"\bit is (they|he|she|those) who\b", "subject, verb, object"),
    _rule(r"\bto be had\b", "'available'"),
    _rule(r"\bsomebody\b", "name them: 'a user', 'an operator'"),
    _rule(
        r"\b(is|are|was|were|be|been|being) told (of|that|to|what|how|when|why|the|all)\b",
        "'receives', 'is notified', 'reads'",
    ),
    _rule(r"\bbear(s)? with\b|\bis borne\b|\bare borne\b", "'is tolerated', 'is allowed'"),
    _rule(r"\b(is|are) (not )?awaited\b|\bawaited:", "'waits for'"),
    _rule(r"\b(so|as) many (of them )?as there (is|are)\b", "'all'"),
    _rule(r"\bnothing is left (for|to)\b", "say what happens"),
    _rule(r"\bbut for (the|a|an|what|its|those|one)\b", "'except'"),
    _rule(
        r"\bas it were\b|\bbe it\b|\bhence\b|\bthereby\b|\btherein\b|\bthereof\b|\bwhereby\b|\bwherein\b",
        "plain connective",
    ),
    _rule(r"\bin vain\b", "'without success'"),
    _rule(r"\bgives? (itself )?up at once\b", "'fails at once'"),
    _rule(r"\bin (its|their) stead\b", "'instead'"),
    _rule(r"\bnought\b|\baught\b|\blest\b|\bwont\b|\bere\b", "modern word"),
    _rule(r"\bof its own accord\b", "'by itself'"),
    _rule(r"\b(that|who|which|what) (is|are|was|were) to (have|be) \w+ed by\b", "active voice"),
    _rule(r"\bgoes unheard\b|\bgoes on unheard\b", "'its result is ignored'"),
    _rule(r"\bcomes? to nothing\b", "'has no effect', 'fails'"),
    _start(r"Of (a|an|the|all|several|two|one|what|its|those|every|each|it) \w+", "start with the subject"),
    _start(r"Whether (it|that|this) (is|may|can|has)\b", "'True if …'"),
    _start(r"So (long|often|many|much|far) (may|can|does|do|is|are|as)\b", "start with the subject"),
    _start(
        r"(Asked|Said|Told|Called|Offered|Read|Held|Kept|Made|Given) (for|by|of|before|to|once|when)\b",
        "start with the subject",
    ),
    _start(r"(Not|Nor|Neither|Never) (is|are|does|do|has|can|may)\b", "start with the subject"),
]
"""For texts: comments, docstrings, messages, descriptions."""

DOCSTRING = _rule(r"^What (?!to\b)\w+", "start with a noun or a verb: 'Requests to the endpoint', 'Return …'")
"""For the beginning of a docstring, besides."""

NAMES = [
    _rule(r"^_?a_\w+_s$", "a noun: 'samples_per_user'"),
    _rule(r"^_?(told|tell|house|wish|tenures?|asked|world|fact|whoever)$", "a noun or verb of the field"),
    _rule(
        r"^_?(came_to_nothing|as_it_is_now|as_they_are|in_the_house|in_vain|start_in_vain|breaks_off)$", "what it does"
    ),
]
"""For names of functions, classes, parameters and fields."""


@dataclass(frozen=True)
class Finding:
    """One place with words to avoid."""

    path: str
    line: int
    words: str
    advice: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: '{self.words}': {self.advice}"


def in_text(path: str, line: int, text: str) -> Iterator[Finding]:
    """Findings in one text that begins at `line`."""
    joined = " ".join(part.strip() for part in text.splitlines())
    for rule in WORDS:
        for match in rule.pattern.finditer(joined):
            yield Finding(path, line, match[0].strip(), rule.advice)


def in_python(path: str, source: str) -> Iterator[Finding]:
    """Findings in the comments, texts and names of a Python file."""
    if "#" in source:
        yield from in_comments(path, source)
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            if not any(QUOTED in line for line in lines[node.lineno - 1 : node.end_lineno]):
                yield from in_text(path, node.lineno, node.value)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from in_name(path, node.lineno, node.name)
        elif isinstance(node, ast.arg):
            yield from in_name(path, node.lineno, node.arg)
        if isinstance(node, DOCUMENTED) and (match := DOCSTRING.pattern.search(ast.get_docstring(node) or "")):
            yield Finding(path, node.body[0].lineno, match[0], DOCSTRING.advice)


def in_comments(path: str, source: str) -> Iterator[Finding]:
    """Findings in the comments of a Python file. Comments on lines one after the other are one text."""
    lines = source.splitlines()
    block: list[str] = []
    begin = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT or QUOTED in token.string:
            continue
        follows = lines[token.start[0] - 1].lstrip().startswith("#") and token.start[0] == begin + len(block)
        if not follows:
            yield from in_text(path, begin, "\n".join(block))
            begin, block = token.start[0], []
        block.append(token.string.lstrip("#: "))
    yield from in_text(path, begin, "\n".join(block))


def in_name(path: str, line: int, name: str) -> Iterator[Finding]:
    """Findings in one name."""
    for rule in NAMES:
        if rule.pattern.search(name):
            yield Finding(path, line, name, rule.advice)


def in_lines(path: str, source: str) -> Iterator[Finding]:
    """Findings in a file of another kind: its comments, and the texts of its descriptions."""
    for number, line in enumerate(source.splitlines(), 1):
        if QUOTED in line:
            continue
        comment = re.search(r"(?:^|\s)##? (.*)", line)
        described = re.search(
            r"\"?(?:Description|AssertDescription|ConstraintDescription|AlarmDescription|Comment)\"?: (.*)", line
        )
        for found in (comment, described):
            if found:
                yield from in_text(path, number, found[1].strip("'\", "))


def in_markdown(path: str, source: str) -> Iterator[Finding]:
    """Findings in the prose of a Markdown file: headings, paragraphs and tables, without code; and its wide lines."""
    lines = source.splitlines()
    in_list = 0
    for token in MarkdownIt("commonmark").enable("table").parse(source):
        in_list += token.nesting if token.type.startswith("list_item") else 0
        if token.type != "inline" or token.map is None:
            continue
        begin, end = token.map
        if not any(QUOTED in line for line in lines[begin:end]):
            parts = [child.content for child in token.children or [] if child.type in ("text", "softbreak")]
            yield from in_text(path, begin + 1, " ".join(parts))
        if token.block and not (in_list and path == ONE_LINE_EACH):
            yield from _wide(path, begin, lines[begin:end])


def _wide(path: str, begin: int, lines: list[str]) -> Iterator[Finding]:
    """Lines over the width. A line of a table, a target of a link and a picture cannot be broken."""
    for number, line in enumerate(lines, begin + 1):
        prose = re.sub(r"!\[[^\]]*\]\([^)]*\)|\]\([^)]*\)|<[^>]*>|https?://\S+", "", line)
        if len(line) > COLUMNS < len(prose) and not line.lstrip().startswith("|"):
            yield Finding(path, number, f"{prose[:40].strip()} …", f"{len(line)} columns: at most {COLUMNS}")


def in_file(path: Path) -> list[Finding]:
    """All findings in one file, once each, in order."""
    name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.as_posix()
    source = path.read_text("utf-8")
    read = {".py": in_python, ".md": in_markdown}.get(path.suffix, in_lines)
    found = read(name, source)
    return sorted(set(found), key=lambda finding: (finding.line, finding.words))


def files(paths: Iterable[str]) -> Iterator[Path]:
    """The files that git tracks under `paths` (all when none is given) and that have words of ours."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *paths],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    for name in filter(None, listed):
        path = ROOT / name
        known = path.suffix in (".py", ".md", *YAML_AND_CO) or path.name in ("Makefile", "Dockerfile")
        if known and path.is_file() and not name.endswith(NOT_READ) and path != Path(__file__).resolve():
            yield path


def main(arguments: list[str]) -> int:
    """List the findings; 1 when there are any."""
    findings = [finding for path in files(arguments) for finding in in_file(path)]
    for finding in findings:
        print(finding)
    print(f"plain words: {len(findings)} to change" if findings else "plain words: clean")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
