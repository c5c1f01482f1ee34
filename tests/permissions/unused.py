"""The permissions that no end-to-end test uses, and why they stay."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from tests.permissions.replay import Permission


@dataclass(frozen=True)
class Reason:
    """Why roles keep actions that no test uses; `role` and the actions are patterns."""

    why: str
    role: str
    actions: tuple[str, ...]

    def fits(self, permission: Permission) -> bool:
        return fnmatchcase(f"{permission.role}.{permission.sid}", self.role) and any(
            fnmatchcase(permission.action, action) for action in self.actions
        )


REASONS: tuple[Reason, ...] = ()
