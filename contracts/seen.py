"""`excludeSeen` of a request: which of a person's own items a list leaves out."""

from __future__ import annotations

from typing import Any

NONE = "none"
"""Nothing is left out: what people choose again is ranked too."""
BOUGHT = "bought"
"""What the person bought; what they only looked at may be in the list."""
ANY = "any"
"""All items that the person has interacted with."""
KINDS = (NONE, BOUGHT, ANY)
FORMS = "none, bought, any, true or false"
"""What a request may say: true is the older name of any, and false of none."""


def read(value: Any) -> str | None:
    """Return the kind that `value` names in JSON; None if it names no kind."""
    if isinstance(value, bool):
        return ANY if value else NONE
    return value if isinstance(value, str) and value in KINDS else None


def for_server(kind: str) -> str | bool:
    """Return `kind` as the model server is asked for it: by the older names, so that older servers know them too."""
    return kind if kind == BOUGHT else kind == ANY


def leaves_out(kind: str, is_bought: bool) -> bool:
    """Whether a list of `kind` leaves out an item of the person, who bought it or not."""
    return kind == ANY or (kind == BOUGHT and is_bought)
