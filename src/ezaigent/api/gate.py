"""The one place that decides who comes in: every request passes here before anything is read or done for it.

What is not declared is refused: a path that no list names needs a credential, a route that declares no access needs an
administrator.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from ezaigent.api.access import SCOPES, Access, Principal
from ezaigent.api.accounts import Accounts
from ezaigent.api.audit import Deed, note_change, permit
from ezaigent.api.credentials import csrf_token, same
from ezaigent.api.problems import (
    FORBIDDEN,
    MISDIRECTED,
    TOO_MANY,
    UNAUTHENTICATED,
    Refusal,
    kind_of,
    problem,
    request_id,
)
from ezaigent.api.proxies import Proxies
from ezaigent.api.throttle import Buckets, one_caller
from ezaigent.core.errors import EzAigentError
from ezaigent.core.outside import FROM_AFAR
from ezaigent.core.settings import ServerSettings

COOKIE: Final = "ezaigent_session"
CSRF_HEADER: Final = "X-CSRF-Token"
ACCESS_KEY: Final = "x-access"
"""Field of a route's OpenAPI description that says what it takes: read, operate, admin, public."""
STREAM_KEY: Final = "x-stream"
"""Field of a route whose answers stay open: they are limited in number, and opening them is counted apart."""
INSIDE_KEY: Final = "x-inside"
"""Field of a route that is the door to many things, each with an access of its own, which it sees to itself."""

_DECLARED: Final[dict[str, Access]] = {**SCOPES}
_PROBES: Final = frozenset({"/healthz", "/readyz"})
_PROXIED: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")
"""Headers by which a proxy says that it is one."""
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_STRANGERS: Final = (0.05, 0.5)
"""Parts of the rate of a caller: requests without a credential a second, and at once, from one address."""


def needs(access: Access | None) -> dict[str, Any]:
    """Return a route's declaration of what it takes; None for what is open to everybody."""
    if access is None:
        return {ACCESS_KEY: "public", "security": []}
    return {ACCESS_KEY: next(name for name, level in SCOPES.items() if level is access)}


class _Target(NamedTuple):
    """What a request asks for."""

    access: Access | None
    action: str
    path: dict[str, Any]
    inside: bool = False
    """Whether the route itself asks ``permit`` for what it is told to do."""
    stream: bool = False


class Gate:
    """ASGI: authenticates, checks the host, the origin, the rate, the access and the CSRF word; writes the audit."""

    def __init__(
        self, app: ASGIApp, *, accounts: Accounts, settings: ServerSettings, routes: Sequence[APIRoute]
    ) -> None:
        """Guard ``app``, whose routes are ``routes``."""
        self._app = app
        self._accounts = accounts
        self._names = frozenset(name.lower() for name in (*settings.names, "localhost", settings.host))
        self._callers = Buckets(settings.rate, 4 * settings.rate)
        self._openers = Buckets(settings.rate, max(4 * settings.rate, settings.max_streams))
        """For streams: after a restart all clients of one token come again at once."""
        self._strangers = Buckets(_STRANGERS[0] * settings.rate, _STRANGERS[1] * settings.rate)
        self._routes = routes
        self._proxies = Proxies(settings.proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or answer it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["path"] not in _PROBES:
            FROM_AFAR.set(self._proxies.trusts(client(scope)) or from_afar(scope))
            self._proxies.look_behind(scope)
            try:
                scope["state"]["principal"] = await self._admit(scope)
            except Refusal as refusal:
                answer = problem(refusal.kind, str(refusal), request_id(scope), headers=refusal.headers)
                await answer(scope, receive, send)
                return
            except EzAigentError as error:
                await problem(kind_of(error), str(error), request_id(scope))(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _admit(self, scope: Scope) -> Principal | None:
        headers = _headers(scope)
        address = client(scope)
        self._check_host(headers.get("host", ""))
        self._check_origin(headers, scope)
        target = self._target(scope)
        principal, cookie = await self._who(headers)
        if principal is None:
            if target.access is None:
                self._stranger(address, refuse=False)
                return None
            self._stranger(address, refuse=True)
        assert principal is not None
        wait = (self._openers if target.stream else self._callers).take(principal.key)
        if wait:
            raise Refusal(
                TOO_MANY, f"{principal.name} asks too often; wait {wait:.2f} s", {"Retry-After": str(int(wait) + 1)}
            )
        if target.access is None:
            return principal
        change = scope["method"] not in _SAFE
        deed = Deed(
            principal=principal,
            needs=target.access,
            action=target.action,
            target=target.path,
            address=address,
            request=request_id(scope),
            change=change and not target.inside,
        )
        await permit(deed, self._accounts)
        if change and cookie is not None:
            given = headers.get(CSRF_HEADER.lower(), "")
            if not same(given, csrf_token(cookie)):
                raise Refusal(FORBIDDEN, f"send the session's csrf word as {CSRF_HEADER}; GET /api/v1/session tells it")
        await note_change(deed, self._accounts)
        return principal

    async def _who(self, headers: dict[str, str]) -> tuple[Principal | None, str | None]:
        """Return the caller, and the cookie where that was the credential."""
        kind, _, text = headers.get("authorization", "").partition(" ")
        if kind:
            return (await self._accounts.by_token(text.strip()) if kind.lower() == "bearer" else None), None
        cookie = session_cookie(headers.get("cookie", ""))
        if cookie is None:
            return None, None
        return await self._accounts.by_session(cookie), cookie

    def _stranger(self, address: str, *, refuse: bool) -> None:
        wait = self._strangers.take(one_caller(address))
        if wait:
            raise Refusal(
                TOO_MANY,
                f"too many requests without a credential from {address}; wait {wait:.1f} s",
                {"Retry-After": str(int(wait) + 1)},
            )
        if refuse:
            raise Refusal(
                UNAUTHENTICATED,
                "no usable credential: send Authorization: Bearer TOKEN (ezaigent token create) or sign in",
                {"WWW-Authenticate": 'Bearer realm="ezaigent"'},
            )

    def _target(self, scope: Scope) -> _Target:
        for route in self._routes:
            match, child = route.matches(scope)
            if match is Match.FULL:
                extra = route.openapi_extra or {}
                declared = extra.get(ACCESS_KEY)
                access = None if declared == "public" else _DECLARED.get(str(declared), Access.ADMIN)
                path = dict(child.get("path_params", {}))
                return _Target(access, route.operation_id or route.name, path, INSIDE_KEY in extra, STREAM_KEY in extra)
        return _Target(Access.READ, "", {})  # there is nothing: the app will say so, to those who may ask

    def _check_host(self, host: str) -> None:
        name = _host_name(host)
        if name in self._names or _is_address(name):
            return
        raise Refusal(MISDIRECTED, f"this server is not {name[:100]!r}; name it in [server] names if it should be")

    def _check_origin(self, headers: dict[str, str], scope: Scope) -> None:
        """Refuse what a page of another site sends: no other site has business here, whatever the credential."""
        origin = headers.get("origin")
        if origin is not None:
            sent = urlsplit(origin)
            if sent.netloc.lower() != headers.get("host", "").lower() or sent.scheme not in {"http", "https"}:
                raise Refusal(FORBIDDEN, f"a page of {origin[:100]!r} may not use this server")
        if scope["method"] not in _SAFE and headers.get("sec-fetch-site") in {"cross-site", "same-site"}:
            raise Refusal(FORBIDDEN, "a page of another site may not change anything here")


def client(scope: Scope) -> str:
    """Return the address that a request comes from."""
    found = scope.get("client")
    return str(found[0]) if found else "unknown"


def from_afar(scope: Scope) -> bool:
    """Tell whether a request may come from another machine: over the network, or through a proxy on this one."""
    headers = _headers(scope)
    name = _host_name(headers.get("host", ""))
    here = _is_loopback(client(scope)) and (name == "localhost" or _is_loopback(name))
    return not here or any(name in headers for name in _PROXIED)


def session_cookie(header: str) -> str | None:
    """Return the session's secret out of a Cookie header."""
    try:
        found = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return None
    return found.value if found is not None and found.value else None


def _headers(scope: Scope) -> dict[str, str]:
    """Return the headers; of one sent twice the first, which is what the checks see and the app uses."""
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
    return headers


def _host_name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _is_address(name: str) -> bool:
    """Tell whether it is a plain IP address: no other site's name can be made to point here under it."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
