"""Tables of the ledger's items, and of the metrics and events that functions send. The code is read, not imported."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from contracts import lines
from delivery.assembly import pages, stack
from delivery.assembly.files import SourceError
from delivery.assembly.meanings import DIMENSIONS, METRICS, SERVER, TRAINING

WORDS = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "None": "null",
    "list[str]": "a list of strings",
    "list[dict[str, Any]]": "a list of objects",
    "dict[str, Any]": "an object",
    "dict[str, int]": "an object of integers",
}
"""What an annotation of a record means in DynamoDB."""
Annotated = dict[str, tuple[str, str]]
"""Fields of a class: name → annotation and description."""


@cache
def _parsed(path: Path, text: str) -> ast.Module:
    return ast.parse(text, str(path))


def _module(path: Path) -> ast.Module:
    return _parsed(path, path.read_text("utf-8"))


# --- The ledger -------------------------------------------------------------------------------------------------------


def ledger(root: Path) -> str:
    """A section for each item of the ledger, from the typed records."""
    classes = [node for node in _module(root / "functions/shared/records.py").body if isinstance(node, ast.ClassDef)]
    fields: dict[str, Annotated] = {}
    sections = []
    for one in classes:
        inherited = [fields[base.id] for base in one.bases if isinstance(base, ast.Name) and base.id in fields]
        fields[one.name] = {name: field for part in (*inherited, _fields(one)) for name, field in part.items()}
        about = pages.cell(ast.get_docstring(one) or "")
        if about.startswith("`"):
            keys, _, meaning = about.partition(": ")
            table = pages.table(("attribute", "type", "meaning"), _attributes(fields[one.name]))
            sections.append(f"### {keys}\n\n{pages.wrapped(meaning[0].upper() + meaning[1:])}\n\n{table}")
    return "\n".join(sections)


def statuses(root: Path) -> str:
    """The words that the ledger uses for states."""
    classes = [node for node in _module(root / "functions/shared/records.py").body if isinstance(node, ast.ClassDef)]
    rows = []
    for one in classes:
        if [base.id for base in one.bases if isinstance(base, ast.Name)] == ["StrEnum"]:
            words = [ast.literal_eval(node.value) for node in one.body if isinstance(node, ast.Assign)]
            rows.append((pages.code(one.name), ", ".join(map(pages.code, words)), ast.get_docstring(one) or ""))
    return pages.table(("type", "words", "meaning"), rows)


def _fields(one: ast.ClassDef) -> Annotated:
    """The fields of a class; the text after a field describes it."""
    found: Annotated = {}
    for node, after in zip(one.body, [*one.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            text = ast.literal_eval(after.value) if isinstance(after, ast.Expr) else ""
            found[node.target.id] = ast.unparse(node.annotation), text
    return found


def _attributes(fields: Annotated) -> Iterator[tuple[str, ...]]:
    for name, (annotation, meaning) in fields.items():
        kind = re.fullmatch(r"NotRequired\[(.*)\]", annotation)
        words = (WORDS.get(part, pages.code(part)) for part in (kind[1] if kind else annotation).split(" | "))
        yield pages.code(name), " or ".join([*words, *(["missing"] if kind else [])]), meaning.rstrip(".")


# --- Metrics ----------------------------------------------------------------------------------------------------------


def metrics(root: Path) -> str:
    """The metrics of the functions. Raises SourceError for one without a meaning, or that nothing sends."""
    senders: dict[str, set[str]] = {name: set() for name in METRICS}
    dimensions: dict[str, set[str]] = {}
    for path in sorted((root / "functions").glob("*/*.py")):
        sends = re.search(r"\bcount\(|_metric\(", path.read_text("utf-8"))
        for node in ast.walk(_module(path)) if sends else ():
            if isinstance(node, ast.Call) and (argument := _metric(node)) is not None:
                for name in _names(argument, path):
                    if name not in METRICS:
                        raise SourceError(f"{path.relative_to(root)}: METRICS in meanings.py has no {name}")
                    senders[name].add("" if path.parent.name == "shared" else path.parent.name)
            if isinstance(node, ast.With):
                _dimensions(node, dimensions)
    if unsent := sorted(name for name, found in senders.items() if not found):
        raise SourceError(f"no function sends {', '.join(unsent)}, which METRICS in meanings.py has")
    alarms = {name: alarm for namespace, name, _, alarm in stack.alarmed(root) if namespace == "NcfRecommender"}
    rows = (
        (
            pages.code(name),
            DIMENSIONS.get(name, ", ".join(map(pages.code, sorted(dimensions.get(name, ()))))),
            ", ".join(map(pages.code, sorted(senders[name] - {""}))) or "every function that answers a task",
            f"{METRICS[name]}{f'. Alarm: [{alarms[name]}](alarms.md)' if name in alarms else ''}",
        )
        for name in sorted(METRICS)
    )
    return pages.table(("metric", "dimensions besides `service`", "sent by", "meaning"), rows)


def _metric(call: ast.Call) -> ast.expr | None:
    """The argument that names the metric, if `call` sends one."""
    function = call.func
    name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
    if name == "count" and isinstance(function, ast.Name):
        return call.args[0]
    if name in ("single_metric", "add_metric"):
        return next(keyword.value for keyword in call.keywords if keyword.arg == "name")
    return None


def _names(argument: ast.expr, path: Path) -> Iterable[str]:
    """The metrics that `argument` may name: literally, by a pattern, or by any text of the function's folder."""
    if isinstance(argument, ast.Constant):
        return [str(argument.value)]
    if isinstance(argument, ast.IfExp):
        return [*_names(argument.body, path), *_names(argument.orelse, path)]
    if path.parent.name == "shared" and isinstance(argument, ast.Name):
        return []  # the helper itself
    if isinstance(argument, ast.JoinedStr):
        parts = [re.escape(str(one.value)) if isinstance(one, ast.Constant) else "(.+)" for one in argument.values]
        found = {name: re.fullmatch("".join(parts), name) for name in METRICS}
        texts = {text.lower() for text in _texts(path.parent)}
        return [name for name, match in found.items() if match and match[1].lower() in texts]
    return _texts(path.parent) & METRICS.keys()


def _texts(folder: Path) -> set[str]:
    """All texts in the code of a folder."""
    nodes = (node for path in folder.glob("*.py") for node in ast.walk(_module(path)))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def _dimensions(node: ast.With, found: dict[str, set[str]]) -> None:
    """Add the dimensions of the metric that a `with single_metric(…)` sends."""
    call = node.items[0].context_expr
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "single_metric":
        [name] = [ast.literal_eval(one.value) for one in call.keywords if one.arg == "name"]
        for inner in ast.walk(node):
            if isinstance(inner, ast.Call) and getattr(inner.func, "attr", "") == "add_dimension":
                [value] = [one.value for one in inner.keywords if one.arg == "name"]
                found.setdefault(name, set()).add(ast.literal_eval(value))


def server_metrics(root: Path) -> str:
    """The metrics of the model server."""
    [units] = (
        ast.literal_eval(node.value)
        for node in _module(root / "serving/metrics.py").body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_UNITS"
    )
    rows = ((pages.code(name), unit, SERVER[name]) for name, unit in units.items())
    return pages.table(("metric", "unit", "meaning"), rows)


def training_metrics() -> str:
    """The metrics that SageMaker reads from the lines of a training."""
    rows = ((pages.code(name), pages.code(pattern), TRAINING[name]) for name, pattern in lines.METRICS.items())
    return pages.table(("metric", "read by", "meaning"), rows)


def aws_metrics(root: Path) -> str:
    """The metrics of AWS that an alarm watches."""
    found = [one for one in stack.alarmed(root) if one[0].startswith("AWS/")]
    rows = ((pages.code(space), pages.code(name), by, f"[{alarm}](alarms.md)") for space, name, by, alarm in found)
    return pages.table(("namespace", "metric", "dimensions", "alarm"), rows)


# --- Events -----------------------------------------------------------------------------------------------------------


def published(root: Path) -> str:
    """The events that the application sends: who sends them, and who listens."""
    module = _module(root / "functions/shared/events.py")
    texts = {
        node.targets[0].id: node.value.value
        for node in module.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    listeners = stack.listeners(root)
    rows = []
    for constant, kind in texts.items():
        if constant in ("SOURCE", "SCHEMA_VERSION") or not isinstance(kind, str):
            continue
        senders = sorted(
            path.parent.name
            for path in (root / "functions").glob("*/app.py")
            if re.search(rf"(?<!== )\bevents\.{constant}\b", path.read_text("utf-8"))
        )
        calls = ", ".join(listeners.get(kind, [])) or "nobody in this stack"
        rows.append((pages.code(kind), ", ".join(map(pages.code, senders)), calls))
    return pages.table(("detail-type", "sent by", "calls"), rows)
