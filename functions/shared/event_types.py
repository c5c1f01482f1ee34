"""The meaning of the shop's event types that is in force, read from the artifacts bucket."""

from __future__ import annotations

from contracts import event_types, limits
from contracts.documents import Unfit
from contracts.event_types import EventTypes
from shared.errors import InvalidInput
from shared.objects import Bucket


def in_force(artifacts: Bucket) -> EventTypes:
    """Return the shop's event types; DEFAULT if it has written none. Raises InvalidInput if they cannot be read."""
    found = artifacts.get(event_types.KEY, limits.RULES_BYTES)
    if found is None:
        return event_types.DEFAULT
    try:
        return EventTypes.from_json(found.content)
    except Unfit as error:
        raise InvalidInput(str(error)) from error
