"""Title, category and the catalogue's further columns of each item: what an answer may show of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ItemFields:
    """A JSON object for each item, in UTF-8, one after the other. Objects in memory would take ten times as much."""

    offsets: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))  # [items + 1]
    data: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))  # [bytes]

    @classmethod
    def pack(cls, items: Iterable[Mapping[str, Any]]) -> ItemFields:
        """Keep the fields of each item. Values are strings, numbers and booleans; null is left out."""
        packed, offsets = bytearray(), [0]
        for fields in items:
            known = {name: value for name, value in fields.items() if value is not None}
            packed += json.dumps(known, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
            offsets.append(len(packed))
        return cls(np.array(offsets, dtype=np.int64), np.frombuffer(bytes(packed), dtype=np.uint8))

    def __len__(self) -> int:
        return self.offsets.size - 1

    def text(self, item: int) -> str:
        """Return the JSON object of the item with this index; an empty one if there are no fields."""
        if not len(self):
            return "{}"
        return self.data[self.offsets[item] : self.offsets[item + 1]].tobytes().decode()

    def of(self, item: int) -> dict[str, Any]:
        """Return the fields of the item with this index."""
        found: dict[str, Any] = json.loads(self.text(item))
        return found

    def fault(self, items: int) -> str | None:
        """Return why this is no JSON object for each of `items` items, as far as their bounds tell it."""
        offsets, data = self.offsets, self.data
        if len(self) != items or offsets[0] != 0 or offsets[-1] != data.size or np.any(np.diff(offsets) < 2):
            return f"offsets does not divide {data.size} bytes among {items} items"
        if np.any(data[offsets[:-1]] != ord("{")) or np.any(data[offsets[1:] - 1] != ord("}")):
            return "data is not one JSON object for each item"
        try:
            data.tobytes().decode()
        except UnicodeDecodeError:
            return "data is not UTF-8"
        return None
