"""YAML as text: split into blocks and filled into skeletons, so that comments and notation stay as written."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

from delivery.assembly.files import SourceError

KEY = re.compile(r"([^\s#-][^:]*):(?: (.+))?")
ALONE = re.compile(r"( *)<([\w ]+)>")
INLINE = re.compile(r"<([\w ]+)>")


@dataclass(frozen=True)
class Block:
    """One key of a mapping: the comment above it, its text as written, and its value without the key's indentation."""

    comment: str
    text: str
    body: str


def blocks(text: str, where: str) -> dict[str, Block]:
    """The block of each key at the left margin of `text`, in order. Raises SourceError, which names `where`."""
    found: dict[str, Block] = {}
    comment: list[str] = []
    name, lines, inline = "", [""], ""

    def close() -> None:
        if name:
            body = inline or textwrap.dedent("\n".join(lines[1:])).strip("\n")
            found[name] = Block("\n".join(above), "\n".join(lines).rstrip(), body)

    above: list[str] = []
    for line in text.splitlines():
        key = KEY.fullmatch(line)
        if key:
            close()
            name, inline, lines, above, comment = key[1], key[2] or "", [line], comment, []
            if name in found:
                raise SourceError(f"{where}: {name} is there twice")
        elif line.startswith("#"):
            comment.append(line)
        elif line and not line.startswith(" "):
            raise SourceError(f"{where}: cannot read the line {line!r}")
        elif name:
            lines.append(line)
        elif line:
            raise SourceError(f"{where}: {line.strip()!r} belongs to no key")
    close()
    return found


def fill(skeleton: str, values: Mapping[str, str]) -> str:
    """`skeleton` with each `<name>` replaced. A line with only a placeholder is replaced by a block of lines at its
    indentation, and removed if the block is empty. Raises KeyError for a name without a value."""
    lines = []
    for line in skeleton.splitlines():
        alone = ALONE.fullmatch(line)
        if alone:
            lines += [f"{alone[1]}{part}" if part else "" for part in values[alone[2]].splitlines()]
        else:
            lines.append(INLINE.sub(lambda match: values[match[1]], line))
    return "\n".join(lines)


def indented(text: str, spaces: int = 2) -> str:
    """`text` with `spaces` before each line that is not empty."""
    return textwrap.indent(text, " " * spaces)
