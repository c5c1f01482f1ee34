"""Draws the state machines in Mermaid, which GitHub and most editors show without a tool."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from delivery.assembly.pages import wrapped

HEAD = """\
# The state machines

Written by `make assemble` from `statemachines/*.yaml`; a test holds it current.

A box is a state that calls a Lambda function. A box with double sides waits for a job, a deployment
or a person. Solid arrows lead to the next state. Dotted arrows are taken on an error, after the
retries: on the error in the arrow's label, or on any error if it has none.
"""
RETRIES = """
## Retries

Each state lists its policies; the first that names the error applies. `statemachines/shared.yaml`
defines them. An error that no policy names is not retried. To change a policy, edit it there and
run `make assemble`.

| policy | errors | retries | longest wait in total | states |
|---|---|---|---|---|
"""
SHAPES = {"Task": "[{}]", "Wait": "[[{}]]", "Choice": "{{{}}}", "Succeed": "([{}])", "Fail": "([{}])"}
Definition = Mapping[str, Any]


def page(definitions: Mapping[str, Definition], policies: Mapping[str, list[dict[str, Any]]]) -> str:
    """The page with a picture of each machine, and the retry policies with the states that use them."""
    machines = [
        f"\n## {name}\n{wrapped(_about(name, body))}\n\n```mermaid\n{mermaid(body)}\n```\n"
        for name, body in definitions.items()
    ]
    retries = [
        f"| `{name}` | {', '.join(retrier['ErrorEquals'])} | {retrier['MaxAttempts']} "
        f"| {_duration(longest_wait(retrier))} | {', '.join(_users(definitions, retrier))} |\n"
        for name, policy in policies.items()
        for retrier in policy
    ]
    return "".join([HEAD, *machines, RETRIES, *retries])


def _about(name: str, definition: Definition) -> str:
    return f"{definition['Comment']} Source: [{name}.yaml](../../statemachines/{name}.yaml)."


def mermaid(definition: Definition) -> str:
    """The flowchart of a machine."""
    states = definition["States"]
    lines = [f"    {name}{_shape(body).format(name)}" for name, body in states.items()]
    lines.append(f"    start(( )) --> {definition['StartAt']}")
    for name, body in states.items():
        lines += [f"    {name} {arrow}" for arrow in _arrows(body)]
    failed = ",".join(name for name, body in states.items() if body["Type"] == "Fail")
    return "\n".join(["flowchart TD", *lines, "    classDef failed stroke:#c00", f"    class {failed} failed"])


def _shape(body: Mapping[str, Any]) -> str:
    waits = body.get("Resource", "").endswith(".waitForTaskToken")
    return SHAPES["Wait" if waits else body["Type"]]


def _arrows(body: Mapping[str, Any]) -> Iterator[str]:
    for rule in body.get("Choices", []):
        condition = rule["Condition"].strip("{% }").replace("$states.input.", "")
        yield f'-- "{condition}" --> {rule["Next"]}'
    if "Default" in body:
        yield f"-- otherwise --> {body['Default']}"
    if "Next" in body:
        yield f"--> {body['Next']}"
    for rule in body.get("Catch", []):
        errors = [error for error in rule["ErrorEquals"] if error != "States.ALL"]
        if errors:
            yield f'-. "{", ".join(errors)}" .-> {rule["Next"]}'
        elif rule["Next"] != body["Next"]:
            yield f"-.-> {rule['Next']}"


def longest_wait(retrier: Mapping[str, Any]) -> float:
    """The seconds that all retries wait in total, without the jitter, which only shortens them."""
    waits = (retrier["IntervalSeconds"] * retrier["BackoffRate"] ** n for n in range(retrier["MaxAttempts"]))
    return float(sum(min(wait, retrier["MaxDelaySeconds"]) for wait in waits))


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds:.0f} seconds"


def _users(definitions: Mapping[str, Definition], retrier: Mapping[str, Any]) -> list[str]:
    retrying = [
        (f"{machine}: {state}", body["Retry"])
        for machine, definition in definitions.items()
        for state, body in definition["States"].items()
        if "Retry" in body
    ]
    users = [name for name, retriers in retrying if retrier in retriers]
    return ["all that call a function"] if len(users) == len(retrying) else users
