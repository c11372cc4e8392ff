"""May this caller do this? The one answer for every door, and what the event log keeps of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ezaigent.api.access import Access, Principal
from ezaigent.api.accounts import Accounts
from ezaigent.api.problems import FORBIDDEN, Refusal

_SHOWN: Final = 200
"""Characters of a name that an audit event keeps."""


@dataclass(frozen=True, kw_only=True)
class Deed:
    """What a caller asks for, and from where."""

    principal: Principal
    needs: Access
    action: str
    """Name of the route or tool; empty: nothing that is written down."""
    target: Mapping[str, Any]
    """Whom or what it touches, by name."""
    address: str
    request: str
    """Id of the request."""
    change: bool
    """Whether it is more than a look."""


async def permit(deed: Deed, accounts: Accounts) -> None:
    """Return if the caller may; raises ``Refusal``, and writes down a change that was refused."""
    principal = deed.principal
    if principal.access >= deed.needs:
        return
    if deed.change:
        await accounts.audit("audit.refused", _told(deed))
    has, needed = principal.access.name.lower(), deed.needs.name.lower()
    raise Refusal(FORBIDDEN, f"{principal.name} may {has}; this needs {needed}")


async def note_change(deed: Deed, accounts: Accounts) -> None:
    """Write down a change that is about to be made."""
    if deed.change and deed.action:
        await accounts.audit("audit.change", _told(deed))


def _told(deed: Deed) -> dict[str, object]:
    principal = deed.principal
    return {
        "by": principal.name,
        "via": f"{principal.via} {principal.key[:16]}",
        "access": principal.access.name.lower(),
        "address": deed.address,
        "action": deed.action,
        "target": {name: str(value)[:_SHOWN] for name, value in deed.target.items()},
        "request": deed.request,
    }
