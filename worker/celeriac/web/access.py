"""Who may do what: roles, what each may do, and who a request comes from.

Owns: the four roles, the table of their permissions, and `Caller`.  Refuses to know: how somebody
proves who they are (`login`), and what routes there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Permission(StrEnum):
    """What a route asks for."""

    LOOK = "look"  # see runs, sagas and figures
    ACT = "act"  # start runs and steer them
    ANSWER = "answer"  # what a run asks people now; other signals are for those who act
    ADMINISTER = "administer"  # what cannot be undone: terminate


def permission_of(verb: str) -> Permission:
    """Return what whoever gives a run that command needs."""
    return Permission.ADMINISTER if verb == "terminate" else Permission.ACT


class Role(StrEnum):
    """What somebody is here."""

    APPROVER = "approver"  # answers open approvals only
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


ALLOWED: dict[Role, frozenset[Permission]] = {
    Role.APPROVER: frozenset({Permission.ANSWER}),
    Role.VIEWER: frozenset({Permission.LOOK}),
    Role.OPERATOR: frozenset({Permission.LOOK, Permission.ACT, Permission.ANSWER}),
    Role.ADMIN: frozenset(Permission),
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who asks: *name* goes into the history of the runs that they steer."""

    name: str
    role: Role

    def may(self, permission: Permission) -> bool:
        """True if this role is allowed to do that."""
        return permission in ALLOWED[self.role]

    def sees(self, page: str) -> bool:
        """True if a page of the navigation is for this role."""
        return self.may(Permission.ANSWER if page == "approvals" else Permission.LOOK)

    def sees_payloads(self, *, opened: bool) -> bool:
        """True if inputs and outputs are shown; *opened* is the setting saga_web_payloads."""
        return self.may(Permission.ACT) or (opened and self.may(Permission.LOOK))
