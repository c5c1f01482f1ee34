"""Who asks for recommendations.

Pure: no AWS, no environment.
"""

from __future__ import annotations

from typing import NamedTuple

from contracts import limits, recent_events

_SESSION = "session:"
SESSION_CHARACTERS = limits.ID_CHARACTERS - len(_SESSION)
"""Maximum characters of a session's id: with the prefix it is a person's id."""
NOBODY = "\x7fnobody"
"""The id that the model is asked about when the request names nobody. No id of a drop has a control character."""


class Person(NamedTuple):
    """A user, a session, a user in a session, or a visitor whom the request does not name."""

    user_id: str | None = None
    session_id: str | None = None

    @property
    def name(self) -> str:
        """The id by which a model may know the person: a training takes a session without a user for a person."""
        if self.user_id is not None:
            return self.user_id
        return NOBODY if self.session_id is None else _SESSION + self.session_id

    @property
    def key(self) -> str | None:
        """The key of the person's events, which is always the same for a person; None for nobody."""
        if self.user_id is not None:
            return recent_events.of_user(self.user_id)
        return None if self.session_id is None else recent_events.of_session(self.session_id)
