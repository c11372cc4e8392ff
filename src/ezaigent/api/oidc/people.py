"""Who somebody is here, and what they may: out of what the provider says, by the settings alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, cast

from ezaigent.api.access import ROLES, Role
from ezaigent.api.oidc.tokens import Claims
from ezaigent.core.settings import OidcSettings

_UNUSABLE: Final = re.compile(r"[^a-z0-9._@-]+")
_LONGEST: Final = 64


def role_of(claims: Claims, settings: OidcSettings) -> Role | None:
    """Return the mightiest role that is meant for this person; None for none, and so for everybody by default."""
    found: set[Role] = {settings.roles[value] for value in _values(claims, settings.claim) if value in settings.roles}
    address = _address(claims)
    if address is not None:
        domain = f"@{address.rpartition('@')[2]}"
        found |= {role for key, role in settings.emails.items() if key.lower() in {address, domain}}
    return max(found, key=lambda role: ROLES[role], default=None)


def name_of(claims: Claims) -> str:
    """Return what this person is called here: the verified address, else the name at the provider, else its id.

    Only a verified address may look like one; elsewhere ``@`` becomes a dash, so nobody takes another's.
    """
    own = (text.replace("@", "-") for text in (claims.preferred_username, claims.sub) if text)
    for text in (_address(claims), *own):
        name = _UNUSABLE.sub("-", (text or "").lower()).strip("-._@")[:_LONGEST]
        if name:
            return name
    return "somebody"


def _address(claims: Claims) -> str | None:
    """Return the e-mail address if the provider stands for it. Other letters than ASCII could look like some."""
    address = claims.email
    if not claims.email_verified or address is None or not address.isascii() or address.count("@") != 1:
        return None
    return address.lower()


def _values(claims: Claims, name: str) -> list[str]:
    extra: Any = claims.model_dump()
    if name not in extra:
        for part in name.split("."):
            extra = cast("Mapping[str, Any]", extra).get(part) if isinstance(extra, Mapping) else None
    else:
        extra = extra[name]
    if isinstance(extra, str):
        return [extra]
    return [one for one in cast("list[Any]", extra) if isinstance(one, str)] if isinstance(extra, list) else []
