"""The further columns of a shop's catalogue: their types, and the limits of what is kept of them."""

from __future__ import annotations

NUMBER, BOOLEAN, TEXT, TIME = "number", "boolean", "text", "time"
KINDS = (NUMBER, BOOLEAN, TEXT, TIME)
"""In `items/` of a dataset: float64, boolean, string, and int64 for a time in epoch seconds."""
COLUMNS = 32
"""Maximum further columns of a catalogue."""
NAME_CHARACTERS = 64
"""Maximum characters of a column's name."""
TEXT_CHARACTERS = 1000
"""Maximum characters of a text, titles included."""
TOTAL_BYTES = 128 << 20
"""Maximum bytes of the further columns of all items together."""
