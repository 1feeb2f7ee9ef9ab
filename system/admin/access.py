"""Who may do what, decided in one place: a principal, the rule of a route, and one of three answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum


class Role(StrEnum):
    """What an account may do: whoever may more may everything that comes before it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def covers(self, least: Role) -> bool:
        """Whether this role is at least that one."""
        order = list(Role)
        return order.index(self) >= order.index(least)


SCOPES: Mapping[str, str] = {
    "read:boards": "Read what the boards show.",
    "read:records": "Read the records: who did what, and what was reported.",
    "write:alerts": "Acknowledge and silence alerts.",
}
"""What a machine can be allowed, each by itself. No scope lets a machine make accounts, sessions or tokens."""


@dataclass(frozen=True, slots=True)
class Nobody:
    """No session and no token, or one that is unknown, expired or revoked."""


@dataclass(frozen=True, slots=True)
class Person:
    """An account with a session that is in force at this very request."""

    account_id: int
    name: str
    role: Role
    session_id: int


@dataclass(frozen=True, slots=True)
class Machine:
    """The bearer of an API token that is in force at this very request."""

    token_id: int
    name: str
    scopes: frozenset[str]


Principal = Nobody | Person | Machine
NOBODY = Nobody()


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may ask a route: people of the role `least` and above, machines with `scope`, everybody when it is `open`."""

    method: str
    path: str
    least: Role = Role.ADMIN
    scope: str | None = None
    open: bool = False
    board: str = ""
    """The board of that name is shown here; the navigation leads to it."""
    watchable: bool = False
    """Answered also while nobody can be looked up, to whoever was in force at the last look (`remembered.py`)."""

    def __post_init__(self) -> None:
        if self.scope is not None and self.scope not in SCOPES:
            raise ValueError(f"{self.method} {self.path} asks for the scope {self.scope}, which does not exist.")


class Decision(Enum):
    """What is answered to a principal who asks a route."""

    ALLOWED = "allowed"
    LOG_IN = "log in"
    FORBIDDEN = "forbidden"


def decide(principal: Principal, rule: Rule) -> Decision:
    """Whether the principal may ask the route with that rule, may after a log-in, or may not."""
    if rule.open:
        return Decision.ALLOWED
    if isinstance(principal, Nobody):
        return Decision.LOG_IN
    if isinstance(principal, Person):
        may = principal.role.covers(rule.least)
    else:
        may = rule.scope is not None and rule.scope in principal.scopes
    return Decision.ALLOWED if may else Decision.FORBIDDEN
