"""The one HTTP transport that all model calls of a process share.

Every provider SDK in use takes an ``httpx2.AsyncClient``. Its own connection pool does work in proportion to the
waiting requests at each call, so that 1,000 agents waiting for their models never finish; aiohttp's does not. This
transport keeps the SDKs' client and puts one ``aiohttp.ClientSession`` with unlimited connections beneath it. Both
libraries are loaded at the first call: an agent that asks no model needs neither.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from ezaigent.core.errors import UnavailableError

if TYPE_CHECKING:
    import ssl

    import aiohttp
    import httpx2

CONNECT_TIMEOUT: Final = 10.0
"""Seconds to resolve, connect and shake hands; a provider that takes longer is not reachable."""
_KEEP_ALIVE: Final = 15.0
"""Seconds that an idle connection is kept; providers' front ends keep theirs longer, so that ours ends first."""
_OURS: Final = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


class Transport:
    """The open connections to all providers, owned by one event loop.

    Use it as an async context manager, or await ``aclose()`` at the end. The session opens at the first request and
    belongs to that request's event loop; once that loop is closed, the next loop gets a new session.
    """

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._proxies = getproxies_environment()
        self._proxy_of: dict[str, str | None] = {}
        self._tls: ssl.SSLContext | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def client(self, *, timeout: float) -> httpx2.AsyncClient:
        """Return a client for one SDK over the shared connections; ``timeout`` is in seconds between two bytes.

        Closing the client leaves the connections open for the others.
        """
        import httpx2

        from ezaigent.agents.channel import Channel

        return httpx2.AsyncClient(
            transport=Channel(self),
            timeout=httpx2.Timeout(read=timeout, write=timeout, connect=min(timeout, CONNECT_TIMEOUT), pool=None),
        )

    async def aclose(self) -> None:
        """Close all connections. Requests under way fail as cut connections; a later request opens a new session."""
        session, self._session, loop, self._loop = self._session, None, self._loop, None
        if session is not None and loop is asyncio.get_running_loop():
            await session.close()

    def session(self) -> aiohttp.ClientSession:
        """Return the session of the running event loop. Raises ``UnavailableError`` while another loop owns it."""
        import aiohttp

        loop = asyncio.get_running_loop()
        if self._session is None or self._session.closed or self._loop is not loop:
            if self._session is not None and self._loop is not None and self._loop is not loop:
                if not self._loop.is_closed():
                    raise UnavailableError(
                        "the model connections belong to another event loop that still runs; make one transport a loop"
                    )
                self._session.detach()
            connector = aiohttp.TCPConnector(
                limit=0, limit_per_host=0, keepalive_timeout=_KEEP_ALIVE, ssl=self._tls_context()
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                auto_decompress=False,  # httpx2 does it
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=_OURS,
                trust_env=False,  # it would also read ~/.netrc; proxies are looked up here
                # Some providers put a whole reasoning summary into one header line.
                max_line_size=65_536,
                max_field_size=65_536,
            )
            self._loop = loop
        return self._session

    def proxy(self, url: str) -> str | None:
        """Return the proxy that ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` name for ``url``."""
        if not self._proxies:
            return None
        parts = urlsplit(url)
        place = f"{parts.scheme}://{parts.netloc}"
        if place not in self._proxy_of:
            found = self._proxies.get(parts.scheme) or self._proxies.get("all")
            bypassed = bool(proxy_bypass(parts.netloc, self._proxies))
            self._proxy_of[place] = found if found and not bypassed else None
        return self._proxy_of[place]

    def _tls_context(self) -> ssl.SSLContext:
        # The same trust store as the SDKs' own clients, SSL_CERT_FILE and SSL_CERT_DIR included.
        if self._tls is None:
            import httpx2

            self._tls = httpx2.create_ssl_context()
        return self._tls
