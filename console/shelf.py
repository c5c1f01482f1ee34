"""The catalogue of the model that serves, read once for all pages."""

from __future__ import annotations

from console import state
from control.catalogue import Catalogue, Shelf

SHELF = Shelf()


def serving_catalogue() -> Catalogue | None:
    """The people and items of the model that serves, or None if none serves. Seconds to minutes on first use; raises
    what `Shelf.take` raises.
    """
    url = state.current.ledger.serving().get("modelDataUrl")
    return SHELF.take(state.current.connection, str(url)) if url else None
