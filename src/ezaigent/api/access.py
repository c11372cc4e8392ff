"""Who may do what: three levels, the same for people (roles) and programs (scopes)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Literal

from ezaigent.core.settings import Role

Scope = Literal["read", "operate", "admin"]


class Access(IntEnum):
    """What a caller may do; each level includes those below it."""

    READ = 1
    OPERATE = 2
    """Submit and steer tasks and agents."""
    ADMIN = 3
    """Users, tokens, limits, and the audit events."""


ROLES: Final[dict[Role, Access]] = {"viewer": Access.READ, "operator": Access.OPERATE, "admin": Access.ADMIN}
SCOPES: Final[dict[Scope, Access]] = {"read": Access.READ, "operate": Access.OPERATE, "admin": Access.ADMIN}


@dataclass(frozen=True, kw_only=True)
class Principal:
    """An authenticated caller."""

    name: str
    """How events and the chat call it: a user's name, ``token NAME of USER``, or ``token NAME`` made on the machine."""
    access: Access
    via: Literal["session", "token"]
    key: str
    """Id of the session or the token."""
    user: str | None
    """The user behind it; None for a token that was made on the machine itself."""
