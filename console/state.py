"""The state that all pages of one console share: the connection, and whether changes are allowed."""

from __future__ import annotations

import getpass
from dataclasses import dataclass, field

from control.connection import Connection
from control.ledger import Ledger


@dataclass
class Console:
    """One console, which may be open in several tabs. `who` is written in the ledger beside each change; `is_dark` is
    what its person chose, or None as the browser does.
    """

    connection: Connection
    may_write: bool
    who: str = field(default_factory=getpass.getuser)
    is_dark: bool | None = None

    @property
    def ledger(self) -> Ledger:
        """Raises what `Connection.outputs` raises."""
        return Ledger(self.connection, self.connection.outputs["RunsTableName"])


current: Console
"""The console of this process; `console.server` sets it before the first page."""
