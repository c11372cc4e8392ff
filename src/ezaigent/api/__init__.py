"""The HTTP API: routes, live events, and who may use them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ezaigent.api.access import Role, Scope
    from ezaigent.api.accounts import Accounts
    from ezaigent.api.app import bare_app
    from ezaigent.api.backstage import Backstage
    from ezaigent.api.mcp.machine import serve_stdio
    from ezaigent.api.server import Server, serving

__all__ = ["Accounts", "Backstage", "Role", "Scope", "Server", "bare_app", "serve_stdio", "serving"]

_LATER = {
    "Accounts": "accounts",
    "Backstage": "backstage",
    "Role": "access",
    "Scope": "access",
    "Server": "server",
    "bare_app": "app",
    "serve_stdio": "mcp.machine",
    "serving": "server",
}


def __getattr__(name: str) -> object:
    """Load the server only when it is asked for: commands that manage tokens need none of it."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
