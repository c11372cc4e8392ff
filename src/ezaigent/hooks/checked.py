"""Connections that lead outside only: each name, and each address, is looked at where the socket is made."""

from __future__ import annotations

import socket
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from ezaigent.core.outside import Inside, refused


class Refused(OSError):
    """The name leads to an address that lies inside."""


class Checked(AbstractResolver):
    """Resolves, and refuses a name of which any address lies inside."""

    def __init__(self, inner: AbstractResolver | None, inside: Inside) -> None:
        """Ask ``inner``, left out: the system."""
        self._inner = inner or aiohttp.ThreadedResolver()
        self._inside = inside

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of ``host``. Raises ``Refused``, and ``OSError`` for a name that is not known."""
        found = await self._inner.resolve(host, port, family)
        if not all(self._inside.admitted(one["host"], host) for one in found):
            raise Refused(refused(host))
        return found

    async def close(self) -> None:
        """Close what is asked."""
        await self._inner.close()


def open_session(
    host: str, inside: Inside, *, resolver: AbstractResolver | None, timeout: float, connect: float
) -> aiohttp.ClientSession:
    """Return connections to ``host`` alone; a request may take ``timeout`` seconds, ``connect`` of them to connect."""

    def checked_socket(info: tuple[Any, ...]) -> socket.socket:
        """Make a socket for this very address, or refuse: the last word before the connection."""
        family, kind, protocol, _, where = info
        if not inside.admitted(str(where[0]), host):
            raise Refused(refused(host))
        return socket.socket(family=family, type=kind, proto=protocol)

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            resolver=Checked(resolver, inside), use_dns_cache=False, socket_factory=checked_socket, limit=0
        ),
        timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=connect),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,  # nobody reads it, so nobody has to unpack it
    )
