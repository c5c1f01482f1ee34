"""The picture of a state machine and of an execution of it, as Mermaid text; and the function and job of a state."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from control.executions import ExecutionView, StateVisit

SHARED_CATCH = 3
"""An arrow of errors that more states than this have to the same state is drawn only where it was taken."""
ENDS = ("Succeed", "Fail")
_LITERAL = re.compile(r"=\s*'([^']*)'")
_PLAIN = re.compile(r"[^\w .,:!?+×=/()-]")


@dataclass(frozen=True)
class Edge:
    """A way from one state to another. `label` is the condition of a choice, or the name of the errors."""

    start: str
    end: str
    label: str = ""
    is_catch: bool = False


@dataclass(frozen=True)
class Diagram:
    """A state machine: the types of its states by name, those in branches and maps too, and the ways between them."""

    kinds: Mapping[str, str]
    edges: tuple[Edge, ...]
    functions: Mapping[str, str]
    """The name of the function that a state calls, by state."""

    def seen(self, view: ExecutionView) -> list[Edge]:
        """The ways to draw: all, but arrows of errors that most states share only where an execution took them."""
        shared = Counter(edge.end for edge in self.edges if edge.is_catch)
        taken = {(first.name, second.name) for first, second in _steps(view)}
        return [
            edge
            for edge in self.edges
            if not edge.is_catch or shared[edge.end] <= SHARED_CATCH or (edge.start, edge.end) in taken
        ]


def diagram_of(definition: Mapping[str, Any]) -> Diagram:
    """Read a definition in the Amazon States Language."""
    kinds: dict[str, str] = {}
    edges: list[Edge] = []
    functions: dict[str, str] = {}
    for name, state in _states(definition):
        kinds[name] = str(state.get("Type", ""))
        edges += _edges_of(name, state)
        arguments = state.get("Arguments") or state.get("Parameters") or {}
        called = arguments.get("FunctionName") if isinstance(arguments, Mapping) else None
        if isinstance(called, str):
            functions[name] = called.partition(":function:")[2].partition(":")[0] or called
    plain = {(edge.start, edge.end) for edge in edges if not edge.is_catch}
    known = [
        edge
        for edge in dict.fromkeys(edges)
        if edge.end in kinds and not (edge.is_catch and (edge.start, edge.end) in plain)
    ]
    return Diagram(kinds, tuple(known), functions)


def _states(definition: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, state in (definition.get("States") or {}).items():
        yield name, state
        inner = [*(state.get("Branches") or []), state.get("ItemProcessor"), state.get("Iterator")]
        for machine in inner:
            yield from _states(machine or {})


def _edges_of(name: str, state: Mapping[str, Any]) -> list[Edge]:
    found = [Edge(name, state["Next"])] if "Next" in state else []
    for choice in state.get("Choices") or []:
        value = _LITERAL.search(str(choice.get("Condition", "")))
        found.append(Edge(name, choice["Next"], value[1] if value else ""))
    if "Default" in state:
        found.append(Edge(name, state["Default"], "otherwise"))
    for machine in [*(state.get("Branches") or []), state.get("ItemProcessor"), state.get("Iterator")]:
        if machine:
            found.append(Edge(name, machine["StartAt"], "each" if state.get("Type") == "Map" else ""))
    for catch in state.get("Catch") or []:
        errors = ", ".join(catch.get("ErrorEquals") or [])
        found.append(Edge(name, catch["Next"], "error" if errors == "States.ALL" else errors, is_catch=True))
    return found


def _steps(view: ExecutionView) -> Iterator[tuple[StateVisit, StateVisit]]:
    return zip(view.visits, view.visits[1:], strict=False)


def status_of(visits: list[StateVisit]) -> str:
    """The status of a state, from its visits: that of the last one; nothing if it was not visited."""
    return visits[-1].status if visits else ""


def label_of(name: str, visits: list[StateVisit], signs: Mapping[str, str]) -> str:
    """The text in a state's box: sign, name, and how often it was tried again or visited."""
    status = status_of(visits)
    retries, text = sum(visit.retries for visit in visits), f"{signs.get(status, '')} {name}".strip()
    if retries:
        text += f" {signs.get('RETRIED', '')} {retries}"
    return text + (f" ×{len(visits)}" if len(visits) > 1 else "")


def mermaid(
    diagram: Diagram, view: ExecutionView, colours: Mapping[str, str], signs: Mapping[str, str], chosen: str = ""
) -> str:
    """The picture of an execution. Names are reduced to plain characters, so that none can be markup or syntax."""
    ids = {name: f"s{number}" for number, name in enumerate(diagram.kinds)}
    taken = {(first.name, second.name) for first, second in _steps(view)}
    lines = ["flowchart TD"]
    for name, kind in diagram.kinds.items():
        text = _plain(label_of(name, view.of(name), signs), "".join(signs.values()))
        opened, closed = {"Choice": ("{{", "}}"), "Succeed": ("([", "])"), "Fail": ("([", "])")}.get(kind, ("[", "]"))
        lines.append(f'  {ids[name]}{opened}"{text}"{closed}')
    edges = diagram.seen(view)
    for edge in edges:
        arrow = "-.->" if edge.is_catch else "-->"
        label = f'|"{_plain(edge.label)}"|' if edge.label else ""
        lines.append(f"  {ids[edge.start]} {arrow}{label} {ids[edge.end]}")
    ways = [str(number) for number, edge in enumerate(edges) if (edge.start, edge.end) in taken]
    if ways:
        lines.append(f"  linkStyle {','.join(ways)} stroke-width:3px")
    for name, identity in ids.items():
        colour = colours.get(status_of(view.of(name)), "")
        fill = f"fill:{colour},color:{on(colour)}" if colour else "fill:#d4d4d8,color:#3f3f46"
        width = 4 if name == chosen else 1
        lines.append(f"  style {identity} {fill},stroke:#71717a,stroke-width:{width}px")
    return "\n".join(lines)


def name_of(diagram: Diagram, node: str) -> str | None:
    """The state whose box has the id `node` in the picture."""
    number = re.search(r"s(\d+)", node)
    names = list(diagram.kinds)
    return names[int(number[1])] if number and int(number[1]) < len(names) else None


def on(colour: str) -> str:
    """Black or white, whichever is easier to read on `colour` (`#rrggbb`), by the luminance of WCAG 2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if luminance > 0.179 else "#ffffff"


def _plain(text: str, allowed: str = "") -> str:
    kept = "".join(character if character in allowed else _PLAIN.sub(" ", character) for character in text)
    return kept[:120]
