"""Assembles the state machines: from `statemachines/<name>.yaml` and `shared.yaml` the definitions that AWS gets
(`<name>.asl.json`) and their pictures (`docs/reference/machines.md`).

A source is Amazon States Language in YAML, with two additions. `Retry` and `Catch` give names from `shared.yaml`.
And a state that invokes a Lambda function says so in these keys, in lower case:

    invoke: Verify                    the function VerifyFunction gets the state's input and `executionArn`
    invoke.waitForTaskToken: Deploy   the same, and `taskToken`; the state waits for the answer to that token
    merge: target                     the fields of the input's `target` are sent too
    payload: {action: deploy}         these fields are sent too: values, or `$name` for an expression of `shared.yaml`
    result: deployment                the output is the input with the answer as `deployment`
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from delivery.assembly import files, pictures
from delivery.assembly.files import SourceError

ROOT = Path(__file__).resolve().parents[2]
INVOKE, WAIT = "invoke", "invoke.waitForTaskToken"
OURS = {INVOKE, WAIT, "merge", "payload", "result"}


def write(root: Path = ROOT) -> list[str]:
    """Write every file that is not current, and return their paths below `root`. Raises SourceError."""
    return files.write(root, assemble(root))


def check(root: Path = ROOT) -> list[str]:
    """The paths, below `root`, of the files that are missing or not current. Raises SourceError."""
    return files.outdated(root, assemble(root))


def assemble(root: Path) -> dict[str, str]:
    """Path below `root` → text, of every definition and of the page with the pictures. Raises SourceError."""
    sources = {path.stem: load(path) for path in sorted((root / "statemachines").glob("*.yaml"))}
    shared = sources.pop("shared")
    definitions = {name: definition(name, source, shared) for name, source in sources.items()}
    texts = {f"statemachines/{name}.asl.json": _json(name, body) for name, body in definitions.items()}
    return texts | {"docs/reference/machines.md": pictures.page(definitions, shared["retry"])}


def _json(name: str, body: Mapping[str, Any]) -> str:
    comment = f"{body['Comment']} Assembled from statemachines/{name}.yaml."
    return json.dumps({**body, "Comment": comment}, indent=2, ensure_ascii=False) + "\n"


def load(path: Path) -> dict[str, Any]:
    """The content of a source. Raises SourceError for text that is not YAML, or that gives a key twice."""
    try:
        content: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)
    except yaml.YAMLError as error:
        raise SourceError(f"{path.name}: {error}") from error
    return content


class _UniqueKeys(yaml.SafeLoader):
    """Rejects duplicate keys. YAML's own loader keeps the last of two equal keys, which would lose a copied state."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


# --- The definition that AWS gets -------------------------------------------------------------------------------------


def definition(name: str, source: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """The Amazon States Language of the machine `name`. Raises SourceError."""
    states = {key: _state(f"{name}.yaml, {key}", body, shared) for key, body in source["States"].items()}
    return {"Comment": source["Comment"], "QueryLanguage": "JSONata", **source, "States": states}


def _state(where: str, source: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    for key in source:
        if key[0].islower() and key not in OURS:
            raise SourceError(
                f"{where}: the key {key} is unknown; the keys in lower case are {', '.join(sorted(OURS))}"
            )
    state = dict(_task(where, source, shared)) if source.keys() & OURS else dict(source)
    if "Retry" in state:
        state["Retry"] = [retrier for policy in state["Retry"] for retrier in _named(where, shared, "retry", policy)]
    if "Catch" in state:
        state["Catch"] = [
            {**_named(where, shared, "catch", rule), "Next": target} for rule, target in state["Catch"].items()
        ]
    return state


def _task(where: str, source: Mapping[str, Any], shared: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The fields of a state that invokes a function."""
    if len(source.keys() & {INVOKE, WAIT}) != 1 or not source.keys() >= {"result", "Comment"}:
        raise SourceError(f"{where}: a state that invokes a function has {INVOKE} or {WAIT}, result, and a Comment")
    waits = WAIT in source
    fields = {"taskToken": "$states.context.Task.Token"} if waits else {}
    fields["executionArn"] = "$states.context.Execution.Id"
    fields |= {field: _expression(where, shared, value) for field, value in source.get("payload", {}).items()}
    sent = ["$states.input", *([f"$states.input.{source['merge']}"] if "merge" in source else []), _object(fields)]
    yield "Type", "Task"
    yield "Comment", source["Comment"]
    yield "Resource", "arn:${Partition}:states:::lambda:invoke" + (".waitForTaskToken" if waits else "")
    function = f"${{{source[WAIT if waits else INVOKE]}FunctionArn}}"
    yield "Arguments", {"FunctionName": function, "Payload": _merge(sent)}
    answer = "$states.result" if waits else "$states.result.Payload"
    yield "Output", _merge(["$states.input", _object({source["result"]: answer})])
    yield from ((key, value) for key, value in source.items() if key not in OURS)


def _expression(where: str, shared: Mapping[str, Any], value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    return str(_named(where, shared, "expressions", value[1:])) if value.startswith("$") else f"'{value}'"


def _object(fields: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"'{name}': {expression}" for name, expression in fields.items()) + "}"


def _merge(expressions: list[str]) -> str:
    return "{% $merge([" + ", ".join(expressions) + "]) %}"


def _named(where: str, shared: Mapping[str, Any], kind: str, name: str) -> Any:
    if name not in shared[kind]:
        known = ", ".join(sorted(shared[kind]))
        raise SourceError(f"{where}: shared.yaml has no {name} under {kind}; it has {known}")
    return shared[kind][name]
